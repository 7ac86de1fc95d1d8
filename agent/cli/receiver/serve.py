"""`plateseal receiver serve`: the reference receiver runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.receiver.options import Directory
from agent.receiver.intake import server
from agent.receiver.intake.connections import DEFAULT_CONNECTIONS
from agent.receiver.intake.counts import Counts
from agent.receiver.intake.only_one import only_receiver
from agent.receiver.missing import missing_parts_named
from agent.unit.process.journal import log_to
from agent.unit.process.watchdog import ServiceManager
from agent.unit.status.metrics import MetricsFiles
from agent.unit.status.samples import Sample

DEFAULT_PORT = 8443


def serve(
    directory: Directory,
    *,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="TCP port; 0 picks a free one.")] = DEFAULT_PORT,
    port_file: Annotated[
        Path | None, typer.Option("--port-file", metavar="FILE", help="Gets the port once the receiver listens.")
    ] = None,
    connections: Annotated[
        int, typer.Option("--connections", metavar="COUNT", help="Connections at most, each takes 75 kB of memory.")
    ] = DEFAULT_CONNECTIONS,
    balancer: Annotated[
        list[str] | None,
        typer.Option(
            "--balancer",
            metavar="ADDRESS",
            help="A TCP load balancer that says whose connections it passes on (PROXY protocol 2); again for more.",
        ),
    ] = None,
    metrics_dir: Annotated[
        Path | None,
        typer.Option("--metrics-dir", metavar="DIR", help="Gets receiver.prom, for Prometheus, once a second."),
    ] = None,
) -> None:
    """Take envelopes from enrolled units until SIGTERM or Ctrl-C.

    Example: plateseal receiver serve bench/receiver --host 0.0.0.0 --port 8443
    """
    log_to(sys.stderr)
    manager = ServiceManager.of_this_process()

    def ready(line: str) -> None:
        manager.status(line)
        manager.ready()

    counts = Counts()

    def samples() -> Iterator[Sample]:
        for name, labels, value in counts:
            yield Sample(f"receiver_{name}", value, labels)

    hooks = server.ServeHooks(ready=ready, alive=manager.alive)
    metrics = nullcontext() if metrics_dir is None else MetricsFiles(metrics_dir, "receiver", samples)
    with only_receiver(directory), missing_parts_named(directory), metrics:
        server.serve(
            directory,
            host=host,
            port=port,
            port_file=port_file,
            hooks=hooks,
            counts=counts,
            connections_most=connections,
            balancers=balancer or [],
        )

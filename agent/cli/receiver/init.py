"""`plateseal receiver init`: a bench receiver."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.receiver.options import Directory
from agent.errors import UsageError
from agent.receiver.admission.pki import DEFAULT_HOSTS, init_receiver
from agent.receiver.stores.opening import SCHEMES


def init(
    directory: Directory,
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help=f"Name or address that units use; again for more. Default: {', '.join(DEFAULT_HOSTS)}."
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="URL",
            help="A PostgreSQL database without a store, postgresql://..; no password. Default: a file in the folder.",
        ),
    ] = None,
    needs_standby: Annotated[
        bool,
        typer.Option("--needs-standby", help="Send no receipt unless the database names a synchronous standby."),
    ] = False,
    bodies: Annotated[
        Path | None,
        typer.Option(
            "--bodies",
            metavar="FILE",
            help="With --store: a TOML file that names the bucket of an S3-compatible store, which keeps reads' bytes.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a bench receiver: CA, server certificate, receipt key, empty store. Overwrites nothing.

    Example: plateseal receiver init bench/receiver --host reads.example.org
    """
    if store is None and (needs_standby or bodies is not None):
        raise UsageError(f"{'--needs-standby' if needs_standby else '--bodies'} goes with --store URL")
    if store is not None and not store.startswith(SCHEMES):
        raise UsageError(f"--store: the address of a database is needed, {SCHEMES[0]}USER@HOST/DATABASE")
    hosts = host or list(DEFAULT_HOSTS)
    layout = init_receiver(directory, hosts=hosts, store=store, needs_standby=needs_standby, bodies=bodies)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "directory": str(directory),
                    "ca": str(layout.ca),
                    "receipt_key": str(layout.receipt_public),
                    "hosts": hosts,
                }
            )
        )
        return
    typer.echo(f"{directory}: a receiver for {', '.join(hosts)}")
    typer.echo(f"Units need {layout.ca.name} and {layout.receipt_public.name} from it; the .key files stay here.")

"""`plateseal receiver renew`: certificates that are about to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.receiver.options import Directory
from agent.receiver.admission.server_certificate import renew_server


def renew(
    directory: Directory,
    *,
    host: Annotated[
        list[str] | None,
        typer.Option(
            "--host", help="Name or address that units use; again for more. Default: those of the certificate before."
        ),
    ] = None,
    ca_key: Annotated[
        Path | None, typer.Option("--ca-key", metavar="FILE", help="The CA's private key. Default: DIR/ca.key.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Renew the receiver's own certificate; a running receiver takes the new one at once.

    The key stays, and so do the names if no --host is given. A certificate of another CA is renewed by that CA.

    Example: plateseal receiver renew /var/lib/plateseal-receiver
    """
    renewed = renew_server(directory, hosts=host, ca_key=ca_key)
    if as_json:
        found = {"certificate": str(renewed.file), "hosts": list(renewed.names)}
        typer.echo(json.dumps({**found, "expires_at": renewed.expires_at.isoformat()}))
        return
    typer.echo(f"{renewed.file}: for {', '.join(renewed.names)}, until {renewed.expires_at:%Y-%m-%d}")
    typer.echo("A receiver that runs takes it within seconds, without a restart.")

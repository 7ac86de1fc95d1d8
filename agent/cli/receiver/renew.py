"""`plateseal receiver renew`: certificates that are about to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.receiver.options import Directory
from agent.receiver.admission.renewals import renew_units
from agent.receiver.admission.server_certificate import renew_server
from agent.receiver.missing import missing_parts_named


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
    units: Annotated[
        bool, typer.Option("--units", help="Answer the units that ask for a new certificate, instead.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Renew the receiver's own certificate, or those that units ask for; a running receiver takes them at once.

    The key stays, and so do the names if no --host is given. A certificate of another CA is renewed by that CA. With
    --units: each unit whose request waits in DIR/renewals gets a certificate for the key that it has, and fetches it
    over the connection that it has.

    Example: plateseal receiver renew /var/lib/plateseal-receiver --units
    """
    if units:
        _renew_units(directory, ca_key, as_json=as_json)
        return
    with missing_parts_named(directory):
        renewed = renew_server(directory, hosts=host, ca_key=ca_key)
    if as_json:
        found = {"certificate": str(renewed.file), "hosts": list(renewed.names)}
        typer.echo(json.dumps({**found, "expires_at": renewed.expires_at.isoformat()}))
        return
    typer.echo(f"{renewed.file}: for {', '.join(renewed.names)}, until {renewed.expires_at:%Y-%m-%d}")
    typer.echo("A receiver that runs takes it within seconds, without a restart.")


def _renew_units(directory: Path, ca_key: Path | None, *, as_json: bool) -> None:
    with missing_parts_named(directory):
        answered = list(renew_units(directory, ca_key=ca_key))
    if as_json:
        found = [
            {
                "device": each.device,
                "expires_at": None if each.expires_at is None else each.expires_at.isoformat(),
                "refusal": each.refusal or None,
            }
            for each in answered
        ]
        typer.echo(json.dumps(found))
        return
    for each in answered:
        end = each.refusal if each.expires_at is None else f"certificate until {each.expires_at:%Y-%m-%d}"
        typer.echo(f"{each.device}: {end}")
    if not answered:
        typer.echo("no unit asks for a certificate")

"""`plateseal device init`: a unit's identity, made on the unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.folders import UNITS, kind_check
from agent.cli.options import AsJson
from agent.keys.identity import ENROLMENT_NAME, TLS_CERTIFICATE_NAME, create_identity


def init(
    directory: Annotated[
        Path,
        typer.Option(
            "--dir", help="Where the identity goes; made if its parent is there.", callback=kind_check(*reversed(UNITS))
        ),
    ],
    name: Annotated[str, typer.Option("--name", help="The unit's name: a-z, 0-9, '.', '_', '-'; at most 64.")],
    as_json: AsJson = False,
) -> None:
    """Make a unit's identity, on the unit: a signing key, a TLS key, and enrolment.json for its owner.

    The private keys never leave the folder. Nothing that is there is overwritten.

    Example: plateseal device init --name north-gate --dir /var/lib/plateseal/identity
    """
    identity = create_identity(directory, name=name)
    if as_json:
        typer.echo(
            json.dumps(
                {
                    "name": identity.name,
                    "key_id": identity.key_id.hex(),
                    "directory": str(identity.directory),
                    "enrolment": str(identity.enrolment),
                }
            )
        )
        return
    typer.echo(f"{identity.name}: key {identity.key_id.hex()[:16]}, in {identity.directory}")
    typer.echo(f"Next, at the receiver: plateseal receiver enrol RECEIVER_DIR {ENROLMENT_NAME}")
    typer.echo(f"and put the {TLS_CERTIFICATE_NAME} it writes where upload.certificate of the unit has it.")

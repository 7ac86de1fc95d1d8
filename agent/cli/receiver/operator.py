"""`plateseal receiver operator`: a person is let in to the fleet page."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.receiver.options import Directory
from agent.keys.keyfiles import write_private
from agent.receiver.admission.pki import issue_operator

PASSPHRASE_BYTES = 15
"""120 bits, 20 characters to type once."""


def operator(
    directory: Directory,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The person's name: a-z, 0-9, '.', '_', '-'.")],
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Where the key and certificate go. Default: NAME.p12.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let a person see the fleet page: make a certificate that their browser imports, and the passphrase for that.

    It opens the page and nothing else. The passphrase is shown once. To end it, remove its file from DIR/operators; it
    takes effect at once.

    Example: plateseal receiver operator bench/receiver anna --out anna.p12
    """
    passphrase = secrets.token_urlsafe(PASSPHRASE_BYTES)
    target = out or Path(f"{name}.p12")
    issued = issue_operator(directory, name, passphrase=passphrase)
    write_private(target, issued.pkcs12)
    if as_json:
        found = {"name": name, "file": str(target), "passphrase": passphrase, "operator": str(issued.file)}
        typer.echo(json.dumps({**found, "expires_at": issued.expires_at.isoformat()}))
        return
    typer.echo(f"{target}: for {name}'s browser, until {issued.expires_at:%Y-%m-%d}; passphrase {passphrase}")
    typer.echo(f"Then open https://RECEIVER/fleet there. To end it, remove {issued.file}.")

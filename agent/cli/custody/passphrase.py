"""`plateseal custody passphrase`: the owner's key files under another passphrase."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody.options import AsJson, Directory, PassphraseFile, Who, mandate_of
from agent.cli.owner import Progress, ask_passphrase
from agent.custody.keys import MIN_PASSPHRASE_BYTES
from agent.custody.owner import is_under_passphrase
from agent.custody.passphrase import read_new_passphrase, read_passphrase_file
from agent.custody.passphrase_change import change_passphrase
from agent.errors import UsageError


def passphrase(
    directory: Directory,
    *,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(
            "--new-passphrase-file",
            metavar="FILE",
            help="File (mode 0600) with the new passphrase; asked for on the terminal if left out.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the audit log.")] = "",
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Put the owner's key files under another passphrase: every epoch's, every case's, and the owner's own.

    Cut off at any moment, each file is under the old passphrase or under the new one. Then nothing else is done with
    the folder until this is run again with the same two; it goes on where it was. Copies of the folder stay under the
    old passphrase: whoever knows it opens them.

    Example: plateseal custody passphrase --dir owner --passphrase-file old --new-passphrase-file new
    """
    old = _old(directory, passphrase_file)
    if new_passphrase_file is None:
        new = ask_passphrase(twice=True, prompt="New passphrase: ")
    else:
        new = read_new_passphrase(new_passphrase_file)
    if len(new) < MIN_PASSPHRASE_BYTES:
        raise UsageError(f"passphrase: shorter than {MIN_PASSPHRASE_BYTES} bytes")
    if new == old:
        raise UsageError("passphrase: the new one is the old one")
    progress = Progress("changing key files")
    changed = change_passphrase(directory, old, new, mandate_of(who, "", reason), watch=progress.show)
    progress.clear()
    if as_json:
        typer.echo(json.dumps({"files": changed.files, "files_before": changed.before}))
        return
    before = f"; {changed.before} were already, from the time before" if changed.before else ""
    typer.echo(f"{changed.files} key files are under the new passphrase{before}")
    typer.echo("  copies of the folder are under the old one: make them anew, and destroy the old ones")


def _old(directory: Path, passphrase_file: Path | None) -> bytes | None:
    if passphrase_file is not None:
        return read_passphrase_file(passphrase_file)
    return ask_passphrase(twice=False, prompt="Old passphrase: ") if is_under_passphrase(directory) else None

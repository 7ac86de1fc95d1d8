"""`plateseal custody copy`: a second copy of the owner's folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody.options import AsJson, Directory, PassphraseFile, Who, mandate_of
from agent.cli.owner import Progress, unlock_with
from agent.custody.copying import copy_folder


def copy(
    directory: Directory,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new or empty folder.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the audit log.")] = "",
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Copy the owner's folder byte for byte, read the copy back, and open every key in it.

    The copy is entered in the audit log, its own too. What you destroy here stays in the copy: destroy it there too.
    A copy that was cut off has no owner.key, and every command says that it is half a copy.

    Example: plateseal custody copy --dir owner --out /media/vault/owner
    """
    owner, passphrase = unlock_with(directory, passphrase_file)
    progress = Progress("copying")
    copied = copy_folder(owner, passphrase, out, mandate_of(who, "", reason), watch=progress.show)
    progress.clear()
    if as_json:
        answer = {"directory": str(out), "files": copied.files, "keys": copied.keys, "left_out": list(copied.left_out)}
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{out}: {copied.files} files, {copied.keys} private keys; read back, and every key opens")
    if copied.left_out:
        typer.echo(f"  left out, as they are no part of it: {', '.join(copied.left_out)}")
    typer.echo("  what you destroy or close here is still there: do it in the copy too, or make it anew")

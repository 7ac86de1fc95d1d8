"""`plateseal custody destroyed`: what a receiver may drop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody.options import Directory
from agent.custody.destroyed import destroyed_list
from agent.custody.layout import OwnerLayout
from agent.keys.keyfiles import PUBLIC_MODE, replace_file


def destroyed(
    directory: Directory,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to; a file that is there is replaced.")],
) -> None:
    """Write down which keys are destroyed and which reads are held, for `receiver drop-epoch`.

    It is read from the audit log and from the folder of cases; no passphrase is needed. A key whose file is here
    although it was destroyed is left out: its reads still open. Write it anew for each drop: what is held since, stays.

    Example: plateseal custody destroyed --dir owner --out /media/stick/destroyed.json
    """
    said, left_out = destroyed_list(OwnerLayout(directory))
    replace_file(out, said.model_dump_json(indent=1).encode() + b"\n", PUBLIC_MODE)
    typer.echo(f"{out}: {len(said.destroyed)} destroyed keys, {len(said.held)} held reads")
    if left_out:
        typer.echo(f"beware: {left_out} destroyed keys are here again, and not in the list", err=True)

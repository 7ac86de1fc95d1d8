"""`plateseal receiver backup`: a copy of a receiver while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.owner import Progress
from agent.cli.receiver.options import AnyStore
from agent.errors import VerificationError
from agent.receiver.backup import BackedUp, back_up
from agent.receiver.missing import missing_parts_named


def backup(
    directory: AnyStore,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A new or empty folder; nothing is overwritten.")],
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys",
            help="Copy the private keys too. Who has them can sign receipts, and so have units erase reads.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Copy a receiver, which may be running, into a new folder, and check the copy by reading it back.

    The copy has the store as it was at one moment, the records of units and operators, certificates and public keys.
    `receiver verify OUT` checks it like any receiver's folder. A file copied by other means while the receiver runs
    misses what is in the write-ahead log, which may be everything.

    Exits 7 where the store itself is damaged; the copy is complete and as damaged.

    Example: plateseal receiver backup /var/lib/plateseal-receiver /media/vault/2027-03-01
    """
    bars: dict[str, Progress] = {}

    def watch(what: str, done: int, total: int) -> None:
        if what not in bars:
            for bar in bars.values():
                bar.clear()
            bars[what] = Progress(what)
        bars[what].show(done, total)

    try:
        with missing_parts_named(directory):
            made = back_up(directory, out, with_keys=with_keys, watch=watch)
    finally:
        for bar in bars.values():
            bar.clear()
    if as_json:
        typer.echo(json.dumps(_as_json(out, made)))
    else:
        _say(out, made)
    if made.damage:
        raise VerificationError("\n".join(f"{directory}: the store is not whole: {line}" for line in made.damage))


def _as_json(out: Path, made: BackedUp) -> dict[str, object]:
    return {
        "directory": str(out),
        "envelopes": made.envelopes,
        "log_end": made.log_end,
        "devices": made.devices,
        "operators": made.operators,
        "keys": list(made.keys),
        "left_out": list(made.left_out),
        "damage": list(made.damage),
    }


def _say(out: Path, made: BackedUp) -> None:
    typer.echo(
        f"{out}: {made.envelopes} envelopes, the log up to entry {made.log_end}, {made.devices} device keys, "
        f"{made.operators} operators; read back and compared"
    )
    if made.keys:
        typer.echo(f"  with the private keys {', '.join(made.keys)}: keep it as closed as the receiver")
    if made.left_out:
        typer.echo(f"  without the private keys {', '.join(made.left_out)}; --with-keys copies them too")
    if made.devices and not made.envelopes:
        typer.echo(
            "  beware: units are enrolled and nothing is stored; is this the folder that they deliver to?", err=True
        )

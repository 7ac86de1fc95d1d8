"""What the owner's commands have in common: their options, and what is made of these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from agent.cli.folders import STORES, Kind, kind_check
from agent.cli.owner import parse_moment
from agent.custody.audit import account_name
from agent.custody.audit_entry import Mandate
from agent.custody.plates import parse_pattern
from agent.custody.search import Query, Tally
from agent.errors import UsageError

_HEX_ID_CHARS: Final = 64

Directory = Annotated[
    Path,
    typer.Option("--dir", metavar="DIR", help="Where the owner's keys are kept.", callback=kind_check(Kind.OWNER)),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file",
        metavar="FILE",
        help="File (mode 0600) with the passphrase of the key files; asked for on the terminal if left out.",
    ),
]
Store = Annotated[
    Path,
    typer.Option(
        "--store",
        metavar="RECEIVER",
        help="The receiver's folder, or the envelopes.db in it.",
        callback=kind_check(*STORES),
    ),
]
Case = Annotated[str, typer.Option("--case", metavar="ID", help="The case it is for; goes into the audit log.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; goes into the audit log. No plates.")]
Who = Annotated[
    str | None, typer.Option("--as", metavar="NAME", help="Who you are, for the audit log; your account if left out.")
]
Plate = Annotated[
    str | None,
    typer.Option("--plate", metavar="PATTERN", help="Plate; ? is any one character, * any number, as in 'AB?123*'."),
]
Near = Annotated[
    int,
    typer.Option(
        "--near",
        metavar="N",
        min=0,
        max=2,
        help="With --plate: up to N (0 to 2) of a plate's characters may be others, as a reader misreads them.",
    ),
]
Start = Annotated[
    str | None, typer.Option("--from", metavar="T", help="Captured at or after this day or time (ISO 8601, UTC).")
]
End = Annotated[
    str | None, typer.Option("--to", metavar="T", help="Captured before this time, or by the end of this day.")
]
EveryEpoch = Annotated[
    bool,
    typer.Option(
        "--every-epoch",
        help="With --from or --to, open reads of other epochs as well: a clock that was behind, or a recording, may "
        "have put reads of that time there.",
    ),
]
Camera = Annotated[str | None, typer.Option("--camera", metavar="NAME", help="Captured by this camera.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def mandate_of(who: str | None, case: str = "", reason: str = "") -> Mandate:
    """Return who acts, for which case and why; the account of the system if nobody is named."""
    return Mandate(who=account_name() if who is None else who, case=case, reason=reason)


def parse_query(
    plate: str | None,
    start: str | None,
    end: str | None,
    camera: str | None,
    ids: list[str] | tuple[()] = (),
    *,
    every_epoch: bool = False,
    near: int = 0,
) -> Query:
    """Return which reads are meant; each option that was left out allows all.

    Raises:
        UsageError: A time, an id or a pattern is none, or the times are the wrong way round.
    """
    since = None if start is None else parse_moment(start, "--from")
    until = None if end is None else parse_moment(end, "--to", end_of_day=True)
    if since is not None and until is not None and since >= until:
        raise UsageError("--to: is not after --from")
    if near and plate is None:
        raise UsageError("--near: is for --plate, which is not given")
    return Query(
        plate=None if plate is None else parse_pattern(plate, near=near),
        start=since,
        end=until,
        camera=camera,
        ids=frozenset(parse_digest(text, "--id").hex() for text in ids),
        every_epoch=every_epoch,
    )


def parse_digest(text: str, option: str) -> bytes:
    """Return the SHA-256 digest that an option gives in hex.

    Raises:
        UsageError: Not 64 hex digits.
    """
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(text) != _HEX_ID_CHARS or 2 * len(digest) != _HEX_ID_CHARS:
        raise UsageError(f"{option} {text[:80]}: not {_HEX_ID_CHARS} hex digits")
    return digest


def print_tally(tally: Tally, *, err: bool) -> None:
    """Print how many reads fit, how many messages were not looked at, and how many not opened, by reason."""
    where = "in the store" if not tally.passed_over and not tally.stopped else "that were looked at"
    typer.echo(f"{tally.matched} reads fit, of {tally.scanned} messages {where}", err=err)
    if tally.ruled_out:
        typer.echo(f"  not opened: {tally.ruled_out} that do not fit, by the index", err=err)
    if tally.passed_over:
        typer.echo(
            f"  not looked at: {tally.passed_over} sealed to keys of other times, or to no key that is here. Reads of "
            "a clock that was behind, and of recordings, may be among them: --every-epoch",
            err=err,
        )
    if tally.stopped:
        typer.echo(f"  stopped. Not searched: {tally.stopped}", err=err)
    for reason, count in tally.unopened.items():
        typer.echo(f"  not opened: {count} {reason}", err=err)
    for envelope_id, against in tally.doubts.items():
        typer.echo(f"  doubt: {envelope_id[:16]}: {'; '.join(against)}", err=err)

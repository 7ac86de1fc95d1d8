"""`plateseal spool`: what waits on a unit, whether it is whole, and what was set aside."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agent.spool.reader import SetAside

app = typer.Typer(no_args_is_help=True, help="Look at the sealed reads that wait on a unit, and at those set aside.")

ConfigOption = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The unit's configuration (TOML).", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.callback()
def spool() -> None:
    """Look at the sealed reads that wait on a unit, and at those set aside."""


@app.command("list")
def list_spool(config: ConfigOption, *, as_json: AsJson = False) -> None:
    """Count what waits and what is set aside, with the oldest read's time and the reasons. Changes nothing.

    Example: plateseal spool list --config /etc/plateseal/unit.toml --json
    """
    from agent.config.load import load_config  # noqa: PLC0415  a settings library that the help does not need
    from agent.disk.files import LocalFiles  # noqa: PLC0415
    from agent.records import SpoolState  # noqa: PLC0415
    from agent.spool.reader import SpoolReader  # noqa: PLC0415

    directory = load_config(config).spool.directory
    reader = SpoolReader(directory, LocalFiles())
    pending = reader.usage(SpoolState.PENDING)
    oldest = next((entry.spooled_at for entry in reader.entries(SpoolState.PENDING, limit=1)), None)
    aside = sorted(reader.set_aside(), key=lambda each: (each.status.modified_at, each.name))
    if as_json:
        counts = {
            "directory": str(directory),
            "pending": pending.count,
            "pending_bytes": pending.bytes,
            "oldest": None if oldest is None else oldest.isoformat(),
            "quarantined": len(aside),
            "quarantined_bytes": sum(each.status.size_bytes for each in aside),
        }
        typer.echo(json.dumps({**counts, "quarantine": [_aside_json(each) for each in aside]}))
        return
    since = "" if oldest is None else f", the oldest since {oldest:%Y-%m-%d %H:%M:%S} UTC"
    typer.echo(f"{directory}: {pending.count} pending, {pending.bytes:,} bytes{since}")
    typer.echo(f"{len(aside)} set aside, {sum(each.status.size_bytes for each in aside):,} bytes")
    for each in aside:
        typer.echo(f"  {each.name}  {each.status.modified_at:%Y-%m-%d %H:%M}  {each.reason or 'no reason is noted'}")


def _aside_json(aside: SetAside) -> dict[str, str | int]:
    return {
        "id": aside.name,
        "bytes": aside.status.size_bytes,
        "spooled_at": aside.status.modified_at.isoformat(),
        "reason": aside.reason,
    }


@app.command("verify")
def verify(config: ConfigOption, *, as_json: AsJson = False) -> None:
    """Check every pending envelope: its form, its digest and the unit's signature. Names the bad ones; changes nothing.

    Upload checks the same before it sends, and sets aside what is bad. Exits 0 only if all are whole.

    Example: plateseal spool verify --config /etc/plateseal/unit.toml
    """
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import track  # noqa: PLC0415

    from agent.config.load import load_config  # noqa: PLC0415
    from agent.disk.files import LocalFiles  # noqa: PLC0415
    from agent.errors import EnvelopeVerificationError  # noqa: PLC0415
    from agent.keys.known_keys import KnownKeys  # noqa: PLC0415
    from agent.spool.check import check_pending  # noqa: PLC0415
    from agent.spool.reader import SpoolReader  # noqa: PLC0415

    unit = load_config(config)
    keys = KnownKeys(unit.state_dir)
    has_keys = not keys.is_empty()
    reader = SpoolReader(unit.spool.directory, LocalFiles())
    looked_at, bad = 0, []
    total = sum(1 for _ in reader.pending_names())
    checks = check_pending(reader, keys.find if has_keys else None)
    console, is_quiet = Console(stderr=True), not sys.stderr.isatty()
    for each in track(checks, "checking", total, console=console, transient=True, disable=is_quiet):
        looked_at += 1
        if each.flaw is not None:
            bad.append(each)
    if as_json:
        flaws = [{"name": each.name, "flaw": each.flaw} for each in bad]
        typer.echo(json.dumps({"checked": looked_at, "signatures": has_keys, "bad": flaws}))
    else:
        for each in bad:
            typer.echo(f"{each.name!r:.66}: {each.flaw}")
        what = "form, digest and signature" if has_keys else "form and digest; the unit has recorded no signing key"
        typer.echo(f"{looked_at} pending envelopes checked ({what}), {len(bad)} bad")
    if bad:
        raise EnvelopeVerificationError(f"{unit.spool.directory}: {len(bad)} of {looked_at} pending envelopes are bad")


@app.command("release")
def release(
    envelope_id: Annotated[str, typer.Argument(metavar="ID", help="The envelope's id, as `spool list` shows it.")],
    config: ConfigOption,
) -> None:
    """Bring an envelope that was set aside back to the pending ones, if it is whole. Upload must be stopped meanwhile.

    For after the reason is gone: the receiver knows the unit's key now, or takes reads of that size.

    Example: plateseal spool release 3f0a..64 hex digits..9c --config /etc/plateseal/unit.toml
    """
    from agent.config.load import load_config  # noqa: PLC0415
    from agent.disk.files import LocalFiles  # noqa: PLC0415
    from agent.disk.lock import SpoolLock, SpoolPart  # noqa: PLC0415
    from agent.spool.spool import FileSpool  # noqa: PLC0415

    settings = load_config(config).spool
    with SpoolLock(settings.directory, SpoolPart.UPLOAD):
        FileSpool(settings.directory, max_bytes=settings.max_bytes, files=LocalFiles()).release(envelope_id)
    typer.echo(f"{envelope_id} is pending again; upload sends it")

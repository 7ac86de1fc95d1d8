"""`plateseal spool list`: how much waits, and what was set aside and why."""

from __future__ import annotations

import json

import typer

from agent.cli.options import AsJson, UnitConfigFile
from agent.config.load import load_config
from agent.disk.files import LocalFiles
from agent.records import SpoolState
from agent.spool.reader import SetAside, SpoolReader


def list_spool(config: UnitConfigFile, *, as_json: AsJson = False) -> None:
    """Count what waits and what is set aside, with the oldest read's time and the reasons. Changes nothing.

    Example: plateseal spool list --config /etc/plateseal/unit.toml --json
    """
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

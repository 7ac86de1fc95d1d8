"""`plateseal spool verify`: whether every pending envelope is whole."""

from __future__ import annotations

import json
import sys

import typer
from rich.console import Console
from rich.progress import track

from agent.cli.options import AsJson, UnitConfigFile
from agent.config.load import load_config
from agent.disk.files import LocalFiles
from agent.errors import EnvelopeVerificationError
from agent.keys.known_keys import KnownKeys
from agent.spool.check import check_pending
from agent.spool.reader import SpoolReader


def verify(config: UnitConfigFile, *, as_json: AsJson = False) -> None:
    """Check every pending envelope: its form, its digest and the unit's signature. Names the bad ones; changes nothing.

    Upload checks the same before it sends, and sets aside what is bad. Exits 0 only if all are whole.

    Example: plateseal spool verify --config /etc/plateseal/unit.toml
    """
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

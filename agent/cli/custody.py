"""`plateseal custody`: the owner's keys."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from agent.envelope.suites import KeyType
from agent.errors import UsageError

app = typer.Typer(help="The owner's tools. Keep them, and the keys they make, away from every device.")

_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


@app.callback()
def _custody() -> None:
    """Keep `custody` a group while it has a single command."""


@app.command()
def keys(
    directory: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the owner's keys are kept.")],
    *,
    recipient: Annotated[
        list[str] | None, typer.Option("--recipient", metavar="NAME", help="Whose keys; may be given several times.")
    ] = None,
    key_type: Annotated[KeyType, typer.Option("--type", help="Type of the recipient keys.")] = KeyType.HYBRID,
    start: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First day (UTC, YYYY-MM-DD); today if left out.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="How many epochs.")] = 30,
    epoch: Annotated[str, typer.Option(help="Length of an epoch: a number and m, h or d.")] = "24h",
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Make recipient keys for the epochs to come, and the signed keyring that devices seal to.

    Example: plateseal custody keys --dir owner --from 2027-01-01 --epochs 90 --epoch 24h
    """
    from agent.custody.keys import KEYRING, OWNER_PUBLIC, make_keys  # noqa: PLC0415

    made = make_keys(
        directory,
        recipients=recipient or ["agency"],
        key_type=key_type,
        start=_day(start),
        epochs=epochs,
        epoch=_duration(epoch),
    )
    first, last = made.added[0].valid_from, made.added[-1].valid_until
    if as_json:
        answer = {
            "keyring": str(directory / KEYRING),
            "owner_key": str(directory / OWNER_PUBLIC),
            "serial": made.keyring.serial,
            "added": [{"kid": key.kid.hex(), "recipient": key.recipient} for key in made.added],
            "from": first.isoformat(),
            "until": last.isoformat(),
        }
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{len(made.added)} {key_type} keys, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC")
    typer.echo(f"  for the devices: {directory / KEYRING} (serial {made.keyring.serial}), {directory / OWNER_PUBLIC}")
    typer.echo(f"  to keep: {directory}/owner.key and {directory}/private; without them no read opens")


def _day(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"--from {text}: not a day as YYYY-MM-DD") from None


def _duration(text: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if match is None:
        raise UsageError(f"--epoch {text}: not a number and m, h or d, as in 24h")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})

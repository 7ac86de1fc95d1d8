"""`plateseal custody keys`: recipient keys for the epochs to come."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody.options import AsJson, Directory, PassphraseFile, Who, mandate_of
from agent.cli.durations import parse_duration
from agent.cli.owner import making_passphrase, parse_day
from agent.custody.keys import KEYRING, OWNER_PUBLIC, MadeKeys, make_keys
from agent.wire.suites import KeyType


def keys(
    directory: Directory,
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
    recordings: Annotated[
        bool | None,
        typer.Option(
            "--recordings/--no-recordings",
            help="Whether units may seal a recording to the day it was recorded on, where the keyring has it, and not "
            "to the day of sealing. Stays as it was if left out; at first: no.",
        ),
    ] = None,
    passphrase_file: PassphraseFile = None,
    no_passphrase: Annotated[
        bool, typer.Option("--no-passphrase", help="Leave the key files open to whoever reads them. For a bench.")
    ] = False,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Make recipient keys for the epochs to come, and the signed keyring that devices seal to.

    Keys that were destroyed are not in the new keyring. The keyring says when it was signed, and units take
    every earlier time for over: look at this computer's clock first.

    The private keys are closed with a passphrase, which is asked for unless it comes from a file.

    Example: plateseal custody keys --dir owner --from 2027-01-01 --epochs 90 --epoch 24h
    """
    first_day = _today() if start is None else parse_day(start, "--from")
    length = parse_duration(epoch, "--epoch")
    made = make_keys(
        directory,
        recipients=recipient or ["agency"],
        key_type=key_type,
        start=first_day,
        epochs=epochs,
        epoch=length,
        passphrase=making_passphrase(directory, passphrase_file, none=no_passphrase),
        recordings=recordings,
        mandate=mandate_of(who),
    )
    if as_json:
        typer.echo(json.dumps(_as_json(directory, made)))
    else:
        _say(directory, made, key_type)


def _as_json(directory: Path, made: MadeKeys) -> dict[str, object]:
    return {
        "keyring": str(directory / KEYRING),
        "owner_key": str(directory / OWNER_PUBLIC),
        "serial": made.keyring.serial,
        "issued": None if made.keyring.issued is None else made.keyring.issued.isoformat(),
        "recordings": made.keyring.recorded,
        "left_out": made.left_out,
        "added": [{"kid": key.kid.hex(), "recipient": key.recipient} for key in made.added],
        "from": made.added[0].valid_from.isoformat(),
        "until": made.added[-1].valid_until.isoformat(),
    }


def _say(directory: Path, made: MadeKeys, key_type: KeyType) -> None:
    first, last = made.added[0].valid_from, made.added[-1].valid_until
    typer.echo(f"{len(made.added)} {key_type} keys, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC")
    typer.echo(f"  for the devices: {directory / KEYRING} (serial {made.keyring.serial}), {directory / OWNER_PUBLIC}")
    if made.left_out:
        typer.echo(f"  {made.left_out} destroyed keys are not in it any more")
    if made.keyring.recorded:
        typer.echo("  recordings may be sealed to the day they were recorded on")
    typer.echo(f"  to keep: {directory}/owner.key and {directory}/private; without them no read opens")


def _today() -> datetime:
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)

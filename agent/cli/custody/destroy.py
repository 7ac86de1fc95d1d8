"""`plateseal custody destroy`: the private keys of old epochs go, and their reads with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from agent.cli.custody.options import AsJson, Directory, PassphraseFile, Reason, Who, mandate_of
from agent.cli.folders import STORES, kind_check
from agent.cli.owner import Progress, confirm, open_receiver, parse_before, tell_unfinished, unlock
from agent.custody.destroy import Consequence, Destruction, plan_destruction, weigh
from agent.custody.destroy import destroy as destroy_keys
from agent.custody.export import iso
from agent.custody.next_keyring import key_history
from agent.errors import UsageError
from agent.wire.keyring import Keyring

_MAX_KEYS_SHOWN: Final = 20


def destroy(
    directory: Directory,
    before: Annotated[
        str, typer.Option("--before", metavar="AGE|DATE", help="Epochs that ended this long ago (30d), or by this day.")
    ],
    reason: Reason,
    *,
    case: Annotated[str, typer.Option("--case", metavar="ID", help="A case it is for, if any.")] = "",
    store: Annotated[
        Path | None,
        typer.Option(
            "--store",
            metavar="RECEIVER",
            help="Count what becomes unreadable in this receiver's store.",
            callback=kind_check(*STORES),
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the private keys of old epochs: their reads become unreadable, wherever copies of them are.

    Shows first what would become unreadable and what is held for cases, and asks. Copies and backups of the key files
    are yours to destroy; with one of them the reads open again.

    A new keyring without these keys is signed: bring it to every unit.

    Example: plateseal custody destroy --dir owner --before 30d --reason "retention" --store receiver
    """
    moment, mandate = parse_before(before), mandate_of(who, case, reason)
    if not reason.strip():
        raise UsageError("--reason: needed; it goes into the audit log")
    owner = unlock(directory, passphrase_file, finishes=True)
    plan = plan_destruction(owner.layout, owner.keyring(), moment, key_history(owner.layout, owner.public_key))
    consequence = None
    if store is not None and plan.kids:
        with open_receiver(store, Progress("counting")) as receiver:
            consequence = weigh(plan, owner.layout, receiver)
    if not as_json:
        _print_plan(plan, consequence)
    if plan.kids and not yes:
        confirm("Destroy these keys for good?")
    destroyed = destroy_keys(owner, plan, mandate) if plan.is_due else 0
    tell_unfinished(directory)
    keyring = owner.keyring()
    if as_json:
        typer.echo(
            json.dumps(_plan_json(plan, consequence, destroyed) | {"serial": keyring.serial if keyring.keys else None})
        )
        return
    if destroyed:
        typer.echo(
            f"{destroyed} keys are destroyed. Copies and backups of {directory / 'private'} are yours to destroy."
        )
    if plan.is_due:
        _print_keyring(owner.layout.keyring, keyring)


def _print_keyring(path: Path, keyring: Keyring) -> None:
    if keyring.keys:
        typer.echo(f"  for the devices: {path} (serial {keyring.serial}), without the destroyed keys")
        return
    typer.echo(
        f"  no key is left, so {path} is removed: a unit that has an older one goes on sealing to destroyed keys, and "
        "nobody opens that. Make keys with plateseal custody keys, and bring the keyring to every unit"
    )


def _print_plan(plan: Destruction, consequence: Consequence | None) -> None:
    typer.echo(
        f"epochs that ended by {plan.before:%Y-%m-%d %H:%M} UTC: {len(plan.keys)} keys to destroy, {plan.left} stay"
    )
    for key in plan.keys[:_MAX_KEYS_SHOWN]:
        span = f"{key.valid_from:%Y-%m-%d %H:%M} to {key.valid_until:%Y-%m-%d %H:%M}"
        typer.echo(f"  {key.recipient}  {span}  {key.kid.hex()[:16]}")
    if len(plan.keys) > _MAX_KEYS_SHOWN:
        typer.echo(f"  and {len(plan.keys) - _MAX_KEYS_SHOWN} more")
    for key in plan.newest:
        typer.echo(
            f"  beware: {key.recipient} has no newer key; units go on sealing to {key.kid.hex()[:16]} until they "
            "have a keyring with newer ones"
        )
    if plan.again:
        typer.echo(f"  {len(plan.again)} keys were destroyed before, and their files are here; they go too")
    if plan.gone:
        typer.echo(f"  {len(plan.gone)} keys were destroyed before and leave the keyring now")
    if plan.not_in_keyring:
        typer.echo(f"  {plan.not_in_keyring} private keys are not in the keyring and stay")
    typer.echo(f"  held for cases: {plan.held} reads; they open with their case's key")
    if consequence is not None:
        typer.echo(
            f"  in the store: {consequence.unreadable} reads become unreadable, {consequence.held} stay readable as "
            f"held, {consequence.readable} stay readable, {consequence.unreadable_already} are unreadable already"
        )


def _plan_json(plan: Destruction, consequence: Consequence | None, destroyed: int) -> dict[str, object]:
    answer: dict[str, object] = {
        "before": iso(plan.before),
        "destroyed": destroyed,
        "keys": [
            {
                "kid": key.kid.hex(),
                "recipient": key.recipient,
                "from": iso(key.valid_from),
                "until": iso(key.valid_until),
            }
            for key in plan.keys
        ],
        "left": plan.left,
        "held": plan.held,
    }
    if consequence is not None:
        answer["store"] = {
            "unreadable": consequence.unreadable,
            "held": consequence.held,
            "readable": consequence.readable,
            "unreadable_already": consequence.unreadable_already,
        }
    return answer

"""`plateseal custody destroy`: the private keys of old epochs go, and their reads with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from agent.cli.custody.options import AsJson, Directory, PassphraseFile, Reason, Who, mandate_of
from agent.cli.owner import Progress, confirm, open_receiver, parse_before, unlock
from agent.custody.destroy import Consequence, Destruction, plan_destruction, weigh
from agent.custody.destroy import destroy as destroy_keys
from agent.custody.export import iso
from agent.errors import UsageError

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
        typer.Option("--store", metavar="RECEIVER", help="Count what becomes unreadable in this receiver's store."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    passphrase_file: PassphraseFile = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Destroy the private keys of old epochs: their reads become unreadable, wherever copies of them are.

    Shows first what would become unreadable and what is held for cases, and asks. Copies and backups of the key files
    are yours to destroy; with one of them the reads open again.

    Example: plateseal custody destroy --dir owner --before 30d --reason "retention" --store receiver
    """
    moment, mandate = parse_before(before), mandate_of(who, case, reason)
    if not reason.strip():
        raise UsageError("--reason: needed; it goes into the audit log")
    owner = unlock(directory, passphrase_file)
    plan = plan_destruction(owner.layout, owner.keyring(), moment)
    consequence = None
    if store is not None and plan.keys:
        with open_receiver(store, Progress("counting")) as receiver:
            consequence = weigh(plan, owner.layout, receiver)
    if not as_json:
        _print_plan(plan, consequence)
    if plan.keys and not yes:
        confirm("Destroy these keys for good?")
    destroyed = destroy_keys(owner, plan, mandate) if plan.keys else 0
    if as_json:
        typer.echo(json.dumps(_plan_json(plan, consequence, destroyed)))
    elif destroyed:
        typer.echo(
            f"{destroyed} keys are destroyed. Copies and backups of {directory / 'private'} are yours to destroy."
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
        typer.echo(f"  beware: {key.recipient} has no newer key; units go on sealing to {key.kid.hex()[:16]}")
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

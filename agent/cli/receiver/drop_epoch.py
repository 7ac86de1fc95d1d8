"""`plateseal receiver drop-epoch`: the reads of destroyed keys leave the disk."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.cli.owner import confirm
from agent.cli.receiver.options import Directory
from agent.receiver.layout import ReceiverLayout
from agent.receiver.missing import missing_parts_named
from agent.receiver.ports import Dropped, Epoch
from agent.receiver.retention import Plan, load_list, plan_drop
from agent.receiver.stores.opening import open_store, store_of


def drop_epoch(
    directory: Directory,
    keys: Annotated[
        list[str] | None, typer.Argument(metavar="KID", help="Beginnings of key ids. Default: all that the list names.")
    ] = None,
    *,
    destroyed: Annotated[
        Path | None,
        typer.Option("--destroyed", metavar="FILE", help="The list that `plateseal custody destroyed` has written."),
    ] = None,
    key_may_exist: Annotated[
        bool,
        typer.Option("--yes-the-key-exists", help="Drop the reads of the named keys although these may still exist."),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Drop the reads of epochs whose keys are destroyed: the disk comes back, and receipts and chains stay.

    Reads that the list names as held are set aside first, and stay. What is sealed to another key as well stays until
    that is dropped too. Nothing that is sealed to these keys alone is kept from now on: a unit that delivers such a
    read late gets a receipt, and erases it. `receiver verify` says how many were dropped, and goes on across them.

    The receiver may run meanwhile. Backups from before are yours to remove.

    Example: plateseal receiver drop-epoch /var/lib/plateseal-receiver --destroyed destroyed.json
    """
    said = None if destroyed is None else load_list(destroyed)
    with missing_parts_named(directory), open_store(store_of(ReceiverLayout(directory))) as store:
        plan = plan_drop(store, keys or [], said, key_may_exist=key_may_exist)
        if not as_json:
            _say_plan(plan)
        if plan.reads and not yes:
            confirm("Drop them for good?")
        dropped = store.drop_epochs(plan.kids, datetime.now(UTC), held=plan.held)
    if as_json:
        typer.echo(json.dumps(_as_json(dropped)))
    else:
        _say(dropped)


def _say_plan(plan: Plan) -> None:
    typer.echo(
        f"{len(plan.kids)} keys: {plan.reads} reads to drop, {plan.length / 1e6:.1f} MB, less what is held of them"
    )


def _say(dropped: Dropped) -> None:
    for epoch in dropped.epochs:
        typer.echo(f"dropped: {epoch.reads} reads sealed to {_kids(epoch)}, {epoch.length / 1e6:.1f} MB")
    for epoch in dropped.waiting:
        typer.echo(f"stays: {epoch.reads} reads sealed to {_kids(epoch)}; one of these keys was not dropped")
    if dropped.held:
        typer.echo(f"set aside: {dropped.held} reads held for cases; they stay")
    if not dropped.epochs:
        typer.echo("nothing to drop")


def _kids(epoch: Epoch) -> str:
    return ", ".join(kid.hex()[:16] for kid in epoch.kids)


def _as_json(dropped: Dropped) -> dict[str, object]:
    return {
        "dropped": [_epoch_json(epoch) for epoch in dropped.epochs],
        "waiting": [_epoch_json(epoch) for epoch in dropped.waiting],
        "held": dropped.held,
    }


def _epoch_json(epoch: Epoch) -> dict[str, object]:
    return {"keys": [kid.hex() for kid in epoch.kids], "reads": epoch.reads, "bytes": epoch.length}

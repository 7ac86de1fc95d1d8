"""`plateseal custody close`: a case ends, and its key goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody.options import AsJson, Case, Directory, PassphraseFile, Reason, Who, mandate_of
from agent.cli.folders import STORES, kind_check
from agent.cli.owner import Progress, confirm, open_receiver, tell_unfinished, unlock
from agent.custody.closing import Closing, Outcome, close_case, plan_closing, weigh_closing
from agent.errors import UsageError


def close(
    directory: Directory,
    case: Case,
    reason: Reason,
    *,
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
    """Close a case: destroy its key, so that what was held for it opens no more unless its epoch's key does.

    Shows first what becomes unreadable, and asks. Copies and backups of the case's key are yours to destroy. A later
    hold for the same case makes a new key.

    Example: plateseal custody close --dir owner --case 2027-0815 --reason "trial is over" --store receiver
    """
    mandate = mandate_of(who, case, reason)
    if not reason.strip():
        raise UsageError("--reason: needed; it goes into the audit log")
    owner = unlock(directory, passphrase_file, finishes=True)
    plan, outcome = plan_closing(owner, case), None
    if store is not None:
        with open_receiver(store, Progress("counting")) as receiver:
            outcome = weigh_closing(plan, owner, receiver)
    if not as_json:
        _print_plan(plan, outcome)
    if not yes:
        confirm("Destroy the key of this case for good?")
    close_case(owner, plan, mandate)
    tell_unfinished(directory)
    if as_json:
        typer.echo(json.dumps(_as_json(plan, outcome)))
        return
    typer.echo(f"the case {case} is closed. Copies and backups of {owner.layout.cases} are yours to destroy.")


def _print_plan(plan: Closing, outcome: Outcome | None) -> None:
    typer.echo(f"{len(plan.held)} reads are held for the case {plan.case}")
    if plan.kid is None:
        typer.echo("  its closing was entered before; what is left of it is erased")
    if outcome is None:
        typer.echo(
            "  those whose epoch's key is destroyed open no more, unless another case holds them; --store counts"
        )
        return
    typer.echo(f"  in the store: {outcome.unreadable} reads become unreadable, {outcome.readable} stay readable")
    if outcome.elsewhere:
        typer.echo(f"  {outcome.elsewhere} are not in this store")


def _as_json(plan: Closing, outcome: Outcome | None) -> dict[str, object]:
    answer: dict[str, object] = {
        "case": plan.case,
        "kid": None if plan.kid is None else plan.kid.hex(),
        "held": len(plan.held),
    }
    if outcome is not None:
        answer["store"] = {
            "unreadable": outcome.unreadable,
            "readable": outcome.readable,
            "elsewhere": outcome.elsewhere,
        }
    return answer

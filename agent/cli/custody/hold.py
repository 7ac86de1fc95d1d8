"""`plateseal custody hold`: reads of a case outlive their epoch's key."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agent.cli.custody import options
from agent.cli.custody.options import mandate_of, parse_query, print_tally
from agent.cli.owner import Progress, open_receiver, unlock
from agent.cli.until import UntilCtrlC
from agent.custody.access import check_mandate, hold_reads
from agent.custody.search import Tally
from agent.errors import INTERRUPTED


def hold(
    directory: options.Directory,
    store: options.Store,
    case: options.Case,
    reason: options.Reason,
    *,
    plate: options.Plate = None,
    near: options.Near = 0,
    start: options.Start = None,
    end: options.End = None,
    camera: options.Camera = None,
    every_epoch: options.EveryEpoch = False,
    ids: Annotated[
        list[str] | None, typer.Option("--id", metavar="ENVELOPE_ID", help="This read; may be given several times.")
    ] = None,
    passphrase_file: options.PassphraseFile = None,
    who: options.Who = None,
    as_json: options.AsJson = False,
) -> None:
    """Hold reads for a case, so that they open with the case's key when their epoch's key is destroyed.

    The case's key is made the first time. At least one filter is needed.

    Example: plateseal custody hold --dir owner --store receiver --case 2027-0815 --reason "hit and run" --plate AB1234
    """
    query = parse_query(plate, start, end, camera, ids or (), every_epoch=every_epoch, near=near)
    mandate = mandate_of(who, case, reason)
    check_mandate(mandate, query)
    with open_receiver(store, Progress("holding")) as receiver:
        owner = unlock(directory, passphrase_file)
        with UntilCtrlC() as until:
            held = hold_reads(owner, receiver, query, mandate, may_go_on=until.may_go_on)
    if as_json:
        answer = {"case": case, "held": list(held.reads), "new_case": held.new_case, **_tally_json(held.tally)}
        typer.echo(json.dumps(answer))
    else:
        typer.echo(f"{len(held.reads)} reads are held for case {case}{', whose key is new' if held.new_case else ''}")
        print_tally(held.tally, err=False)
    if held.tally.stopped:
        raise typer.Exit(INTERRUPTED)


def _tally_json(tally: Tally) -> dict[str, object]:
    unopened = {reason.name.lower(): count for reason, count in tally.unopened.items()}
    return {
        "scanned": tally.scanned,
        "matched": tally.matched,
        "tombstones": tally.tombstones,
        "unopened": unopened,
        "passed_over": tally.passed_over,
        "stopped": tally.stopped,
    }

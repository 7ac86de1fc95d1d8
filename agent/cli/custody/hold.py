"""`plateseal custody hold`: reads of a case outlive their epoch's key."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from agent.cli.custody import options
from agent.cli.custody.options import mandate_of, parse_query, print_tally
from agent.cli.owner import Progress, open_receiver, unlock
from agent.custody.access import check_mandate, hold_reads
from agent.custody.search import Tally


def hold(
    directory: options.Directory,
    store: options.Store,
    case: options.Case,
    reason: options.Reason,
    *,
    plate: options.Plate = None,
    start: options.Start = None,
    end: options.End = None,
    camera: options.Camera = None,
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
    query, mandate = parse_query(plate, start, end, camera, ids or ()), mandate_of(who, case, reason)
    check_mandate(mandate, query)
    with open_receiver(store, Progress("holding")) as receiver:
        held = hold_reads(unlock(directory, passphrase_file), receiver, query, mandate)
    if as_json:
        answer = {"case": case, "held": list(held.reads), "new_case": held.new_case, **_tally_json(held.tally)}
        typer.echo(json.dumps(answer))
        return
    typer.echo(f"{len(held.reads)} reads are held for case {case}{', whose key is new' if held.new_case else ''}")
    print_tally(held.tally, err=False)


def _tally_json(tally: Tally) -> dict[str, object]:
    unopened = {reason.name.lower(): count for reason, count in tally.unopened.items()}
    return {
        "scanned": tally.scanned,
        "matched": tally.matched,
        "tombstones": tally.tombstones,
        "unopened": unopened,
    }

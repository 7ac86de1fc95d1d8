"""`plateseal custody open`: reads in clear, for a case."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody import options
from agent.cli.custody.options import mandate_of, parse_query, print_tally
from agent.cli.custody.printing import Form, Printer
from agent.cli.owner import Progress, open_receiver, tell_dropped, unlock
from agent.cli.until import UntilCtrlC
from agent.custody.access import check_mandate, open_reads
from agent.custody.opener import OpenedRead
from agent.custody.search import Tally
from agent.errors import INTERRUPTED, CustodyError, UsageError


def open_(
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
    crops: Annotated[
        Path | None, typer.Option("--crops", metavar="FOLDER", help="Also write the pictures of the plates there.")
    ] = None,
    passphrase_file: options.PassphraseFile = None,
    who: options.Who = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line for each read.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print comma-separated values with a heading; times are UTC.")
    ] = False,
) -> None:
    """Open the reads that fit, after entering it in the audit log. Without a filter, all of them.

    Reads come in order of time. Every envelope's signature is checked. Reads held for the case open with the case's
    key. What cannot be opened is counted at the end, by reason. Ctrl-C ends the search and shows what was found so far.

    Example: plateseal custody open --dir owner --store receiver --case 2027-08 --reason "hit and run" --plate 'AB?123*'
    """
    query = parse_query(plate, start, end, camera, every_epoch=every_epoch, near=near)
    mandate = mandate_of(who, case, reason)
    check_mandate(mandate, query)
    form = _form(as_json=as_json, as_csv=as_csv)
    progress, tally, printer = Progress("opening"), Tally(), Printer(form)
    with open_receiver(store, progress) as receiver:
        owner = unlock(directory, passphrase_file)
        tell_dropped(receiver, owner.keyring())
        _make_crops_folder(crops)
        with UntilCtrlC() as until:
            for batch in open_reads(owner, receiver, query, mandate, tally=tally, may_go_on=until.may_go_on):
                progress.clear()
                printer.print(batch)
                _write_crops(crops, batch)
    printer.finish()
    print_tally(tally, err=form is not Form.TABLE)
    if tally.stopped:
        raise typer.Exit(INTERRUPTED)


def _form(*, as_json: bool, as_csv: bool) -> Form:
    if as_json and as_csv:
        raise UsageError("--csv: contradicts --json")
    if as_csv:
        return Form.CSV
    return Form.JSON if as_json else Form.TABLE


def _make_crops_folder(folder: Path | None) -> None:
    if folder is None:
        return
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--crops {folder}: cannot be made: {error.strerror}") from None


def _write_crops(folder: Path | None, batch: list[OpenedRead]) -> None:
    if folder is not None:
        for opened in batch:
            _write_crop(folder, opened)


def _write_crop(folder: Path, opened: OpenedRead) -> None:
    """Write a picture in clear, because the user asked for it: for the user's eyes only."""
    if not opened.read.crop:
        return
    path = folder / f"{opened.envelope.envelope_id}.jpg"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(opened.read.crop)
    except OSError as error:
        raise CustodyError(f"{path}: cannot be written: {error.strerror}") from None

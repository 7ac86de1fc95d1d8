"""`plateseal custody open`: reads in clear, for a case."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.custody import options
from agent.cli.custody.options import mandate_of, parse_query, print_tally
from agent.cli.owner import Progress, open_receiver, shown, tell_dropped, unlock
from agent.cli.until import UntilCtrlC
from agent.custody.access import check_mandate, open_reads
from agent.custody.export import iso, read_as_json
from agent.custody.opener import OpenedRead
from agent.custody.search import Tally
from agent.errors import INTERRUPTED, CustodyError, UsageError
from agent.wire.plaintext import Plaintext


def open_(
    directory: options.Directory,
    store: options.Store,
    case: options.Case,
    reason: options.Reason,
    *,
    plate: options.Plate = None,
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
) -> None:
    """Open the reads that fit, after entering it in the audit log. Without a filter, all of them.

    Reads come in order of time. Every envelope's signature is checked. Reads held for the case open with the case's
    key. What cannot be opened is counted at the end, by reason. Ctrl-C ends the search and shows what was found so far.

    Example: plateseal custody open --dir owner --store receiver --case 2027-08 --reason "hit and run" --plate 'AB?123*'
    """
    query = parse_query(plate, start, end, camera, every_epoch=every_epoch)
    mandate = mandate_of(who, case, reason)
    check_mandate(mandate, query)
    progress, tally = Progress("opening"), Tally()
    with open_receiver(store, progress) as receiver:
        owner = unlock(directory, passphrase_file)
        tell_dropped(receiver, owner.keyring())
        _make_crops_folder(crops)
        is_first = True
        with UntilCtrlC() as until:
            for batch in open_reads(owner, receiver, query, mandate, tally=tally, may_go_on=until.may_go_on):
                progress.clear()
                _print_reads(batch, as_json=as_json, heading=is_first)
                is_first = False
                _write_crops(crops, batch)
    print_tally(tally, err=as_json)
    if tally.stopped:
        raise typer.Exit(INTERRUPTED)


def _print_reads(batch: list[OpenedRead], *, as_json: bool, heading: bool) -> None:
    if as_json:
        for opened in batch:
            typer.echo(json.dumps(read_as_json(opened.envelope, opened.read), ensure_ascii=False))
        return
    if heading:
        typer.echo(f"{'captured (UTC)':<24}  {'plate':<10}  {'camera':<16}  {'sure':<4}  {'direction':<11}  envelope")
    for opened in batch:
        read = opened.read
        sure = sum(read.confidences) / len(read.confidences) / 1000 if read.confidences else 0.0
        typer.echo(
            f"{iso(read.captured_at):<24}  {shown(read.text):<10}  {shown(read.camera):<16}  {sure:.2f}  "
            f"{read.direction:<11}  {opened.envelope.envelope_id}{_saw(read)}"
        )


def _saw(read: Plaintext) -> str:
    """Return what the camera saw, where that is not the text."""
    return "" if read.seen in (None, read.text) else f"  seen as {shown(read.seen or '')}, settled by {read.format}"


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

"""Opened reads on standard output: a table for a person, JSON lines or CSV for a program."""

from __future__ import annotations

import csv
import io
import json
import sys
from datetime import datetime
from enum import StrEnum
from typing import Final

import typer

from agent.cli.owner import shown
from agent.custody.export import iso, read_as_json
from agent.custody.opener import OpenedRead
from agent.wire.plaintext import Plaintext

_COLUMNS: Final = ("captured_at", "plate", "seen", "camera", "site", "lane", "direction", "sure", "envelope")
_STEERS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With one of these at its beginning, a spreadsheet takes a text for a formula."""


class Form(StrEnum):
    """How reads are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


class Printer:
    """Prints reads as they come. Times are UTC, but for a table on a terminal, which has local time and says so."""

    def __init__(self, form: Form) -> None:
        """Begin; a heading comes with the first read, in CSV also where none comes."""
        self._form = form
        self._is_local = is_terminal()
        self._has_heading = False

    def print(self, reads: list[OpenedRead]) -> None:
        """Print some."""
        self._print_heading()
        for opened in reads:
            if self._form is Form.JSON:
                typer.echo(json.dumps(read_as_json(opened.envelope, opened.read), ensure_ascii=False))
            elif self._form is Form.CSV:
                typer.echo(_csv(_cells(opened)), nl=False)
            else:
                typer.echo(self._row(opened))

    def finish(self) -> None:
        """Say at least what the columns are, where somebody reads them with a program."""
        if self._form is Form.CSV:
            self._print_heading()

    def _print_heading(self) -> None:
        if self._has_heading:
            return
        self._has_heading = True
        if self._form is Form.CSV:
            typer.echo(_csv(_COLUMNS), nl=False)
        elif self._form is Form.TABLE:
            when = f"{'captured (local time)':<30}" if self._is_local else f"{'captured (UTC)':<24}"
            typer.echo(f"{when}  {'plate':<10}  {'camera':<16}  {'sure':<4}  {'direction':<11}  envelope")

    def _row(self, opened: OpenedRead) -> str:
        read = opened.read
        when = _local(read.captured_at) if self._is_local else iso(read.captured_at)
        return (
            f"{when:<24}  {shown(read.text):<10}  {shown(read.camera):<16}  {_sure(read):.2f}  "
            f"{read.direction:<11}  {opened.envelope.envelope_id}{_saw(read)}"
        )


def is_terminal() -> bool:
    """Whether a person looks at standard output."""
    return sys.stdout.isatty()


def _local(moment: datetime) -> str:
    """Write an aware time as this machine's zone has it, with how far that is from UTC."""
    text = moment.astimezone().isoformat(sep=" ", timespec="milliseconds")
    return f"{text[:23]} {text[23:]}"


def _sure(read: Plaintext) -> float:
    return sum(read.confidences) / len(read.confidences) / 1000 if read.confidences else 0.0


def _saw(read: Plaintext) -> str:
    """Return what the camera saw, where that is not the text."""
    return "" if read.seen in (None, read.text) else f"  seen as {shown(read.seen or '')}, settled by {read.format}"


def _cells(opened: OpenedRead) -> tuple[str, ...]:
    read = opened.read
    texts = (read.text, read.seen, read.camera, read.site, read.lane)
    plate, seen, camera, site, lane = (_harmless(text or "") for text in texts)
    sure = f"{_sure(read):.3f}"
    return iso(read.captured_at), plate, seen, camera, site, lane, read.direction, sure, opened.envelope.envelope_id


def _harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: what begins like one has an apostrophe before it."""
    return f"'{text}" if text.startswith(_STEERS) else text


def _csv(cells: tuple[str, ...]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()

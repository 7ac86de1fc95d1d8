"""What the custody commands share: the passphrase, the receiver's store, times, and showing text and progress."""

from __future__ import annotations

import getpass
import re
import sys
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import typer

from agent.cli.durations import parse_duration
from agent.custody.layout import OwnerLayout
from agent.custody.next_keyring import key_history
from agent.custody.owner import Owner, is_under_passphrase, load_keyring, owner_public, unlock_owner
from agent.custody.passphrase import MAX_PASSPHRASE_BYTES, oddities, read_new_passphrase, read_passphrase_file
from agent.custody.stored_receiver import StoredReceiver
from agent.custody.unfinished import unfinished
from agent.errors import KeyFileError, UsageError
from agent.receiver.admission.completeness import missing_end, why_empty
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import open_store, store_of
from agent.wire.keyring import Keyring

PROGRESS_AFTER_S: Final = 2.0
PROGRESS_EVERY_S: Final = 0.5
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_AGE: Final = re.compile(r"[0-9]+[mhd]")


def unlock(directory: Path, passphrase_file: Path | None, *, finishes: bool = False) -> Owner:
    """Unlock an owner's directory with the passphrase from a file or a terminal, if it is under one.

    What is left to do of a destruction that was cut off is printed, but for a command that may finish it: that one
    tells what is left after its work (`tell_unfinished`).

    Raises:
        UsageError: A passphrase is needed, and there is neither a file nor a terminal.
        KeyFileError: The directory or the file cannot be used, or the passphrase is wrong.
    """
    return unlock_with(directory, passphrase_file, finishes=finishes)[0]


def unlock_with(directory: Path, passphrase_file: Path | None, *, finishes: bool = False) -> tuple[Owner, bytes | None]:
    """Do the same, and return the passphrase as well.

    Raises:
        UsageError, KeyFileError: As `unlock`.
    """
    needed = is_under_passphrase(directory)
    if passphrase_file is not None:
        passphrase: bytes | None = read_passphrase_file(passphrase_file)
    else:
        passphrase = ask_passphrase(twice=False) if needed else None
    try:
        owner = unlock_owner(directory, passphrase)
    except KeyFileError as error:
        odd = [] if passphrase is None or passphrase_file is None else oddities(passphrase)
        if not odd:
            raise
        raise KeyFileError(
            f"{error}. {passphrase_file} {' and '.join(odd)}, and all of that was tried; save it as one line of UTF-8 "
            "with nothing around it"
        ) from None
    if not finishes:
        tell_unfinished(directory)
    return owner, passphrase


def tell_unfinished(directory: Path) -> None:
    """Print what is left to do of destructions that were entered. Needs no private key.

    Raises:
        KeyFileError: The folder of private keys or the keyring cannot be read.
        CustodyError: The audit log cannot be read.
    """
    layout = OwnerLayout(directory)
    owner_key = owner_public(layout)
    for line in unfinished(layout, load_keyring(layout, owner_key), key_history(layout, owner_key)):
        typer.echo(f"beware: {line}", err=True)


def making_passphrase(directory: Path, passphrase_file: Path | None, *, none: bool) -> bytes | None:
    """Return the passphrase to make keys under; None where the user asked for none.

    Raises:
        UsageError: None is at hand, contradictory options, or the two that were typed differ.
        KeyFileError: The directory or the file cannot be used.
    """
    if none and passphrase_file is not None:
        raise UsageError("--no-passphrase: contradicts --passphrase-file")
    is_there = (directory / "owner.key").exists()
    if none:
        return None
    if is_there and not is_under_passphrase(directory):
        raise UsageError(f"{directory}: its keys are under no passphrase; say --no-passphrase to add more like them")
    if passphrase_file is None:
        return ask_passphrase(twice=not is_there)
    return read_passphrase_file(passphrase_file) if is_there else read_new_passphrase(passphrase_file)


def ask_passphrase(*, twice: bool, prompt: str = "Passphrase: ") -> bytes:
    """Ask for a passphrase on the terminal, unseen; twice where it cannot be checked otherwise.

    Raises:
        UsageError: No terminal, nothing typed, too long, or two that differ.
    """
    if not sys.stdin.isatty():
        raise UsageError("a passphrase is needed: give --passphrase-file FILE, or run this on a terminal")
    first = _typed(prompt)
    if twice and _typed("The same again: ") != first:
        raise UsageError("passphrase: the two that were typed differ")
    return first


def _typed(prompt: str) -> bytes:
    try:
        text = getpass.getpass(prompt)
    except EOFError:
        raise UsageError("passphrase: nothing was typed") from None
    passphrase = unicodedata.normalize("NFC", text).encode()  # one form, whatever keyboard wrote it
    if not 1 <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise UsageError(f"passphrase: from 1 to {MAX_PASSPHRASE_BYTES} bytes are allowed")
    return passphrase


class Progress:
    """A line on a terminal's standard error, for work that takes longer than `PROGRESS_AFTER_S`."""

    def __init__(self, what: str) -> None:
        """Show `what` is being done."""
        self._what = what
        self._is_on = sys.stderr.isatty()
        self._began_s: float | None = None
        self._next_s = time.monotonic() + PROGRESS_AFTER_S
        self._is_shown = False

    def show(self, done: int, total: int) -> None:
        """Show how far the work is, and about how long it will take, now and then. The first call is the beginning."""
        if not self._is_on:
            return
        now_s = time.monotonic()
        self._began_s = now_s if self._began_s is None else self._began_s
        if now_s < self._next_s:
            return
        self._next_s = now_s + PROGRESS_EVERY_S
        self._is_shown = True
        left = _left(now_s - self._began_s, done, total)
        sys.stderr.write(f"\r\x1b[K{self._what}: {done:,} of {total:,}{left}")
        sys.stderr.flush()

    def clear(self) -> None:
        """Take the line away, before something else is written."""
        if self._is_shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            self._is_shown = False


def _left(took_s: float, done: int, total: int) -> str:
    """Return about how long work will go on, if it goes on as it did."""
    if not done or not took_s:
        return ""
    left_s = round(took_s * max(total - done, 0) / done)
    minutes, seconds = divmod(left_s, 60)
    hours, minutes = divmod(minutes, 60)
    return f", about {hours} h {minutes} min left" if hours else f", about {minutes} min {seconds:02} s left"


@contextmanager
def open_receiver(path: Path, progress: Progress) -> Iterator[StoredReceiver]:
    """Open a receiver's folder, or the store in it, to read. What says that entries are missing is printed.

    Raises:
        UsageError: It is neither, or its store is empty although units are enrolled: nothing can be done with it, and
            a copy without its write-ahead log looks the same.
        ReceiverError: The store cannot be read.
    """
    layout = ReceiverLayout(path if path.is_dir() else path.parent)
    if not path.exists():
        raise UsageError(f"--store {path}: is not there; a receiver's folder, or the envelopes.db in it, is needed")
    if not layout.store_address.exists() and not layout.devices.is_dir():
        raise UsageError(f"--store {path}: no folder {layout.devices.name} beside the store; signatures need its keys")
    with open_store(store_of(layout) if path.is_dir() else path, read_only=True) as store:
        devices = DeviceBook(layout.devices)
        empty = why_empty(store, devices)
        if empty is not None:
            raise UsageError(f"--store {path}: {empty}")
        for sign in missing_end(store, devices):
            typer.echo(f"beware: --store {path}: {sign}", err=True)
        try:
            yield StoredReceiver(layout, store, progress.show)
        finally:
            progress.clear()


def tell_dropped(receiver: StoredReceiver, keyring: Keyring) -> None:
    """Print which reads the receiver has dropped although the owner still has their key.

    Raises:
        ReceiverError: The store cannot be read.
    """
    dropped = receiver.dropped_kids()
    for key in keyring.keys:
        if reads := dropped.get(key.kid):
            words = "were dropped at the receiver, and the key was never destroyed"
            typer.echo(f"beware: {reads} reads of {key.valid_from:%Y-%m-%d} ({key.kid.hex()[:16]}) {words}", err=True)


def parse_day(text: str, option: str) -> datetime:
    """Return the beginning of a day, UTC.

    Raises:
        UsageError: Not YYYY-MM-DD.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"{option} {text}: not a day as YYYY-MM-DD") from None


def parse_moment(text: str, option: str, *, end_of_day: bool = False) -> datetime:
    """Return a time as ISO 8601 says it, UTC unless it names a zone; for a day its beginning, or its end.

    Raises:
        UsageError: Neither a day nor a time.
    """
    if _DAY.fullmatch(text):
        try:
            return parse_day(text, option) + (timedelta(days=1) if end_of_day else timedelta())
        except OverflowError:
            raise UsageError(f"{option} {text}: after the last day there is") from None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(f"{option} {text}: neither a day as 2027-03-01 nor a time as 2027-03-01T08:30 (UTC)") from None


def parse_before(text: str) -> datetime:
    """Return the moment that an age or a day names: `30d` is thirty days ago.

    Raises:
        UsageError: Neither, or a time to come.
    """
    if _AGE.fullmatch(text):
        return datetime.now(UTC) - parse_duration(text, "--before")  # at most 274 years
    try:
        moment = parse_moment(text, "--before")
    except UsageError:
        raise UsageError(f"--before {text}: neither an age as 30d nor a day as 2027-03-01") from None
    if moment > datetime.now(UTC):
        raise UsageError(f"--before {text}: is still to come; units seal to those keys until then")
    return moment


def shown(text: str) -> str:
    """Return text as a terminal may have it: whatever would steer the terminal becomes a question mark."""
    return "".join(char if char.isprintable() else "?" for char in text)


def confirm(question: str) -> None:
    """Ask on the terminal; anything but yes ends the command.

    Raises:
        UsageError: There is no terminal to ask on.
    """
    if not sys.stdin.isatty():
        raise UsageError("nothing was done: say --yes, or run this on a terminal and confirm")
    if not typer.confirm(question, err=True):
        raise UsageError("nothing was done")

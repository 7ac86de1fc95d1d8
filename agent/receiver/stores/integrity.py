"""Whether a store's file is whole below its rows: pages, indices, free list, as SQLite itself checks them.

Owns: that check and its limit in time. Leaves to others: what the rows say (`intake.verification`). Rows are found
through indices, so an index that leaves some out would hide them from every check of rows.

Source: sqlite.org/pragma.html#pragma_integrity_check.
"""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PAGE_CHECK_S: Final = 3600.0
"""Seconds. It reads the file once, so this is enough for some hundred gigabytes on an ordinary disk."""
MAX_DAMAGE: Final = 20
"""Faults that are named; a store with more is not mended by hand."""
_OF_INDEX: Final = re.compile(r"missing from index|entries in index|rowid out of order in index")
"""Words of SQLite's check that are about an index alone (sqlite.org, PRAGMA integrity_check)."""
_OF_ROOM: Final = re.compile(r"Fragmentation of \d+ bytes")
"""About the unused room of a page, whichever it is: no row is lost with it."""
_INTERRUPT_EVERY_S: Final = 0.01
"""An interrupt that comes between two statements is forgotten, so there is more than one."""
_BUSY_TIMEOUT_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class PageCheck:
    """What was found.

    Attributes:
        damage: What is wrong, one line each; at most `MAX_DAMAGE`.
        is_complete: Whether the check came to its end within its time.
    """

    damage: tuple[str, ...]
    is_complete: bool


def check_pages(path: Path, *, within_s: float | None = PAGE_CHECK_S) -> PageCheck:
    """Check every page of a store's file, and every index against its table. Changes nothing.

    Args:
        path: An SQLite file, which a receiver may be writing to.
        within_s: How long it may take, seconds; None for as long as it takes.
    """
    try:
        with closing(_connect(path)) as connection, _limited(connection, within_s):
            rows = connection.execute(f"PRAGMA integrity_check({MAX_DAMAGE})").fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorname == "SQLITE_INTERRUPT":
            return PageCheck((), is_complete=False)
        return PageCheck((str(error),), is_complete=True)
    except sqlite3.DatabaseError as error:
        return PageCheck((str(error),), is_complete=True)
    lines = [line for (text,) in rows for line in str(text).splitlines() if not line.startswith("***")]
    return PageCheck(() if lines == ["ok"] else tuple(lines[:MAX_DAMAGE]), is_complete=True)


def cure(path: Path, damage: Sequence[str]) -> str:
    """Return what helps against damage that `check_pages` has found in a file."""
    if any(map(_OF_INDEX.search, damage)) and all(_OF_INDEX.search(line) or _OF_ROOM.match(line) for line in damage):
        return f"only indices are; stop the receiver, build them anew, and verify again: sqlite3 {path} REINDEX"
    return "keep a copy of the folder, and restore the newest backup that verifies (docs/BACKUP.md, A damaged file)"


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)


@contextmanager
def _limited(connection: sqlite3.Connection, within_s: float | None) -> Iterator[None]:
    """Interrupt what the connection does when the time is up."""
    if within_s is None:
        yield
        return
    done = threading.Event()

    def end() -> None:
        if not done.wait(within_s):
            while not done.wait(_INTERRUPT_EVERY_S):
                connection.interrupt()

    watch = threading.Thread(target=end, daemon=True)
    watch.start()
    try:
        yield
    finally:
        done.set()
        watch.join()


__all__ = ["MAX_DAMAGE", "PAGE_CHECK_S", "PageCheck", "check_pages", "cure"]

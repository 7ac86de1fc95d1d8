"""A store of version 2, whose envelopes' bytes are in the database: how they come into body files.

Owns: that move, in steps. Leaves to others: the tables (`schema`), which are of version 3 already, and the files.

Each step is a transaction of its own: bytes are written and synced, then the rows name them and let go of their own
copy. So a kill or a power cut at any moment leaves each envelope in the database, or in a file that its row names; the
next start goes on. Envelopes are read from either place meanwhile. At the end the database gives its free room back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agent.errors import FormatError
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.filing import VARIOUS, Filing
from agent.receiver.stores.schema import has_receipts_of_2
from agent.wire.envelope import parse_envelope

FEW_PAGES: Final = 256
"""1 MiB of free pages is not worth the work; new rows use them."""
ROWS_A_STEP: Final = 64
"""At most 64 MiB, as many as a unit sends at once."""
_OLD: Final = (
    "SELECT log, device, stored_at_ms, body FROM envelopes WHERE log > ? AND body IS NOT NULL ORDER BY log LIMIT ?"
)
_MOVED: Final = "UPDATE envelopes SET body = NULL, file = ?, place = ? WHERE log = ?"


def take_over(connection: sqlite3.Connection, files: BodyFiles, watch: Callable[[int], None]) -> int:
    """Move what is still in the database into files; return how many envelopes that were.

    Args:
        connection: Of the store, outside of a transaction.
        files: The store's.
        watch: Told after each step up to which entry of the log it is done.

    Raises:
        sqlite3.Error, OSError: The disk refused. What was moved is moved, the rest is where it was.
    """
    after, moved = 0, 0
    while rows := connection.execute(_OLD, (after, ROWS_A_STEP)).fetchall():
        connection.execute("BEGIN IMMEDIATE")
        _move(connection, files, rows)
        connection.execute("COMMIT")
        after, moved = int(rows[-1][0]), moved + len(rows)
        watch(after)
    if has_receipts_of_2(connection):
        moved += _move_receipts(connection)
    _give_back(connection)
    return moved


def _give_back(connection: sqlite3.Connection) -> None:
    """Give the room of what was moved back to the disk; where that is not possible now, the next start tries again."""
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    if free > max(pages // 2, FEW_PAGES):
        with suppress(sqlite3.OperationalError):  # somebody reads, or there is no room for a second copy
            connection.execute("VACUUM")


def _move(connection: sqlite3.Connection, files: BodyFiles, rows: list[tuple[int, bytes, int, bytes]]) -> None:
    filing = Filing(connection, files, rows[-1][2])
    for log, device, _, body in rows:
        try:
            place = filing.add(parse_envelope(body))
        except FormatError:  # damaged, and told as that; its bytes may still say something
            place = filing.append(VARIOUS, (), device, body)
        connection.execute(_MOVED, (*place, log))
    filing.flush()


def _move_receipts(connection: sqlite3.Connection) -> int:
    """Move the receipts to where those of version 3 are."""
    connection.execute("BEGIN IMMEDIATE")
    query = "INSERT INTO receipts (log, id, version, receipt) SELECT log, id, version, receipt FROM receipts_of_2"
    moved = connection.execute(query).rowcount
    connection.execute("DELETE FROM receipts_of_2")
    connection.execute("COMMIT")
    return moved

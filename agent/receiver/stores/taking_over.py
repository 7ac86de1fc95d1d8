"""A store of version 2, whose envelopes' bytes are in the database: how they come into body files.

Owns: that move, in steps. Leaves to others: the tables (`schema`), which are of version 3 already, and the files.

Each step is a transaction of its own: bytes are written and synced, then the rows name them and let go of their own
copy. So a kill or a power cut at any moment leaves each envelope in the database, or in a file that its row names; the
next start goes on. Envelopes are read from either place meanwhile. At the end the database gives its free room back.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from agent.errors import FormatError
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.filing import VARIOUS, Filing
from agent.receiver.stores.schema import has_receipts_of_2, index_files, is_being_taken_over
from agent.wire.envelope import parse_envelope

FEW_PAGES: Final = 256
"""1 MiB of free pages is not worth the work; new rows use them."""
ROWS_A_STEP: Final = 64
"""At most 64 MiB, as many as a unit sends at once."""
RECEIPTS_A_STEP: Final = 4096
"""About 2 MB."""
_OLD: Final = (
    "SELECT log, device, stored_at_ms, body FROM envelopes WHERE log > ? AND body IS NOT NULL ORDER BY log LIMIT ?"
)
_MOVED: Final = "UPDATE envelopes SET body = NULL, file = ?, place = ? WHERE log = ?"


def take_over(connection: sqlite3.Connection, files: BodyFiles, may_go_on: Callable[[], bool]) -> int:
    """Move what is still in the database into files; return how many entries and receipts that were.

    Args:
        connection: Of the store, outside of a transaction.
        files: The store's.
        may_go_on: Asked before each step.

    Raises:
        sqlite3.Error, OSError: The disk refused. What was moved is moved, the rest is where it was.
    """
    moved = 0
    while is_being_taken_over(connection) and may_go_on():
        connection.execute("BEGIN IMMEDIATE")
        step = _step(connection, files)
        connection.execute("COMMIT")
        moved += step
        if not step:
            if _has_given_back(connection):
                index_files(connection)
                connection.execute("DROP TABLE IF EXISTS taking_over")
            break
    return moved


def _step(connection: sqlite3.Connection, files: BodyFiles) -> int:
    """Move some envelopes, or after the last of them some receipts; return how many."""
    if not is_being_taken_over(connection):  # another process was faster
        return 0
    (after,) = connection.execute("SELECT after FROM taking_over").fetchone()
    rows = connection.execute(_OLD, (after, ROWS_A_STEP)).fetchall()
    if not rows:
        return _move_receipts(connection) if has_receipts_of_2(connection) else 0
    filing = Filing(connection, files, rows[-1][2])
    for log, device, _, body in rows:
        try:
            place = filing.add(parse_envelope(body))
        except FormatError:  # damaged, and told as that; its bytes may still say something
            place = filing.append(VARIOUS, (), device, body)
        connection.execute(_MOVED, (*place, log))
    filing.flush()
    connection.execute("UPDATE taking_over SET after = ?", (rows[-1][0],))
    return len(rows)


def _move_receipts(connection: sqlite3.Connection) -> int:
    """Move some receipts to where those of version 3 are; return how many."""
    query = "SELECT log, id, version, receipt FROM receipts_of_2 ORDER BY log LIMIT ?"
    rows = connection.execute(query, (RECEIPTS_A_STEP,)).fetchall()
    connection.executemany("INSERT INTO receipts (log, id, version, receipt) VALUES (?,?,?,?)", rows)
    connection.executemany("DELETE FROM receipts_of_2 WHERE log = ?", ((row[0],) for row in rows))
    return len(rows)


def _has_given_back(connection: sqlite3.Connection) -> bool:
    """Give the room of what was moved back to the disk; where that is not possible now, the next start tries again."""
    pages, free = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count"))
    if free <= max(pages // 2, FEW_PAGES):
        return True
    try:
        connection.execute("VACUUM")
    except sqlite3.OperationalError:  # somebody reads, or there is no room for a second copy
        return False
    return True

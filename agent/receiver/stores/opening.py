"""Which engine a store has, by where it is.

Owns: that choice. Leaves to others: the engines.
"""

from __future__ import annotations

from pathlib import Path

from agent.receiver.stores.sqlite import SqliteStore


def open_store(where: Path, *, read_only: bool = False) -> SqliteStore:
    """Open a receiver's store.

    Args:
        where: The file of an SQLite store.
        read_only: To look only, while a receiver may be writing to it.

    Raises:
        ReceiverError: Missing, unreadable, damaged, or not a store of this version.
    """
    return SqliteStore.open_read_only(where) if read_only else SqliteStore.open(where)

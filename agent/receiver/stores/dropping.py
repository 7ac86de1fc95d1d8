"""Dropping epochs: the bytes of reads that nobody can open any more go, and their entries stay.

Owns: what goes with which keys, setting held reads aside, and the order of the steps. Leaves to others: who may ask for
it (`agent.receiver.retention`).

| step | a power cut after it leaves |
|---|---|
| the bytes of held reads are written once more, synced | bytes that no row names |
| one transaction: held rows name the new bytes, files are marked as dropped, keys are noted | all of it, or nothing |
| the files are unlinked | files that no row needs; the next opening removes them |

What stays of a dropped read is its row with its receipt: so a late copy gets the receipt that it had, chains go on
across the gap, and `receiver verify` counts what went.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from typing import Final

from agent.errors import ReceiverError
from agent.receiver.ports import Dropped, Epoch
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.filing import HELD, Filing, kids_in
from agent.receiver.stores.rules import doomed_and_waiting
from agent.wire import cbor
from agent.wire.times import from_ms

_FILES: Final = "SELECT number, name, kids FROM body_files WHERE dropped_at_ms IS NULL AND kids <> x'' ORDER BY number"
_HELD_ROW: Final = "SELECT log, file, place, length FROM envelopes WHERE id = ?"


def drop(
    connection: sqlite3.Connection, files: BodyFiles, kids: Collection[bytes], held: Collection[bytes], at_ms: int
) -> Dropped:
    """Mark epochs as dropped, after setting aside what is held; the files are still there.

    Args:
        connection: In a transaction that has the write lock; the caller commits it, then calls `unlink_dropped`.
        files: The store's.
        kids: Ids of the keys whose reads go.
        held: Ids of envelopes that stay.
        at_ms: Time of the drop, milliseconds since 1970 UTC.

    Raises:
        ReceiverError: A held read is damaged.
        sqlite3.Error, OSError: The disk refused.
    """
    connection.executemany(
        "INSERT OR IGNORE INTO dropped_kids (kid, at_ms) VALUES (?,?)", ((kid, at_ms) for kid in kids)
    )
    gone = {bytes(kid) for (kid,) in connection.execute("SELECT kid FROM dropped_kids")}
    here = {number: (name, kids_in(sealed_to)) for number, name, sealed_to in connection.execute(_FILES).fetchall()}
    going, waiting = doomed_and_waiting({number: sealed_to for number, (_, sealed_to) in here.items()}, gone)
    doomed = {number: here[number][0] for number in going}
    aside = _set_aside(connection, Filing(connection, files, at_ms), files, doomed, held)
    query = "UPDATE body_files SET dropped_at_ms = ? WHERE number = ?"
    connection.executemany(query, ((at_ms, number) for number in doomed))
    return Dropped(_epochs(connection, doomed), _epochs(connection, waiting), aside)


def unlink_dropped(connection: sqlite3.Connection, files: BodyFiles) -> None:
    """Remove the files of epochs that are marked as dropped.

    Raises:
        sqlite3.Error, OSError: The disk refused.
    """
    names = connection.execute("SELECT name FROM body_files WHERE dropped_at_ms IS NOT NULL").fetchall()
    files.remove(str(name) for (name,) in names)


def _set_aside(
    connection: sqlite3.Connection, filing: Filing, files: BodyFiles, doomed: dict[int, str], held: Collection[bytes]
) -> int:
    count = 0
    for envelope_id in sorted(held):
        row = connection.execute(_HELD_ROW, (envelope_id,)).fetchone()
        if row is None or row[1] not in doomed:
            continue
        log, number, place, length = row
        data = b"" if place is None else files.read(doomed[number], place, length)
        if cbor.sha256(data) != envelope_id:
            raise ReceiverError(f"held read {envelope_id.hex()[:16]} is damaged in the store; nothing was dropped")
        moved = *filing.append(HELD, (), b"", data), log
        connection.execute("UPDATE envelopes SET file = ?, place = ? WHERE log = ?", moved)
        query = "UPDATE body_files SET reads = reads - 1, bytes = bytes - ? WHERE number = ?"
        connection.execute(query, (length, number))
        count += 1
    filing.flush()
    return count


def _epochs(connection: sqlite3.Connection, numbers: Collection[int]) -> tuple[Epoch, ...]:
    query = "SELECT kids, reads, bytes, dropped_at_ms FROM body_files WHERE number = ?"
    rows = (connection.execute(query, (number,)).fetchone() for number in sorted(numbers))
    return tuple(
        Epoch(kids_in(kids), reads, length, None if at_ms is None else from_ms(at_ms))
        for kids, reads, length, at_ms in rows
    )

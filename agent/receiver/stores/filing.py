"""Which body file an envelope goes to, and where in it; within the store's transaction.

An envelope is filed by the keys that it is sealed to, for it may go when all of these are destroyed:

| sealed to | file |
|---|---|
| one key | that key's id in hex: the epoch's file |
| several keys | SHA-256 of their ids, in bytewise order, in hex: one file for each combination |
| none, a tombstone | `tombstones` |
| a combination that its unit may not begin a file for any more today | `various` |

Owns: that choice, the table of files, and writing to them. Leaves to others: the files (`bodies`), and the rows.

The order makes a power cut harmless: bytes are written and synced behind the length that the table knows, then rows and
length are committed together, then a receipt may leave. Cut off before the commit, the bytes are not there for anybody.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from datetime import timedelta
from typing import Final

from agent.receiver.stores.bodies import BodyFiles
from agent.wire import cbor
from agent.wire.envelope import Envelope
from agent.wire.header import DIGEST_BYTES

TOMBSTONES: Final = "tombstones"
VARIOUS: Final = "various"
NEW_FILES_A_DAY: Final = 64
"""Files that one unit's key may begin in a day of the log. A keyring has a new epoch a day, so a unit that delivers
what it kept for two months begins as many. Without a bound, who has a unit's key could fill the folder."""
_DAY_MS: Final = timedelta(days=1) // timedelta(milliseconds=1)


def name_of(kids: tuple[bytes, ...]) -> str:
    """Return the name of the file for envelopes that are sealed to these keys."""
    if not kids:
        return TOMBSTONES
    return kids[0].hex() if len(kids) == 1 else cbor.sha256(b"".join(kids)).hex()


def kids_in(joined: bytes) -> tuple[bytes, ...]:
    """Return the ids of keys that a row of the table has, one after the other."""
    return tuple(joined[begin : begin + DIGEST_BYTES] for begin in range(0, len(joined), DIGEST_BYTES))


class Filing:
    """Files the envelopes of one transaction."""

    def __init__(self, connection: sqlite3.Connection, files: BodyFiles, at_ms: int) -> None:
        """Begin.

        Args:
            connection: In a transaction that has the write lock.
            files: The store's.
            at_ms: Time of storing, milliseconds since 1970 UTC.
        """
        self._connection = connection
        self._files = files
        self._at_ms = at_ms
        self._numbers: dict[str, int] = {}
        self._ends: dict[int, int] = {}
        self._pieces: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)
        self._added: defaultdict[int, int] = defaultdict(int)

    def add(self, envelope: Envelope) -> tuple[int, int]:
        """Choose the place of an envelope; return the number of its file, and the offset in it."""
        return self.append(self._name(envelope), envelope.kids, envelope.device_kid, envelope.data)

    def append(self, name: str, kids: tuple[bytes, ...], device: bytes, data: bytes) -> tuple[int, int]:
        """Choose the place of bytes in a file of this name; return the number of the file, and the offset in it."""
        number = self._number(name, kids, device)
        offset = self._ends[number]
        self._ends[number] = offset + len(data)
        self._added[number] += 1
        self._pieces[name].append((offset, data))
        return number, offset

    def mend(self, number: int, offset: int, data: bytes) -> None:
        """Replace the bytes of an envelope by those that came again, where the disk has damaged them."""
        (name,) = self._connection.execute("SELECT name FROM body_files WHERE number = ?", (number,)).fetchone()
        try:
            if self._files.read(name, offset, len(data)) == data:
                return
        except FileNotFoundError:
            pass
        self._pieces[name].append((offset, data))

    def flush(self) -> None:
        """Write all of it. On return it survives a power cut, and the transaction may be committed.

        Raises:
            OSError: The disk refused; the transaction must be rolled back.
        """
        for name, pieces in self._pieces.items():
            self._files.write(name, pieces)
        for number, added in self._added.items():
            query = "UPDATE body_files SET bytes = ?, reads = reads + ? WHERE number = ?"
            self._connection.execute(query, (self._ends[number], added, number))
        self._pieces.clear()
        self._added.clear()

    def _name(self, envelope: Envelope) -> str:
        name = name_of(envelope.kids)
        if name == TOMBSTONES or name in self._numbers or self._row(name) is not None:
            return name
        query = "SELECT count(*) FROM body_files WHERE begun_by = ? AND begun_at_ms > ?"
        (begun,) = self._connection.execute(query, (envelope.device_kid, self._at_ms - _DAY_MS)).fetchone()
        return name if begun < NEW_FILES_A_DAY else VARIOUS

    def _number(self, name: str, kids: tuple[bytes, ...], device: bytes) -> int:
        if name in self._numbers:
            return self._numbers[name]
        row = self._row(name)
        if row is None:
            joined = b"" if name == VARIOUS else b"".join(kids)
            query = "INSERT INTO body_files (name, kids, begun_by, begun_at_ms) VALUES (?,?,?,?)"
            row = self._connection.execute(query, (name, joined, device, self._at_ms)).lastrowid or 0, 0
        number, self._ends[number] = row
        self._numbers[name] = number
        return number

    def _row(self, name: str) -> tuple[int, int] | None:
        query = "SELECT number, bytes FROM body_files WHERE name = ?"
        row = self._connection.execute(query, (name,)).fetchone()
        return None if row is None else (int(row[0]), int(row[1]))


__all__ = ["Filing", "kids_in", "name_of"]

"""Which body file an envelope goes to, and where in it; within the store's transaction.

An envelope is filed by the keys that it is sealed to, for it may go when all of these are destroyed:

| sealed to | file |
|---|---|
| one key | that key's id in hex: the epoch's file |
| several keys | SHA-256 of their ids, in bytewise order, in hex: one file for each combination |
| none, a tombstone | `tombstones` |
| a combination that its unit may not begin a file for any more today | `various` |
| whatever it is sealed to, held for a case when its epoch was dropped | `held` |

Owns: that choice, the table of files, and writing to them. Leaves to others: the files (`bodies`), and the rows.

The order makes a power cut harmless: bytes are written and synced behind the length that the table knows, then rows and
length are committed together, then a receipt may leave. Cut off before the commit, the bytes are not there for anybody.

An epoch that was dropped has a row in the table and no file. An envelope that is sealed to it and comes late gets its
entry, and its bytes go nowhere.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from agent.receiver.stores.bodies import BodyFiles
from agent.wire import cbor
from agent.wire.envelope import Envelope
from agent.wire.header import DIGEST_BYTES

TOMBSTONES: Final = "tombstones"
VARIOUS: Final = "various"
HELD: Final = "held"
NEW_FILES_A_DAY: Final = 64
"""Files that one unit's key may begin in a day of the log. A keyring has a new epoch a day, so a unit that delivers
what it kept for two months begins as many. Without a bound, who has a unit's key could fill the folder."""
DAY_MS: Final = timedelta(days=1) // timedelta(milliseconds=1)


def name_of(kids: tuple[bytes, ...]) -> str:
    """Return the name of the file for envelopes that are sealed to these keys."""
    if not kids:
        return TOMBSTONES
    return kids[0].hex() if len(kids) == 1 else cbor.sha256(b"".join(kids)).hex()


def kids_in(joined: bytes) -> tuple[bytes, ...]:
    """Return the ids of keys that a row of the table has, one after the other."""
    return tuple(joined[begin : begin + DIGEST_BYTES] for begin in range(0, len(joined), DIGEST_BYTES))


@dataclass(slots=True)
class _File:
    """A row of the table of files, as it will be after the transaction.

    Attributes:
        number: Its number.
        end: Where the next bytes go; of one that is dropped, how many bytes it would have.
        is_dropped: Whether its bytes are gone by policy.
        added: Envelopes that this transaction has added.
    """

    number: int
    end: int
    is_dropped: bool
    added: int = 0


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
        self._files_here: dict[str, _File] = {}
        self._pieces: defaultdict[str, list[tuple[int, bytes]]] = defaultdict(list)

    def add(self, envelope: Envelope) -> tuple[int, int | None]:
        """Choose the place of an envelope; return the number of its file and the offset, None if it is dropped."""
        return self.append(self._name(envelope), envelope.kids, envelope.device_kid, envelope.data)

    def append(self, name: str, kids: tuple[bytes, ...], device: bytes, data: bytes) -> tuple[int, int | None]:
        """Choose the place of bytes in a file of this name; return the same as `add`."""
        file, offset = self._file(name, kids, device), None
        if not file.is_dropped:
            offset = file.end
            self._pieces[name].append((offset, data))
        file.end += len(data)
        file.added += 1
        return file.number, offset

    def mend(self, number: int, offset: int, data: bytes) -> None:
        """Replace the bytes of an envelope by those that came again, where the disk has damaged them."""
        query = "SELECT name FROM body_files WHERE number = ? AND dropped_at_ms IS NULL"
        row = self._connection.execute(query, (number,)).fetchone()
        if row is None:
            return
        name = str(row[0])
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
        query = "UPDATE body_files SET bytes = ?, reads = reads + ? WHERE number = ?"
        for file in self._files_here.values():
            self._connection.execute(query, (file.end, file.added, file.number))
            file.added = 0
        self._pieces.clear()

    def _name(self, envelope: Envelope) -> str:
        name = name_of(envelope.kids)
        if name == TOMBSTONES or name in self._files_here or self._row(name) is not None:
            return name
        query = "SELECT count(*) FROM body_files WHERE begun_by = ? AND begun_at_ms > ?"
        (begun,) = self._connection.execute(query, (envelope.device_kid, self._at_ms - DAY_MS)).fetchone()
        return name if begun < NEW_FILES_A_DAY or self._are_dropped(envelope.kids) else VARIOUS

    def _file(self, name: str, kids: tuple[bytes, ...], device: bytes) -> _File:
        if name not in self._files_here:
            self._files_here[name] = self._row(name) or self._begun(name, kids, device)
        return self._files_here[name]

    def _begun(self, name: str, kids: tuple[bytes, ...], device: bytes) -> _File:
        joined = b"" if name in (VARIOUS, HELD) else b"".join(kids)
        dropped_at_ms = self._at_ms if joined and self._are_dropped(kids) else None
        query = "INSERT INTO body_files (name, kids, begun_by, begun_at_ms, dropped_at_ms) VALUES (?,?,?,?,?)"
        row = name, joined, device, self._at_ms, dropped_at_ms
        return _File(self._connection.execute(query, row).lastrowid or 0, 0, dropped_at_ms is not None)

    def _are_dropped(self, kids: tuple[bytes, ...]) -> bool:
        query = "SELECT 1 FROM dropped_kids WHERE kid = ?"
        return all(self._connection.execute(query, (kid,)).fetchone() is not None for kid in kids)

    def _row(self, name: str) -> _File | None:
        query = "SELECT number, bytes, dropped_at_ms IS NOT NULL FROM body_files WHERE name = ?"
        row = self._connection.execute(query, (name,)).fetchone()
        return None if row is None else _File(int(row[0]), int(row[1]), bool(row[2]))


__all__ = ["DAY_MS", "HELD", "NEW_FILES_A_DAY", "TOMBSTONES", "VARIOUS", "Filing", "kids_in", "name_of"]

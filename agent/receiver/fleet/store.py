"""The newest health report of each unit, and whose key two machines use, in an SQLite file of its own.

Owns: the tables, and what is remembered of them: a report that came through this process is not parsed again, which
for 3,000 units takes longer than everything else of a fleet page. Leaves to others: the connection (`database`), who
may report (`service`), what a report means (`fleet`). It is kept apart from the envelopes: their store is evidence and
this is a dashboard. It is made when it is missing, and not synced for each report: a power cut costs a minute.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

from agent.errors import FormatError, ReceiverError
from agent.receiver.stores.database import Database, blob, moment, text
from agent.wire.health import HealthReport, encode_health, parse_health
from agent.wire.times import from_ms, to_ms

APPLICATION_ID: Final = 0x504C4642
"""ASCII "PLFB", in the file's header: this is a fleet's book and not some other database."""

_SCHEMA: Final = f"""
CREATE TABLE IF NOT EXISTS forks (
    key BLOB PRIMARY KEY,
    seen_at_ms INTEGER NOT NULL,
    detail TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS health (
    device TEXT PRIMARY KEY,
    received_at_ms INTEGER NOT NULL,
    report BLOB NOT NULL
) STRICT, WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
"""


@dataclass(frozen=True, slots=True)
class Reported:
    """A unit's newest report.

    Attributes:
        received_at: Aware UTC time of the receiver.
        report: What the unit said.
    """

    received_at: datetime
    report: HealthReport


@dataclass(frozen=True, slots=True)
class SeenFork:
    """What showed last that two machines use one device key.

    Attributes:
        seen_at: Aware UTC time of the receiver.
        detail: For a person; ids and numbers only.
    """

    seen_at: datetime
    detail: str


class FleetStore(Database):
    """An open store. Safe for threads."""

    kind = "store of health reports"
    cure = "remove it: it is made anew, and filled within a minute"
    columns = MappingProxyType(
        {
            "key": blob,
            "seen_at_ms": moment,
            "detail": text,
            "device": text,
            "received_at_ms": moment,
            "report": blob,
        }
    )

    def __init__(self, path: Path) -> None:
        """Open the store, and make it if it is missing.

        Raises:
            ReceiverError: It cannot be opened or made, or is some other database.
        """
        self._known: dict[str, Reported] = {}
        super().__init__(path, mode="rwc")

    def keep(self, device: str, report: HealthReport, at: datetime) -> None:
        """Keep a report in the place of the one before.

        Raises:
            ReceiverError: The database refused; the one before may still be there.
        """
        with self._connected("written") as connection:
            connection.execute(
                "INSERT INTO health (device, received_at_ms, report) VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE "
                "SET received_at_ms = excluded.received_at_ms, report = excluded.report",
                (device, to_ms(at), encode_health(report)),
            )
            self._known[device] = Reported(from_ms(to_ms(at)), report)

    def newest(self) -> dict[str, Reported]:
        """Return the newest report of each unit that has sent one; those of another version are left out.

        Raises:
            ReceiverError: The database cannot be read.
        """
        found: dict[str, Reported] = {}
        with self._connected("read") as connection:
            for device, at_ms in connection.execute("SELECT device, received_at_ms FROM health").fetchall():
                known = self._known.get(device)
                if known is None or known.received_at != from_ms(at_ms):
                    known = _read_report(connection, device)
                if known is not None:
                    found[device] = known
            self._known = dict(found)
        return found

    def keep_fork(self, key_id: bytes, detail: str, at: datetime) -> None:
        """Keep what showed that two machines use a device key, in the place of what did before.

        Raises:
            ReceiverError: The database refused.
        """
        with self._connected("written") as connection:
            connection.execute(
                "INSERT INTO forks (key, seen_at_ms, detail) VALUES (?, ?, ?) ON CONFLICT (key) DO UPDATE "
                "SET seen_at_ms = excluded.seen_at_ms, detail = excluded.detail",
                (key_id, to_ms(at), detail),
            )

    def forks(self) -> dict[bytes, SeenFork]:
        """Return, by the id of a device key that two machines use, what showed it last.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._read("SELECT key, seen_at_ms, detail FROM forks")
        return {bytes(key): SeenFork(from_ms(at_ms), str(detail)) for key, at_ms, detail in rows}

    def _prepare(self, connection: sqlite3.Connection) -> None:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application not in (0, APPLICATION_ID):
            raise ReceiverError("some other database")
        if application == 0:
            self._path.chmod(0o600)
            connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(_SCHEMA)
        connection.execute("PRAGMA synchronous = NORMAL")


def _read_report(connection: sqlite3.Connection, device: str) -> Reported | None:
    """Return the report that is kept of a unit; None for one of another version."""
    row = connection.execute("SELECT received_at_ms, report FROM health WHERE device = ?", (device,)).fetchone()
    with suppress(FormatError):
        return Reported(from_ms(row[0]), parse_health(bytes(row[1])))
    return None

"""The newest health report of each unit, in an SQLite file of its own.

Owns: the table. Leaves to others: who may report (`service`), what a report means (`fleet`). It is kept apart from the
envelopes: their store is evidence and this is a dashboard. It is made when it is missing, and not synced for each
report: a power cut costs a minute.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agent.envelope.health import HealthReport, encode_health, parse_health
from agent.envelope.times import from_ms, to_ms
from agent.errors import FormatError, ReceiverError

APPLICATION_ID: Final = 0x504C4642
"""ASCII "PLFB", in the file's header: this is a fleet's book and not some other database."""

_SCHEMA: Final = f"""
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


class FleetStore:
    """An open store. Safe for threads."""

    def __init__(self, path: Path) -> None:
        """Open the store, and make it if it is missing.

        Raises:
            ReceiverError: It cannot be opened or made, or is some other database.
        """
        self._path = path
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = self._connect()

    def keep(self, device: str, report: HealthReport, at: datetime) -> None:
        """Keep a report in the place of the one before.

        Raises:
            ReceiverError: The database refused; the one before may still be there.
        """
        self._run(
            "INSERT INTO health (device, received_at_ms, report) VALUES (?, ?, ?) ON CONFLICT (device) DO UPDATE SET "
            "received_at_ms = excluded.received_at_ms, report = excluded.report",
            (device, to_ms(at), encode_health(report)),
        )

    def newest(self) -> dict[str, Reported]:
        """Return the newest report of each unit that has sent one; those of another version are left out.

        Raises:
            ReceiverError: The database cannot be read.
        """
        found: dict[str, Reported] = {}
        for device, at_ms, data in self._run("SELECT device, received_at_ms, report FROM health", ()):
            with suppress(FormatError):
                found[str(device)] = Reported(from_ms(at_ms), parse_health(bytes(data)))
        return found

    def close(self) -> None:
        """Close the database. Idempotent."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, statement: str, parameters: tuple[object, ...]) -> list[tuple[str, int, bytes]]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                rows: list[tuple[str, int, bytes]] = self._connection.execute(statement, parameters).fetchall()
            except sqlite3.Error as error:
                self._drop()
                raise ReceiverError(f"{self._path}: {error}") from None
        return rows

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(self._path, isolation_level=None, timeout=5.0, check_same_thread=False)
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            if application not in (0, APPLICATION_ID):
                raise sqlite3.DatabaseError("some other database")
            if application == 0:
                self._path.chmod(0o600)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(_SCHEMA)
            connection.execute("PRAGMA synchronous = NORMAL")
        except (sqlite3.Error, OSError) as error:
            if connection is not None:
                connection.close()
            raise ReceiverError(f"{self._path}: not a usable store of health reports: {error}") from None
        return connection

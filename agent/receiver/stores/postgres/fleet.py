"""The newest health report of each unit, and whose key two machines use, in PostgreSQL for all receivers of one store.

Owns: the statements. Leaves to others: what a report means (`agent.receiver.fleet`).

A report is kept whatever the standby does: it is a dashboard's, and the next one follows within a minute.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from agent.receiver.stores.postgres.shelf import RecordsOf


class PostgresFleet:
    """An open store of reports, as bytes. Safe for threads."""

    def __init__(self, url: str) -> None:
        """Open it.

        Raises:
            ReceiverError: There is no store in the database.
        """
        self._database = RecordsOf(url, read_only=False)

    def keep(self, device: str, at_ms: int, report: bytes) -> None:
        """Keep a unit's report in the place of the one before.

        Raises:
            ReceiverError: The database refused.
        """
        self._database.change(
            "INSERT INTO health (device, received_at_ms, report) VALUES (%b, %b, %b) ON CONFLICT (device) DO UPDATE "
            "SET received_at_ms = excluded.received_at_ms, report = excluded.report",
            (device, at_ms, report),
            may_be_lost=True,
        )

    def times(self) -> list[tuple[str, int]]:
        """Return which units have reported, and when last, milliseconds since 1970 UTC.

        Raises:
            ReceiverError: The database cannot be read.
        """
        return [(str(device), int(at_ms)) for device, at_ms in self._database.rows(_TIMES)]

    def report(self, device: str) -> tuple[int, bytes] | None:
        """Return a unit's newest report and its time; None where it is gone.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._database.rows("SELECT received_at_ms, report FROM health WHERE device = %b", (device,))
        return (int(rows[0][0]), bytes(rows[0][1])) if rows else None

    def keep_fork(self, key_id: bytes, at_ms: int, detail: str) -> None:
        """Keep what showed that two machines use a device key.

        Raises:
            ReceiverError: The database refused.
        """
        self._database.change(
            "INSERT INTO forks (key, seen_at_ms, detail) VALUES (%b, %b, %b) ON CONFLICT (key) DO UPDATE "
            "SET seen_at_ms = excluded.seen_at_ms, detail = excluded.detail",
            (key_id, at_ms, detail),
            may_be_lost=True,
        )

    def forks(self) -> list[tuple[bytes, int, str]]:
        """Return device key, time and what showed it last.

        Raises:
            ReceiverError: The database cannot be read.
        """
        rows = self._database.rows("SELECT key, seen_at_ms, detail FROM forks")
        return [(bytes(key), int(at_ms), str(detail)) for key, at_ms, detail in rows]

    def close(self) -> None:
        """Close it. Idempotent."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


_TIMES = "SELECT device, received_at_ms FROM health"

__all__ = ["PostgresFleet"]

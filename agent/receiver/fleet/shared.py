"""The newest health reports where several receivers share a store: any of them shows the whole fleet.

Owns: parsing what the database has, and which reports need not be parsed again. Leaves to others: the statements (the
engine), what a report means (`overview`).
"""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from agent.errors import FormatError
from agent.receiver.fleet.store import FleetStore, Reported, SeenFork
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import load_postgres_fleet, store_of
from agent.wire.health import HealthReport, encode_health, parse_health
from agent.wire.times import from_ms, to_ms

if TYPE_CHECKING:
    from agent.receiver.stores.postgres.fleet import PostgresFleet


class Fleet(Protocol):
    """Where reports are kept: a file of the receiver's, or a database. Safe for threads; a context that closes it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def keep(self, device: str, report: HealthReport, at: datetime) -> None:
        """Keep a report in the place of the one before.

        Raises:
            ReceiverError: The database refused; the one before may still be there.
        """
        ...

    def newest(self) -> dict[str, Reported]:
        """Return the newest report of each unit that has sent one; those of another version are left out.

        Raises:
            ReceiverError: The database cannot be read.
        """
        ...

    def keep_fork(self, key_id: bytes, detail: str, at: datetime) -> None:
        """Keep what showed that two machines use a device key, in the place of what did before.

        Raises:
            ReceiverError: The database refused.
        """
        ...

    def forks(self) -> dict[bytes, SeenFork]:
        """Return, by the id of a device key that two machines use, what showed it last.

        Raises:
            ReceiverError: The database cannot be read.
        """
        ...


class SharedFleet:
    """Reports in PostgreSQL: `Fleet`."""

    def __init__(self, kept: PostgresFleet) -> None:
        """Take over an open one; it is closed with this."""
        self._kept = kept
        self._lock = threading.Lock()
        self._known: dict[str, Reported] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._kept.close()

    def keep(self, device: str, report: HealthReport, at: datetime) -> None:
        """As the protocol."""
        self._kept.keep(device, to_ms(at), encode_health(report))

    def newest(self) -> dict[str, Reported]:
        """As the protocol."""
        with self._lock:
            found: dict[str, Reported] = {}
            for device, at_ms in self._kept.times():
                known = self._known.get(device)
                if known is None or known.received_at != from_ms(at_ms):
                    known = self._report(device)
                if known is not None:
                    found[device] = known
            self._known = dict(found)
            return found

    def keep_fork(self, key_id: bytes, detail: str, at: datetime) -> None:
        """As the protocol."""
        self._kept.keep_fork(key_id, to_ms(at), detail)

    def forks(self) -> dict[bytes, SeenFork]:
        """As the protocol."""
        return {key: SeenFork(from_ms(at_ms), detail) for key, at_ms, detail in self._kept.forks()}

    def _report(self, device: str) -> Reported | None:
        found = self._kept.report(device)
        if found is None:
            return None
        with suppress(FormatError):
            return Reported(from_ms(found[0]), parse_health(found[1]))
        return None


def open_fleet(layout: ReceiverLayout) -> Fleet:
    """Open the reports of a receiver, where its store is.

    Raises:
        ReceiverError: They cannot be opened.
    """
    where = store_of(layout)
    return SharedFleet(load_postgres_fleet(where)) if isinstance(where, str) else FleetStore(layout.fleet)


__all__ = ["Fleet", "SharedFleet", "open_fleet"]

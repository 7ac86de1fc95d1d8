"""A receiver's records of units and people in PostgreSQL, for all receivers of one store.

Owns: the table `records`. Leaves to others: what is in a record (`agent.receiver.admission`).
"""

from __future__ import annotations

import weakref
from collections.abc import Hashable

import psycopg

from agent.receiver.stores.postgres.database import Database, Row


class PostgresShelf:
    """Records of one kind: `Shelf` of `agent.receiver.admission`. Its connections close when nobody has it any more."""

    def __init__(self, url: str, kind: str) -> None:
        """Look into the database from now on, for records of this kind.

        Raises:
            ReceiverError: There is no store in it.
        """
        self._url = url
        self._kind = kind
        self._reader = RecordsOf(url, read_only=True)
        weakref.finalize(self, self._reader.close)

    @property
    def where(self) -> str:
        """As the protocol."""
        return f"{self._url}: {self._kind}"

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        """As the protocol."""
        query = "SELECT substring(data FROM 1 FOR %b) FROM records WHERE kind = %b AND name = %b"
        rows = self._reader.rows(query, (max_bytes + 1, self._kind, name))
        return bytes(rows[0][0]) if rows else None

    def names(self) -> list[str]:
        """As the protocol."""
        return sorted(self.stamps())

    def stamps(self) -> dict[str, Hashable]:
        """As the protocol."""
        rows = self._reader.rows("SELECT name, written FROM records WHERE kind = %b", (self._kind,))
        return {str(name): written for name, written in rows}

    def write(self, name: str, data: bytes) -> str:
        """As the protocol."""
        self._change(
            "INSERT INTO records (kind, name, data, written) VALUES (%b, %b, %b, nextval('writings')) "
            "ON CONFLICT (kind, name) DO UPDATE SET data = excluded.data, written = excluded.written",
            (self._kind, name, data),
        )
        return f"{self.where}/{name}"

    def remove(self, name: str) -> None:
        """As the protocol."""
        self._change("DELETE FROM records WHERE kind = %b AND name = %b", (self._kind, name))

    def _change(self, query: str, parameters: tuple[object, ...]) -> None:
        with RecordsOf(self._url, read_only=False) as database:
            database.change(query, parameters)


class RecordsOf(Database):
    """The database of a store, for what is beside the envelopes."""

    def rows(self, query: str, parameters: tuple[object, ...] = ()) -> list[Row]:
        """Return what a query finds.

        Raises:
            ReceiverError: The database cannot be read.
        """
        return self._read(query, parameters)

    def change(self, query: str, parameters: tuple[object, ...], *, may_be_lost: bool = False) -> None:
        """Do one statement; on return it lasts.

        Args:
            query: It.
            parameters: Its values.
            may_be_lost: Do not wait for the disk or a standby; a crash may take it back.

        Raises:
            ReceiverError: The database refused, or did not say plainly that it lasts.
        """

        def work(connection: psycopg.Connection) -> None:
            if may_be_lost:
                connection.execute("SET LOCAL synchronous_commit = off")
            connection.execute(query, parameters)

        self._write(work)


__all__ = ["PostgresShelf", "RecordsOf"]

"""Where the bytes of envelopes lie, beside a store in PostgreSQL: in its own tables, or in an object store.

| the store was made with | an epoch's table holds |
|---|---|
| nothing more | the bytes of each envelope |
| `--bodies FILE` | in which object of the epoch each envelope is, and where in it (`agent.receiver.stores.objects`) |

Owns: both ways, behind one protocol. Leaves to others: which epoch an envelope belongs to (`filing`), and transactions.

Invariant: an object is stored before the transaction that names it commits, and goes before the table that names it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Protocol

import psycopg
from psycopg import sql

from agent.errors import ReceiverError
from agent.receiver.stores.postgres.database import Row, copy_rows, fetch
from agent.receiver.stores.postgres.schema import table_of

EpochTable = tuple[int, str]
"""Number and name of a row of `body_files`."""


class Bodies(Protocol):
    """The bytes of a store's envelopes, each at a place of its own in the table of its epoch."""

    pattern: str
    """Name of the table that the epochs' tables are made like."""

    def add(self, connection: psycopg.Connection, epoch: EpochTable, bodies: Sequence[tuple[int, bytes]]) -> None:
        """Add bytes at new places.

        Raises:
            ReceiverError: They cannot be stored.
        """
        ...

    def read(self, connection: psycopg.Connection, epoch: EpochTable, places: Iterable[int]) -> dict[int, bytes]:
        """Return the bytes at places, as far as they are there; what is damaged comes as it is.

        Raises:
            ReceiverError: They cannot be read.
        """
        ...

    def put_again(self, connection: psycopg.Connection, epoch: EpochTable, bodies: Mapping[int, bytes]) -> None:
        """Put bytes where others are, or none, at places that have been given out.

        Raises:
            ReceiverError: They cannot be stored.
        """
        ...

    def forget(self, epoch: EpochTable) -> None:
        """Delete what lies outside of the epoch's table. Idempotent.

        Raises:
            ReceiverError: It cannot be deleted now.
        """
        ...


class ObjectStore(Protocol):
    """What `agent.receiver.stores.objects.ObjectBodies` is."""

    def put(self, epoch: str, data: bytes) -> bytes:
        """Store bytes and return the object's digest."""
        ...

    def read(self, epoch: str, digest: bytes, offset: int, length: int) -> bytes:
        """Return bytes of an object."""
        ...

    def drop(self, epoch: str) -> None:
        """Delete all objects of an epoch."""
        ...


class BodiesInTables:
    """All of it in the database."""

    pattern = "bodies"

    def add(self, connection: psycopg.Connection, epoch: EpochTable, bodies: Sequence[tuple[int, bytes]]) -> None:
        """As the protocol."""
        copy_rows(connection, table_of(epoch[0]), {"place": "int8", "body": "bytea"}, bodies)

    def read(self, connection: psycopg.Connection, epoch: EpochTable, places: Iterable[int]) -> dict[int, bytes]:
        """As the protocol."""
        query = sql.SQL("SELECT place, body FROM {} WHERE place = any(%b::bigint[])")
        return dict(_of_table(connection, query, epoch, places))

    def put_again(self, connection: psycopg.Connection, epoch: EpochTable, bodies: Mapping[int, bytes]) -> None:
        """As the protocol."""
        query = sql.SQL(
            "INSERT INTO {} (place, body) VALUES (%b, %b) ON CONFLICT (place) DO UPDATE SET body = excluded.body"
        ).format(sql.Identifier(table_of(epoch[0])))
        for place, data in bodies.items():
            connection.execute(query, (place, data))

    def forget(self, epoch: EpochTable) -> None:
        """Do nothing: it goes with the table."""


class BodiesInObjects:
    """An object for what a batch brings to an epoch, and in the table where in it each envelope is."""

    pattern = "pieces"

    def __init__(self, objects: ObjectStore) -> None:
        """Take the object store."""
        self._objects = objects

    def add(self, connection: psycopg.Connection, epoch: EpochTable, bodies: Sequence[tuple[int, bytes]]) -> None:
        """As the protocol."""
        columns = {"place": "int8", "object": "bytea", "at": "int8", "length": "int4"}
        copy_rows(connection, table_of(epoch[0]), columns, self._stored(epoch, bodies))

    def read(self, connection: psycopg.Connection, epoch: EpochTable, places: Iterable[int]) -> dict[int, bytes]:
        """As the protocol; of each object all that is wanted comes in one piece."""
        query = sql.SQL("SELECT place, object, at, length FROM {} WHERE place = any(%b::bigint[]) ORDER BY at")
        wanted: defaultdict[bytes, list[tuple[int, int, int]]] = defaultdict(list)
        for place, digest, at, length in _of_table(connection, query, epoch, places):
            wanted[digest].append((place, at, length))
        found: dict[int, bytes] = {}
        for digest, pieces in wanted.items():
            begin = pieces[0][1]
            data = self._objects.read(epoch[1], digest, begin, max(at + length for _, at, length in pieces) - begin)
            found |= {place: data[at - begin : at - begin + length] for place, at, length in pieces}
        return found

    def put_again(self, connection: psycopg.Connection, epoch: EpochTable, bodies: Mapping[int, bytes]) -> None:
        """As the protocol."""
        query = sql.SQL(
            "INSERT INTO {} (place, object, at, length) VALUES (%b, %b, %b, %b) ON CONFLICT (place) "
            "DO UPDATE SET object = excluded.object, at = excluded.at, length = excluded.length"
        ).format(sql.Identifier(table_of(epoch[0])))
        for row in self._stored(epoch, list(bodies.items())):
            connection.execute(query, row)

    def forget(self, epoch: EpochTable) -> None:
        """As the protocol."""
        self._objects.drop(epoch[1])

    def _stored(self, epoch: EpochTable, bodies: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes, int, int]]:
        """Store bytes as one object; return the rows that name their pieces."""
        digest, at, rows = self._objects.put(epoch[1], b"".join(data for _, data in bodies)), 0, []
        for place, data in bodies:
            rows.append((place, digest, at, len(data)))
            at += len(data)
        return rows


def bodies_of(objects: str | None) -> Bodies:
    """Return where a store's bytes lie, by what it says of its object store; None if it has none.

    Raises:
        ReceiverError: The library is missing, or the object store's keys are.
    """
    if objects is None:
        return BodiesInTables()
    try:
        module = import_module("agent.receiver.stores.objects")
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise ReceiverError(
            "a store with an object store needs one more library: pip install 'plateseal[s3]'"
        ) from None
    return BodiesInObjects(module.ObjectBodies(module.ObjectPlace.model_validate_json(objects)))


def _of_table(connection: psycopg.Connection, query: sql.SQL, epoch: EpochTable, places: Iterable[int]) -> list[Row]:
    """Return rows of an epoch's table; none where it was dropped."""
    text = query.format(sql.Identifier(table_of(epoch[0]))).as_string(connection)
    try:
        return fetch(connection, text, (list(places),))
    except psycopg.errors.UndefinedTable:
        return []


__all__ = ["Bodies", "BodiesInObjects", "BodiesInTables", "EpochTable", "ObjectStore", "bodies_of"]

"""An open SQLite file, as the receiver's stores use it.

Owns: one connection at a time behind a lock, and what a failure does to it. Leaves to others: tables and statements.

Invariants: after any failure of the database the connection is dropped, and the next use opens another one: nothing is
synced a second time on a descriptor that has failed once. A value that the schema does not allow never leaves it:
SQLite checks types and CHECKs as it writes, and from a damaged page it hands out NULL or anything else without a word.

Source: field notes on failed fsyncs.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, Self

from agent.errors import ReceiverError
from agent.wire.times import MAX_TIME_MS

BUSY_TIMEOUT_S: Final = 5.0
"""Readers never block the writer in WAL; only a second writer or a backup tool can."""
_DAMAGED: Final = "SQLITE_CORRUPT"
"""SQLite's name for a file that is not as it wrote it; names that begin with it say where."""

Row = tuple[Any, ...]
"""Values in the order of the query's columns; each is of its `Kind`."""
Kind = Callable[[object], bool]
"""Whether a value is one that the schema lets a column have."""


def whole(value: object) -> bool:
    """Whether it is an integer."""
    return isinstance(value, int)


def moment(value: object) -> bool:
    """Whether it is a number of milliseconds that is a time, from 1970 to the end of the year 9999."""
    return isinstance(value, int) and 0 <= value <= MAX_TIME_MS


def text(value: object) -> bool:
    """Whether it is text."""
    return isinstance(value, str)


def blob(value: object) -> bool:
    """Whether it is bytes."""
    return isinstance(value, bytes)


def blob_of(length: int) -> Kind:
    """Return the kind of `length` bytes."""
    return lambda value: isinstance(value, bytes) and len(value) == length


def or_null(kind: Kind) -> Kind:
    """Return the kind of a value that may be missing."""
    return lambda value: value is None or kind(value)


def checked(columns: Mapping[str, Kind]) -> Callable[[sqlite3.Cursor, Row], Row]:
    """Return a row factory for SQLite that hands out only what the schema allows.

    Args:
        columns: What each column may hold, by its name in a query (`AS` where it is an expression). A column that is
            not named here is one that SQLite computes: a count, a pragma.
    """
    of_query: tuple[object, list[tuple[int, str, Kind]]] = None, []

    def row_of(cursor: sqlite3.Cursor, row: Row) -> Row:
        nonlocal of_query
        description = cursor.description
        del cursor  # an error keeps what its frames hold, and this would keep the file locked
        if of_query[0] is not description:
            kinds = [(place, name, columns.get(name)) for place, (name, *_) in enumerate(description)]
            of_query = description, [(place, name, kind) for place, name, kind in kinds if kind is not None]
        for place, name, kind in of_query[1]:
            value = row[place]
            if not kind(value):
                error = sqlite3.DatabaseError(f"the file is damaged: a row has a {name} that cannot be one")
                error.sqlite_errorname = _DAMAGED
                raise error
        return row

    return row_of


class Database(ABC):
    """An open file. One writer at a time; safe for threads.

    Attributes:
        kind: What it holds, for messages.
        cure: What helps where the file is damaged.
        columns: What its columns may hold, as `checked` takes it.
    """

    kind: ClassVar[str]
    cure: ClassVar[str]
    columns: ClassVar[Mapping[str, Kind]]

    def __init__(self, path: Path, *, mode: Literal["ro", "rw", "rwc"]) -> None:
        """Open the file.

        Args:
            path: The file.
            mode: SQLite's: to read, to write, or to write and make it if it is missing.

        Raises:
            ReceiverError: It cannot be opened, or is some other database.
        """
        self._path = path
        self._mode = mode
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = self._connect()

    @abstractmethod
    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Check what was opened, and set it up. Raises `sqlite3.Error`, `OSError` or `ReceiverError`."""

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

    @contextmanager
    def _connected(self, verb: str) -> Iterator[sqlite3.Connection]:
        """Hand out the connection; no other thread has it meanwhile.

        Raises:
            ReceiverError: The database or the disk refused; the message says what could not be done, by `verb`.
        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                self._drop()
                why = f"{error}{self._way_out(error)}"
                raise ReceiverError(f"{self._path}: the {self.kind} cannot be {verb}: {why}") from None

    def _read(self, query: str, parameters: tuple[object, ...] = ()) -> list[Row]:
        """Return what a query finds.

        Raises:
            ReceiverError: The database cannot be read.
        """
        with self._connected("read") as connection:
            return connection.execute(query, parameters).fetchall()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        uri = f"{self._path.resolve().as_uri()}?mode={self._mode}"
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(
                uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False
            )
            connection.row_factory = checked(self.columns)
            self._prepare(connection)
        except (sqlite3.Error, OSError, ReceiverError) as error:
            if connection is not None:
                connection.close()
            raise ReceiverError(f"{self._path}: not a usable {self.kind}: {error}{self._way_out(error)}") from None
        return connection

    def _way_out(self, error: Exception) -> str:
        """Return the end of a message: the cure where the file is no database any more, else nothing."""
        is_damaged = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", _DAMAGED))
        return f"; {self.cure}" if is_damaged else ""


__all__ = ["Database", "Kind", "Row", "blob", "blob_of", "checked", "moment", "or_null", "text", "whole"]

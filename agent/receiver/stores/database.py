"""An open SQLite file, as the receiver's stores use it.

Owns: one connection at a time behind a lock, and what a failure does to it. Leaves to others: tables and statements.

Invariant: after any failure of the database the connection is dropped, and the next use opens another one: nothing is
synced a second time on a descriptor that has failed once.

Source: field notes on failed fsyncs.
"""

from __future__ import annotations

import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Literal, Self

from agent.errors import ReceiverError

BUSY_TIMEOUT_S: Final = 5.0
"""Readers never block the writer in WAL; only a second writer or a backup tool can."""

Row = tuple[Any, ...]
"""As SQLite gives it; STRICT tables and the checks of the schema hold its types."""


class Database(ABC):
    """An open file. One writer at a time; safe for threads.

    Attributes:
        kind: What it holds, for messages.
        cure: What helps where the file is damaged.
    """

    kind: ClassVar[str]
    cure: ClassVar[str]

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
                raise ReceiverError(f"{self._path}: the {self.kind} cannot be {verb}: {error}") from None

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
            self._prepare(connection)
        except (sqlite3.Error, OSError, ReceiverError) as error:
            if connection is not None:
                connection.close()
            raise ReceiverError(f"{self._path}: not a usable {self.kind}: {error}{self._way_out(error)}") from None
        return connection

    def _way_out(self, error: Exception) -> str:
        """Return the end of a message: the cure where the file is no database any more, else nothing."""
        is_damaged = getattr(error, "sqlite_errorname", "").startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))
        return f"; {self.cure}" if is_damaged else ""


__all__ = ["Database", "Row"]

"""A copy of a store while a receiver writes to it: the store as it was at one moment, its database and its body files.

Owns: that moment and the copy's files. Leaves to others: what else belongs to a backup (`agent.receiver.backup`).

Invariants: the copy holds every transaction that was committed when the snapshot was taken, and no part of a later one,
for all pages are read within one transaction. The copy has no write-ahead log. Body files only grow, and the snapshot
knows how long each was: that much of it is copied, whatever comes in meanwhile.

Why SQLite's backup and not VACUUM INTO: it tells how far it is, and copies the file as it is. Within a transaction of
its own it does not begin anew when the receiver writes. Meanwhile the write-ahead log grows and is not emptied.

Source: sqlite.org/backup.html, sqlite.org/isolation.html.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from agent.disk import durable
from agent.errors import ReceiverError
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.database import BUSY_TIMEOUT_S, checked
from agent.receiver.stores.reading import FILES_HERE
from agent.receiver.stores.schema import COLUMNS, check_version

STORE_MODE: Final = 0o600
PAGES_A_STEP: Final = 2048
"""8 MiB: between two steps the progress is told."""


class Snapshot:
    """A store as it was when this was made, until it is closed.

    Attributes:
        count: Envelopes in it.
        log_end: Index of the newest entry of its log; 0 for an empty one.
    """

    def __init__(self, path: Path) -> None:
        """Take a snapshot of the store at `path`, to read.

        Raises:
            ReceiverError: Missing, unreadable, or no store.
        """
        if not path.is_file():
            raise ReceiverError(f"{path}: there is no store")
        self._path = path
        uri = f"{path.resolve().as_uri()}?mode=ro"
        connection: sqlite3.Connection | None = None
        try:
            connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)
            connection.row_factory = checked(COLUMNS)
            check_version(connection, may_write=False)
            connection.execute("BEGIN")
            found = connection.execute("SELECT count(*), coalesce(max(log), 0) FROM envelopes").fetchone()
            files = connection.execute(FILES_HERE).fetchall()
        except (sqlite3.Error, ReceiverError) as error:
            if connection is not None:
                connection.close()
            raise ReceiverError(f"{path}: not a usable store: {error}") from None
        self._connection = connection
        self.count, self.log_end = int(found[0]), int(found[1])
        self._bodies = [(str(name), int(length)) for name, length in files]

    def copy_to(self, target: Path, watch: Callable[[int, int], None]) -> None:
        """Write a copy to a new file; on return its content survives a power cut.

        Args:
            target: The new file.
            watch: Told how many pages are copied, of how many.

        Raises:
            ReceiverError: The file is there already, the disk refused, or the store cannot be read. No file is left.
        """
        try:
            os.close(durable.open_new(target, mode=STORE_MODE))
        except OSError as error:
            raise ReceiverError(f"{target}: cannot be made: {error.strerror}") from None
        try:
            self._copy(target, watch)
            _sync(target)
        except (sqlite3.Error, OSError) as error:
            with suppress(OSError):
                target.unlink()
            raise ReceiverError(f"{target}: the copy of {self._path} cannot be written: {error}") from None

    def copy_bodies_to(self, target: Path, watch: Callable[[int, int], None]) -> None:
        """Copy the body files, as long as they were, to the new store that will be `target`; they survive a power cut.

        Raises:
            ReceiverError: The disk refused, or a file is missing. Some files may be there.
        """
        source, copy = BodyFiles(self._path), BodyFiles(target)
        done, total = 0, sum(length for _, length in self._bodies)
        name = ""
        try:
            copy.make_folder()
            for name, length in self._bodies:
                watch(done, total)
                source.copy(name, length, copy)
                done += length
        except FileNotFoundError:
            raise ReceiverError(
                f"{source.directory / name}: is missing, or its epoch was dropped meanwhile; then run the backup again"
            ) from None
        except OSError as error:
            raise ReceiverError(f"{source.directory / name}: cannot be copied: {error.strerror or error}") from None

    def _copy(self, target: Path, watch: Callable[[int, int], None]) -> None:
        with closing(sqlite3.connect(target, isolation_level=None)) as copy:
            self._connection.backup(
                copy, pages=PAGES_A_STEP, progress=lambda _, remaining, total: watch(total - remaining, total)
            )
            copy.execute("PRAGMA journal_mode = DELETE")

    def close(self) -> None:
        """Give the moment up; the write-ahead log can be emptied again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        durable.sync_content(descriptor)
    finally:
        os.close(descriptor)


__all__ = ["Snapshot"]

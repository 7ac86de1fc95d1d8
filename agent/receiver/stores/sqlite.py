"""The store of one machine: a database, and files for the envelopes' bytes; durable before anyone is told so.

Owns: opening, and the transaction. Leaves to others: reading (`reading`), the tables (`schema`), the files (`bodies`,
`filing`), what happens to an envelope within the transaction (`keeping`), the connection and what a fault does to it
(`database`), whether an envelope's signature holds (`intake`), and what gaps mean (a gap may fill later; naming those
that stay is for whoever reads the store).

Invariants: `store_batch` returns only after the bytes are synced, and then the transaction is committed and synced
(WAL, synchronous=FULL); no receipt leaves it before. Two steps on purpose: a commit over several files of SQLite
with WAL is not atomic after a power cut, and bytes that no row names are nothing. The same envelope gets the same row
and the same receipt for ever. Two envelopes never stand at one place of a chain, and neighbours in the store are
linked.

Source: sqlite.org/wal.html, sqlite.org/lang_attach.html, sqlite.org/pragma.html#pragma_synchronous.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.durable import sync_directory
from agent.errors import ReceiverError
from agent.receiver.ports import Dropped, Forked, Outcome
from agent.receiver.stores import schema
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.dropping import drop, unlink_dropped
from agent.receiver.stores.keeping import Keeper
from agent.receiver.stores.reading import Reader
from agent.receiver.stores.taking_over import take_over
from agent.wire.envelope import Envelope
from agent.wire.times import to_ms


class SqliteStore(Reader):
    """An open store. One writer at a time; safe for threads. It is every port of `agent.receiver.ports`."""

    kind = "store"
    cure = "restore the newest backup that verifies (docs/BACKUP.md, Restore)"
    columns = schema.COLUMNS

    def __init__(self, path: Path, *, read_only: bool) -> None:
        """Open an existing store. Prefer `open` and `open_read_only`.

        Raises:
            ReceiverError: Missing, unreadable, damaged, or not a store of this version.
        """
        if not path.is_file():
            raise ReceiverError(f"{path}: there is no store; `plateseal receiver init` makes one")
        self._files = BodyFiles(path)
        super().__init__(path, mode="ro" if read_only else "rw")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make an empty store where no file is.

        Raises:
            ReceiverError: A file is there, or the disk refused.
        """
        if path.exists():
            raise ReceiverError(f"{path}: is there already and is not overwritten")
        try:
            with closing(sqlite3.connect(path, isolation_level=None)) as connection:
                path.chmod(0o600)
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                schema.make_tables(connection)
            BodyFiles(path).make_folder()
            sync_directory(path.parent)
        except (sqlite3.Error, OSError) as error:
            raise ReceiverError(f"{path}: the store cannot be made: {error}") from None
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store to write.

        Raises:
            ReceiverError: Missing, unreadable, damaged, or not a store of this version.
        """
        return cls(path, read_only=False)

    @classmethod
    def open_read_only(cls, path: Path) -> Self:
        """Open a store to read, while a receiver may be writing to it.

        Raises:
            ReceiverError: Missing, unreadable, damaged, or not a store of this version.
        """
        return cls(path, read_only=True)

    def store_batch(
        self,
        envelopes: Sequence[Envelope],
        at: datetime,
        key: Ed25519PrivateKey,
        *,
        sender: bytes | None = None,
        followers: Mapping[bytes, Sequence[bytes]] = MappingProxyType({}),
    ) -> list[Outcome]:
        """As the port, in one transaction: bytes first, then rows, then receipts."""
        with self._connected("written") as connection:
            connection.execute("BEGIN IMMEDIATE")
            keeper = Keeper(connection, self._files, at, key, followers)
            outcomes = [keeper.store(envelope) for envelope in envelopes]
            keeper.finish()
            if sender is not None and any(isinstance(outcome, bytes | Forked) for outcome in outcomes):
                connection.execute("INSERT OR IGNORE INTO senders (device) VALUES (?)", (sender,))
            connection.execute("COMMIT")
        return outcomes

    def try_to_write(self) -> int:
        """As the port."""
        with self._connected("written") as connection:
            connection.execute("BEGIN IMMEDIATE")
            (log,) = connection.execute("SELECT coalesce(max(log), 0) FROM envelopes").fetchone()
            connection.execute("ROLLBACK")
        return int(log)

    def drop_epochs(self, kids: Collection[bytes], at: datetime, *, held: Collection[bytes] = ()) -> Dropped:
        """As the port. What an earlier plateseal stored is taken over first: it is filed by no key yet."""
        self.take_over()
        with self._connected("written") as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                dropped = drop(connection, self._files, kids, held, to_ms(at))
            except ReceiverError:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
            unlink_dropped(connection, self._files)
        return dropped

    def take_over(self, *, may_go_on: Callable[[], bool] = lambda: True) -> int:
        """Bring what an earlier plateseal stored to where this one keeps it; return how many entries were moved.

        It is done in steps, each of which lasts, so a kill costs one step at most. Nothing is out of reach meanwhile.

        Args:
            may_go_on: Asked before each step.

        Raises:
            ReceiverError: The disk refused; what is not moved yet is read from where it is.
        """
        with self._connected("brought up to date") as connection:
            return take_over(connection, self._files, may_go_on)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        may_write = self._mode != "ro"
        connection.execute("PRAGMA foreign_keys = ON")
        if may_write:
            self._files.make_folder()
            connection.execute("PRAGMA synchronous = FULL")
        schema.check_version(connection, may_write=may_write)
        if may_write:
            connection.execute("PRAGMA journal_mode = WAL")
            unlink_dropped(connection, self._files)


__all__ = ["SqliteStore"]

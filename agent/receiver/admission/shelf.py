"""Where a receiver's records of units and people lie: files in its folder, or a table that it shares with others.

Owns: reading and writing them by name, as bytes. Leaves to others: what is in a record, and its signature.

A receiver whose store is in PostgreSQL has its records there too, so that a revocation is true for all receivers of
that store at once. Whatever is asked is read anew: no answer about who may send comes from a memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol, TypeVar

from agent.disk import durable
from agent.errors import FormatError, ReceiverError
from agent.keys import keyfiles
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import load_postgres_shelf, store_of

_Found = TypeVar("_Found")
_DIRECTORY_MODE: Final = 0o700


class Shelf(Protocol):
    """Records of one kind. Safe for threads."""

    @property
    def where(self) -> str:
        """What messages call it."""
        ...

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        """Return a record, at most one byte more than `max_bytes` of it; None if there is none.

        Raises:
            ReceiverError: It is there and cannot be read.
        """
        ...

    def names(self) -> list[str]:
        """Return the names of all records, sorted.

        Raises:
            ReceiverError: They cannot be listed.
        """
        ...

    def stamps(self) -> dict[str, Hashable]:
        """Return by the name of each record what is another one once it has been written anew.

        Raises:
            ReceiverError: They cannot be listed.
        """
        ...

    def write(self, name: str, data: bytes) -> str:
        """Write a record, durably, in the place of one that may be there; return what messages call it.

        Raises:
            KeyFileError, ReceiverError: It cannot be written; the one before is there.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a record if it is there.

        Raises:
            ReceiverError: It cannot be removed.
        """
        ...


class FolderShelf:
    """Records as files of one folder: `Shelf`."""

    def __init__(self, directory: Path, *, may_be_missing: bool = False) -> None:
        """Look into a folder from now on; it is made with the first record, if its parent is there.

        Args:
            directory: It.
            may_be_missing: Whether there are no records where there is no folder; else that is an error.
        """
        self._directory = directory
        self._may_be_missing = may_be_missing

    @property
    def where(self) -> str:
        """As the protocol."""
        return str(self._directory)

    def read(self, name: str, *, max_bytes: int) -> bytes | None:
        """As the protocol."""
        path = self._directory / name
        try:
            with path.open("rb") as file:
                return file.read(max_bytes + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ReceiverError(f"{path}: {error.strerror}") from None

    def names(self) -> list[str]:
        """As the protocol."""
        try:
            return sorted(os.listdir(self._directory))  # noqa: PTH208  names alone
        except FileNotFoundError as error:
            if self._may_be_missing:
                return []
            raise ReceiverError(f"{self._directory}: {error.strerror}") from None
        except OSError as error:
            raise ReceiverError(f"{self._directory}: {error.strerror}") from None

    def stamps(self) -> dict[str, Hashable]:
        """As the protocol."""
        found: dict[str, Hashable] = {}
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    with suppress(FileNotFoundError):  # the file that a record is written to first
                        status = entry.stat()
                        found[entry.name] = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        except OSError as error:
            raise ReceiverError(f"{self._directory}: {error.strerror}") from None
        return found

    def write(self, name: str, data: bytes) -> str:
        """As the protocol."""
        path = self._directory / name
        try:
            durable.make_directory(self._directory, mode=_DIRECTORY_MODE)
        except OSError as error:
            raise ReceiverError(f"{self._directory}: cannot be made: {error.strerror}") from None
        keyfiles.replace_file(path, data, keyfiles.PUBLIC_MODE)
        return str(path)

    def remove(self, name: str) -> None:
        """As the protocol."""
        try:
            (self._directory / name).unlink(missing_ok=True)
        except OSError as error:
            raise ReceiverError(f"{self._directory / name}: {error.strerror}") from None


def shelf_of(directory: Path, *, may_be_missing: bool = False) -> Shelf:
    """Return where the records of a receiver's folder `directory` lie: in it, or in the database of the receiver.

    Raises:
        ReceiverError: The database that is named cannot be used.
    """
    where = store_of(ReceiverLayout(directory.parent))
    if isinstance(where, str):
        return load_postgres_shelf(where, directory.name)
    return FolderShelf(directory, may_be_missing=may_be_missing)


def parsed(shelf: Shelf, name: str, parse: Callable[[bytes], _Found], *, max_bytes: int) -> _Found | None:
    """Return what `parse` makes of a record, or None if there is no such record.

    Raises:
        ReceiverError: It is there but cannot be read or is damaged.
    """
    data = shelf.read(name, max_bytes=max_bytes)
    if data is None:
        return None
    try:
        return parse(data)
    except FormatError as error:
        raise ReceiverError(f"{shelf.where}: {error}; put it back from a backup (docs/BACKUP.md, Restore)") from None


__all__ = ["FolderShelf", "Shelf", "parsed", "shelf_of"]

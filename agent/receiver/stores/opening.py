"""Which engine a store has, by where it is.

Owns: that choice, and the file that names a database. Leaves to others: the engines.

| where | engine |
|---|---|
| a file | SQLite, for one receiver on one machine |
| `postgresql://..` | PostgreSQL, for any number of receivers; it needs `plateseal[postgres]` |
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self

from agent.errors import ReceiverError
from agent.receiver.layout import ReceiverLayout
from agent.receiver.ports import EnvelopeStore, KeptStore
from agent.receiver.stores.sqlite import SqliteStore

if TYPE_CHECKING:
    from agent.receiver.stores.postgres.fleet import PostgresFleet
    from agent.receiver.stores.postgres.shelf import PostgresShelf
    from agent.receiver.stores.postgres.store import PostgresStore

SCHEMES: Final = ("postgresql://", "postgres://")
"""As libpq has them."""
MAX_ADDRESS_BYTES: Final = 4096


class Store(EnvelopeStore, KeptStore, Protocol):
    """An open store, as the commands of a receiver use it: a context that closes it at its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def faults(self) -> list[str]:
        """Return what is wrong with the places of the envelopes' bytes as such, one line each.

        Raises:
            ReceiverError: The store cannot be read.
        """
        ...

    def take_over(self, *, may_go_on: Callable[[], bool] = lambda: True) -> int:
        """Bring what an earlier plateseal stored to where this one keeps it, in steps that last; return how many moved.

        Args:
            may_go_on: Asked before each step.

        Raises:
            ReceiverError: The store refused; what is not moved yet is read from where it is.
        """
        ...


def store_of(layout: ReceiverLayout) -> Path | str:
    """Return where a receiver's store is, for `open_store`.

    Raises:
        ReceiverError: The file with the address of its database cannot be read, or has none.
    """
    path = layout.store_address
    try:
        with path.open("rb") as file:
            data = file.read(MAX_ADDRESS_BYTES + 1)
    except FileNotFoundError:
        return layout.store
    except OSError as error:
        raise ReceiverError(f"{path}: {error.strerror}") from None
    address = data.decode("ascii", "replace").strip()
    if len(data) > MAX_ADDRESS_BYTES or not address.startswith(SCHEMES) or not address.isprintable():
        raise ReceiverError(f"{path}: one line is needed, the address of a database, {SCHEMES[0]}..")
    return address


def open_store(where: Path | str, *, read_only: bool = False) -> Store:
    """Open a receiver's store.

    Args:
        where: The file of an SQLite store, or the address of a PostgreSQL database.
        read_only: To look only, while receivers may be writing to it.

    Raises:
        ReceiverError: Missing, unreadable, damaged, or not a store of this version.
    """
    if isinstance(where, str):
        return _postgres()(where, read_only=read_only)
    return SqliteStore.open_read_only(where) if read_only else SqliteStore.open(where)


def create_store(where: Path | str, *, needs_standby: bool = False, bodies: Path | None = None) -> None:
    """Make an empty store where none is.

    Args:
        where: As `open_store`.
        needs_standby: In PostgreSQL: no receipt leaves unless the server names a synchronous standby.
        bodies: Beside PostgreSQL: the file that says how an object store is reached, in which the envelopes' bytes are
            to lie; None for the database itself. The object store is tried first.

    Raises:
        ReceiverError: A store is there, or it cannot be made; or the object store does not keep what it is given.
    """
    if isinstance(where, str):
        objects = None if bodies is None else _probed(bodies)
        _postgres().create(where, needs_standby=needs_standby, objects=objects)
    else:
        SqliteStore.create(where).close()


def load_postgres_shelf(url: str, kind: str) -> PostgresShelf:
    """Return where a PostgreSQL store keeps records of one kind.

    Raises:
        ReceiverError: There is no store in the database.
    """
    found: type[PostgresShelf] = _module("shelf").PostgresShelf
    return found(url, kind)


def load_postgres_fleet(url: str) -> PostgresFleet:
    """Return where a PostgreSQL store keeps the units' newest health reports.

    Raises:
        ReceiverError: There is no store in the database.
    """
    found: type[PostgresFleet] = _module("fleet").PostgresFleet
    return found(url)


def _probed(path: Path) -> str:
    """Return how an object store is reached, as JSON, after it was tried."""
    try:
        objects = import_module("agent.receiver.stores.objects")
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise ReceiverError("an object store needs one more library: pip install 'plateseal[s3]'") from None
    place = objects.load_place(path)
    objects.ObjectBodies(place).probe()
    return str(place.model_dump_json())


def _postgres() -> type[PostgresStore]:
    found: type[PostgresStore] = _module("store").PostgresStore
    return found


def _module(name: str) -> ModuleType:
    """Load a part of the engine, which most receivers never need."""
    try:
        return import_module(f"agent.receiver.stores.postgres.{name}")
    except ModuleNotFoundError as error:
        if error.name != "psycopg":
            raise
        raise ReceiverError("a store in PostgreSQL needs one more library: pip install 'plateseal[postgres]'") from None


__all__ = ["SCHEMES", "Store", "create_store", "load_postgres_fleet", "load_postgres_shelf", "open_store", "store_of"]

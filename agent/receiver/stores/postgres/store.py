"""The store of many receivers: a PostgreSQL database, durable before anyone is told so.

Owns: making and opening a store, and which work is one transaction. Leaves to others: the connection and its rules
(`database`), a batch (`keeping`), reading (`reading`), dropping (`dropping`).

Invariant: a receipt leaves `store_batch` only after a commit that plainly lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from types import MappingProxyType

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import ReceiverError
from agent.receiver.ports import Dropped, Forked, Outcome
from agent.receiver.stores.postgres.database import checked_url, connect, demand_durable, fetch, words
from agent.receiver.stores.postgres.dropping import drop_tables, mark_dropped
from agent.receiver.stores.postgres.keeping import Batch
from agent.receiver.stores.postgres.reading import Reader
from agent.receiver.stores.postgres.schema import StoreSettings, make_tables
from agent.wire.envelope import Envelope
from agent.wire.times import to_ms


class PostgresStore(Reader):
    """An open store. Any number of writers; safe for threads. It is every port of `agent.receiver.ports`."""

    def __init__(self, url: str, *, read_only: bool) -> None:
        """Open an existing store.

        Raises:
            ReceiverError: No such database, no store in it, or settings under which no receipt can be true.
        """
        super().__init__(url, read_only=read_only)
        if not read_only:
            self._drop_tables()

    @staticmethod
    def create(url: str, *, needs_standby: bool = False, objects: str | None = None) -> None:
        """Make an empty store in a database that has none.

        Args:
            url: Of the database, `postgresql://..`, without a password.
            needs_standby: No receipt leaves unless the server names a synchronous standby.
            objects: How the object store for the envelopes' bytes is reached, as JSON; None: they lie in the database.

        Raises:
            ReceiverError: A store is there, or the database refused.
        """
        url = checked_url(url)
        try:
            with closing(connect(url)) as connection:
                demand_durable(connection)
                with connection.transaction():
                    connection.execute("SET LOCAL search_path = plateseal")
                    make_tables(connection, StoreSettings(needs_standby, objects))
        except (psycopg.Error, ReceiverError) as error:
            why = words(error) if isinstance(error, psycopg.Error) else str(error)
            raise ReceiverError(f"{url}: the store cannot be made: {why}") from None

    def store_batch(
        self,
        envelopes: Sequence[Envelope],
        at: datetime,
        key: Ed25519PrivateKey,
        *,
        sender: bytes | None = None,
        followers: Mapping[bytes, Sequence[bytes]] = MappingProxyType({}),
    ) -> list[Outcome]:
        """As the port, in one transaction."""

        def work(connection: psycopg.Connection) -> list[Outcome]:
            outcomes = Batch(connection, self._lie_in, at, key, followers).store(envelopes)
            if sender is not None and any(isinstance(outcome, bytes | Forked) for outcome in outcomes):
                connection.execute("INSERT INTO senders (device) VALUES (%b) ON CONFLICT DO NOTHING", (sender,))
            return outcomes

        return self._write(work)

    def try_to_write(self) -> int:
        """As the port."""
        return self._write(lambda connection: int(fetch(connection, "SELECT used FROM log FOR NO KEY UPDATE")[0][0]))

    def drop_epochs(self, kids: Collection[bytes], at: datetime, *, held: Collection[bytes] = ()) -> Dropped:
        """As the port."""
        dropped = self._write(lambda connection: mark_dropped(connection, self._lie_in, kids, held, to_ms(at)))
        self._drop_tables()
        return dropped

    def take_over(self, *, may_go_on: Callable[[], bool] = lambda: True) -> int:
        """Do nothing: there is no store in PostgreSQL of an earlier plateseal."""
        del may_go_on
        return 0

    def _drop_tables(self) -> None:
        drop_tables(self._lie_in, self._read, self._write)


__all__ = ["PostgresStore"]

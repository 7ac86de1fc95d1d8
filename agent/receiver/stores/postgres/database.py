"""Connections to PostgreSQL, and the transactions on which a receipt depends.

Owns: connecting, what is asked of the server first, transactions, and what a fault does. Leaves to others: tables and
statements.

Invariants: a transaction whose commit did not say plainly that it lasts counts as unknown, and no receipt follows from
it. While a synchronous standby is waited for, a cancelled COMMIT is committed on the primary alone, and all that says
so is a warning; so a warning in a commit is a failure. Nothing here limits the time of a commit.

What is asked of the server at each connection that may write: `fsync`, `full_page_writes` and data checksums are on;
it is no standby; and where the store needs a synchronous standby, one is named. `synchronous_commit` is set, because a
role's own setting would win silently.

Source: postgresql.org/docs/15/runtime-config-wal.html; postgresql.org/docs/15/explicit-locking.html.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from agent.errors import ReceiverError
from agent.receiver.stores.postgres.schema import SCHEMA, StoreSettings, check_version

CONNECT_WITHIN_S: Final = 10
LOCK_WITHIN_S: Final = 5
"""Whoever waits longer for a row answers "later": another receiver may be waiting for the standby meanwhile."""
IDLE_IN_TRANSACTION_S: Final = 60
"""A receiver that hangs in a transaction lets go of its locks then."""
CONNECTIONS_MOST: Final = 4
"""Of one store: while one waits for the disk, others work. PostgreSQL allows 100 in all unless it is told otherwise."""
TRIES: Final = 5
_AGAIN: Final = (
    psycopg.errors.DeadlockDetected,
    psycopg.errors.SerializationFailure,
    psycopg.errors.UndefinedTable,  # an epoch was dropped between looking it up and writing to it
)
"""Nothing was stored; the same again may go well."""
_MUST_BE_ON: Final = ("fsync", "full_page_writes", "data_checksums")
_OPEN: Final = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
_WARNING: Final = "WARNING"
_SECRETS: Final = ("password", "secret")
"""How the names of parameters end that are secrets themselves and not the path to one."""

Row = tuple[Any, ...]
_Value = TypeVar("_Value")


class _Session:
    """A connection, and what the server has warned of."""

    def __init__(self, connection: psycopg.Connection, *, needs_standby: bool) -> None:
        self.connection = connection
        self.needs_standby = needs_standby
        self.warnings: list[str] = []
        connection.add_notice_handler(self._note)

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == _WARNING:
            self.warnings.append(diagnostic.message_primary or "a warning without words")


class Database:
    """A store's database. Safe for threads: each use has a connection of its own meanwhile."""

    def __init__(self, url: str, *, read_only: bool) -> None:
        """Connect once, to see that the store is there and fit for its use.

        Raises:
            ReceiverError: No such database, no store in it, or settings under which no receipt can be true.
        """
        self._url = checked_url(url)
        self._read_only = read_only
        self._idle: list[_Session] = []
        self._slots = threading.BoundedSemaphore(CONNECTIONS_MOST)
        self._lock = threading.Lock()
        self._settings = StoreSettings()
        self._give_back(self._connect())

    def close(self) -> None:
        """Close the connections that are not in use. Idempotent."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _read(self, query: str, parameters: Sequence[object] = ()) -> list[Row]:
        """Return what a query finds.

        Raises:
            ReceiverError: The database cannot be read.
        """
        with self._session("read") as session:
            return fetch(session.connection, query, parameters)

    def _write(self, work: Callable[[psycopg.Connection], _Value]) -> _Value:
        """Do work in a transaction, again where another transaction was in its way; on return it lasts.

        Args:
            work: May be called several times. Whatever it raises rolls the transaction back.

        Raises:
            ReceiverError: The database refused, or did not say plainly that it lasts.
        """
        with self._session("written") as session:
            for _ in range(TRIES - 1):
                with suppress(*_AGAIN):
                    return self._transact(session, work)
            return self._transact(session, work)

    def _transact(self, session: _Session, work: Callable[[psycopg.Connection], _Value]) -> _Value:
        connection = session.connection
        connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
        try:
            self._demand_standby(session)
            value = work(connection)
            self._commit(session)
        finally:
            if connection.info.transaction_status in _OPEN:
                with suppress(psycopg.Error):
                    connection.execute("ROLLBACK")
        return value

    def _commit(self, session: _Session) -> None:
        """Commit.

        Raises:
            ReceiverError: Whether it lasts is not known.
        """
        connection = session.connection
        if connection.info.transaction_status != TransactionStatus.INTRANS:
            raise ReceiverError(f"{self._url}: the transaction had failed before its commit; nothing is stored")
        session.warnings.clear()
        try:
            said = connection.execute("COMMIT").statusmessage
        except psycopg.Error as error:
            connection.close()
            raise ReceiverError(f"{self._url}: a commit was cut off, it may last or not: {words(error)}") from None
        if session.warnings or said != "COMMIT":
            connection.close()
            why = "; ".join(session.warnings) or f"the answer was {said}"
            raise ReceiverError(f"{self._url}: a commit is not known to last: {why}")

    def _demand_standby(self, session: _Session) -> None:
        """Refuse to write where a standby is needed and the server names none: it would acknowledge alone."""
        if session.needs_standby:
            ((names,),) = fetch(session.connection, "SELECT current_setting('synchronous_standby_names')")
            if not names:
                raise ReceiverError(
                    f"{self._url}: the store needs a synchronous standby, and synchronous_standby_names is empty "
                    "there; name one (docs/OPERATE.md, PostgreSQL)"
                )

    @contextmanager
    def _session(self, verb: str) -> Iterator[_Session]:
        """Hand out a session; nobody else has it meanwhile.

        Raises:
            ReceiverError: The database refused; the message says what could not be done, by `verb`.
        """
        with self._slots:
            session = self._take()
            try:
                yield session
            except psycopg.Error as error:
                if session.connection.broken:
                    self.close()  # the others are most likely cut off as well
                raise ReceiverError(f"{self._url}: the store cannot be {verb}: {words(error)}") from None
            finally:
                self._give_back(session)

    def _take(self) -> _Session:
        """Return a session that is not cut off as far as one can tell without a use of it."""
        with self._lock:
            session = self._idle.pop() if self._idle else None
        if session is not None and _is_silent(session.connection):
            return session
        if session is not None:
            session.connection.close()
        return self._connect()

    def _give_back(self, session: _Session) -> None:
        if session.connection.closed:
            return
        if session.connection.info.transaction_status != TransactionStatus.IDLE:
            session.connection.close()
            return
        with self._lock:
            self._idle.append(session)

    def _connect(self) -> _Session:
        connection: psycopg.Connection | None = None
        try:
            connection = connect(self._url)
            connection.execute(f"SET search_path = {SCHEMA}, pg_catalog")
            self._settings = check_version(connection)
            if self._read_only:
                connection.execute("SET default_transaction_read_only = on")
            else:
                demand_durable(connection)
        except (psycopg.Error, ReceiverError) as error:
            if connection is not None:
                connection.close()
            why = words(error) if isinstance(error, psycopg.Error) else str(error)
            raise ReceiverError(f"{self._url}: not a usable store: {why}") from None
        return _Session(connection, needs_standby=self._settings.needs_standby and not self._read_only)


def checked_url(url: str) -> str:
    """Return the address of a database if it may stand in files and messages.

    Raises:
        ReceiverError: It is none, or has a password in it.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.Error:  # whose words may repeat all of it, a password too
        raise ReceiverError(
            "--store: the address cannot be understood; it has the form postgresql://USER@HOST/DATABASE?passfile=FILE"
        ) from None
    if any(name.endswith(_SECRETS) for name in parts):
        raise ReceiverError(
            "--store: the address has a password in it; keep that in a file of mode 0600 and name the file: "
            "postgresql://USER@HOST/DATABASE?passfile=/path/to/file"
        )
    return url


def connect(url: str) -> psycopg.Connection:
    """Connect, each statement a transaction of its own unless one is begun.

    Raises:
        psycopg.Error: It is not possible.
    """
    connection = psycopg.connect(
        url, autocommit=True, connect_timeout=CONNECT_WITHIN_S, application_name="plateseal", client_encoding="utf8"
    )
    connection.execute("SET synchronous_commit = on")
    connection.execute(f"SET lock_timeout = {LOCK_WITHIN_S * 1000}")
    connection.execute(f"SET idle_in_transaction_session_timeout = {IDLE_IN_TRANSACTION_S * 1000}")
    return connection


def demand_durable(connection: psycopg.Connection) -> None:
    """See that what the server says is stored would survive a power cut.

    Raises:
        ReceiverError: It would not, or the server is a standby, to which nothing can be written.
        psycopg.Error: The database refused.
    """
    for name in _MUST_BE_ON:
        ((value,),) = fetch(connection, "SELECT current_setting(%s)", (name,))
        if value != "on":
            raise ReceiverError(f"the server's {name} is {value}, and no receipt can be true so (docs/OPERATE.md)")
    ((is_standby,),) = fetch(connection, "SELECT pg_is_in_recovery()")
    if is_standby:
        raise ReceiverError("the server is a standby; give the primary's address, or both with target_session_attrs")


def _is_silent(connection: psycopg.Connection) -> bool:
    """Whether the server has said nothing since the last answer; unasked it says only that it ends, or hangs up."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def fetch(connection: psycopg.Connection, query: str, parameters: Sequence[object] = ()) -> list[Row]:
    """Return what a query finds, which goes over the line in binary."""
    return connection.execute(query, parameters, binary=True).fetchall()


def copy_rows(
    connection: psycopg.Connection, table: str, columns: Mapping[str, str], rows: Iterable[tuple[object, ...]]
) -> None:
    """Add rows to a table in one piece.

    Args:
        connection: In a transaction.
        table: Its name.
        columns: Type of each column, by its name, in the order of the values.
        rows: Values of each row.
    """
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    query = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT BINARY)").format(sql.Identifier(table), names)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            copy.write_row(row)


def words(error: psycopg.Error) -> str:
    """Return what went wrong in one line, without the rows of the database that it is about."""
    said = error.diag.message_primary or str(error) or type(error).__name__
    return "; ".join(line.strip() for line in said.splitlines() if line.strip())


__all__ = [
    "CONNECTIONS_MOST",
    "Database",
    "Row",
    "checked_url",
    "connect",
    "copy_rows",
    "demand_durable",
    "fetch",
    "words",
]

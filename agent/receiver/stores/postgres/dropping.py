"""Dropping epochs in PostgreSQL: the tables with the bytes go, and the entries stay.

Owns: setting held reads aside, and the order of the steps. Leaves to others: what goes with which keys
(`agent.receiver.stores.rules`), and who may ask for it (`agent.receiver.retention`).

One transaction, with the log locked so that nobody finishes a batch meanwhile, moves the held reads and marks the
epochs. Then each table is dropped in a transaction of its own, which waits for nobody for long: who writes to it or
reads it is soon done, and it is tried again. A table that is left over by a kill is dropped at the next opening.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Final

import psycopg
from psycopg import sql

from agent.errors import ReceiverError
from agent.receiver.ports import Dropped, Epoch
from agent.receiver.stores.filing import kids_in
from agent.receiver.stores.postgres.database import fetch
from agent.receiver.stores.postgres.filing import held_file
from agent.receiver.stores.postgres.reading import epoch_of
from agent.receiver.stores.postgres.schema import table_of
from agent.receiver.stores.rules import doomed_and_waiting

DROP_TRIES: Final = 50
DROP_WITHIN_MS: Final = 200
"""For each try: whoever queues behind it waits no longer than that."""
_FILES: Final = "SELECT number, kids FROM body_files WHERE dropped_at_ms IS NULL AND kids <> ''::bytea ORDER BY number"
_LEFT: Final = "SELECT number FROM body_files WHERE dropped_at_ms IS NOT NULL ORDER BY number"


def mark_dropped(
    connection: psycopg.Connection, kids: Collection[bytes], held: Collection[bytes], at_ms: int
) -> Dropped:
    """Mark epochs as dropped, after setting aside what is held; the tables are still there.

    Args:
        connection: In a transaction.
        kids: Ids of the keys whose reads go.
        held: Ids of envelopes that stay.
        at_ms: Time of the drop, milliseconds since 1970 UTC.

    Raises:
        ReceiverError: A held read is damaged.
        psycopg.Error: The database refused.
    """
    fetch(connection, "SELECT used FROM log FOR NO KEY UPDATE")
    connection.execute(
        "INSERT INTO dropped_kids (kid, at_ms) SELECT unnest(%b::bytea[]), %b ON CONFLICT DO NOTHING",
        (sorted(set(kids)), at_ms),
    )
    gone = {row[0] for row in fetch(connection, "SELECT kid FROM dropped_kids")}
    here = {number: kids_in(joined) for number, joined in fetch(connection, _FILES)}
    doomed, waiting = doomed_and_waiting(here, gone)
    aside = sum(_set_aside(connection, number, held, at_ms) for number in doomed) if held else 0
    connection.execute("UPDATE body_files SET dropped_at_ms = %b WHERE number = any(%b::integer[])", (at_ms, doomed))
    return Dropped(_epochs(connection, doomed), _epochs(connection, waiting), aside)


def drop_tables(
    read: Callable[[str], list[tuple[int]]], write: Callable[[Callable[[psycopg.Connection], None]], None]
) -> None:
    """Drop the tables of epochs that are marked as dropped.

    Args:
        read: Returns what a query finds.
        write: Does work in a transaction.

    Raises:
        ReceiverError: The database refused, or somebody holds on to a table: the next drop or opening goes on.
    """
    query = f"SELECT number FROM ({_LEFT}) AS gone WHERE to_regclass('bodies_' || number) IS NOT NULL"  # noqa: S608  # constants
    for (number,) in read(query):
        for _ in range(DROP_TRIES - 1):
            with suppress(ReceiverError):
                write(_dropping(number))
                break
        else:
            write(_dropping(number))


def _dropping(number: int) -> Callable[[psycopg.Connection], None]:
    table = sql.Identifier(table_of(number))

    def drop(connection: psycopg.Connection) -> None:
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(DROP_WITHIN_MS)))
        connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table))

    return drop


def _set_aside(connection: psycopg.Connection, number: int, held: Collection[bytes], at_ms: int) -> int:
    """Move the held reads of one epoch to those of the others; return how many there are."""
    table, ids = sql.Identifier(table_of(number)), list(held)
    damaged = connection.execute(
        sql.SQL(
            "SELECT e.id FROM entries AS e LEFT JOIN {} AS b ON b.place = e.place "
            "WHERE e.file = %b AND e.id = any(%b::bytea[]) AND (b.body IS NULL OR sha256(b.body) <> e.id) LIMIT 1"
        ).format(table),
        (number, ids),
        binary=True,
    ).fetchone()
    if damaged is not None:
        raise ReceiverError(f"held read {damaged[0].hex()[:16]} is damaged in the store; nothing was dropped")
    target = held_file(connection, at_ms).number
    moved = connection.execute(
        sql.SQL(
            "WITH moved AS (UPDATE entries SET file = %b WHERE file = %b AND id = any(%b::bytea[]) "
            "RETURNING place, length), copied AS (INSERT INTO {} (place, body) "
            "SELECT b.place, b.body FROM {} AS b JOIN moved USING (place)) "
            "SELECT count(*), coalesce(sum(length), 0)::bigint FROM moved"
        ).format(sql.Identifier(table_of(target)), table),
        (target, number, ids),
        binary=True,
    ).fetchone()
    reads, length = moved or (0, 0)
    query = "UPDATE body_files SET reads = reads + %b, bytes = bytes + %b WHERE number = %b"
    connection.execute(query, (-reads, -length, number))
    connection.execute(query, (reads, length, target))
    return int(reads)


def _epochs(connection: psycopg.Connection, numbers: Collection[int]) -> tuple[Epoch, ...]:
    query = "SELECT kids, reads, bytes, dropped_at_ms FROM body_files WHERE number = any(%b::integer[]) ORDER BY number"
    return tuple(map(epoch_of, fetch(connection, query, (list(numbers),))))


__all__ = ["drop_tables", "mark_dropped"]

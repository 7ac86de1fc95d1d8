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
from agent.receiver.stores.postgres.bodies import Bodies, EpochTable
from agent.receiver.stores.postgres.database import fetch
from agent.receiver.stores.postgres.filing import held_file
from agent.receiver.stores.postgres.reading import epoch_of
from agent.receiver.stores.postgres.schema import table_of
from agent.receiver.stores.rules import doomed_and_waiting
from agent.wire import cbor

HELD_AT_ONCE: Final = 64
"""Held reads in memory: an envelope is 1 MiB at most."""
DROP_TRIES: Final = 50
DROP_WITHIN_MS: Final = 200
"""For each try: whoever queues behind it waits no longer than that."""
_FILES: Final = (
    "SELECT number, name, kids FROM body_files WHERE dropped_at_ms IS NULL AND kids <> ''::bytea ORDER BY number"
)
_LEFT: Final = "SELECT number, name FROM body_files WHERE dropped_at_ms IS NOT NULL ORDER BY number"


def mark_dropped(
    connection: psycopg.Connection, bodies: Bodies, kids: Collection[bytes], held: Collection[bytes], at_ms: int
) -> Dropped:
    """Mark epochs as dropped, after setting aside what is held; the tables are still there.

    Args:
        connection: In a transaction.
        bodies: Where the envelopes' bytes lie.
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
    files = fetch(connection, _FILES)
    names = {number: name for number, name, _ in files}
    here = {number: kids_in(joined) for number, _, joined in files}
    doomed, waiting = doomed_and_waiting(here, gone)
    aside = sum(_set_aside(connection, bodies, (each, names[each]), held, at_ms) for each in doomed) if held else 0
    connection.execute("UPDATE body_files SET dropped_at_ms = %b WHERE number = any(%b::integer[])", (at_ms, doomed))
    return Dropped(_epochs(connection, doomed), _epochs(connection, waiting), aside)


def drop_tables(
    bodies: Bodies,
    read: Callable[[str], list[tuple[int, str]]],
    write: Callable[[Callable[[psycopg.Connection], None]], None],
) -> None:
    """Drop the tables of epochs that are marked as dropped.

    Args:
        bodies: Where the envelopes' bytes lie.
        read: Returns what a query finds.
        write: Does work in a transaction.

    Raises:
        ReceiverError: The database refused, or somebody holds on to a table: the next drop or opening goes on.
    """
    query = f"SELECT number, name FROM ({_LEFT}) AS gone WHERE to_regclass('bodies_' || number) IS NOT NULL"  # noqa: S608  # constants
    for number, name in read(query):
        bodies.forget((number, name))
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


def _set_aside(
    connection: psycopg.Connection, bodies: Bodies, epoch: EpochTable, held: Collection[bytes], at_ms: int
) -> int:
    """Move the held reads of one epoch to those of the others; return how many there are."""
    query = "SELECT place, id FROM entries WHERE file = %b AND id = any(%b::bytea[]) AND place IS NOT NULL ORDER BY log"
    here: list[tuple[int, bytes]] = fetch(connection, query, (epoch[0], list(held)))
    target = held_file(connection, bodies, at_ms).epoch
    length = 0
    for begin in range(0, len(here), HELD_AT_ONCE):
        some = here[begin : begin + HELD_AT_ONCE]
        found = bodies.read(connection, epoch, [place for place, _ in some])
        for place, envelope_id in some:
            if cbor.sha256(found.get(place, b"")) != envelope_id:
                raise ReceiverError(f"held read {envelope_id.hex()[:16]} is damaged in the store; nothing was dropped")
        bodies.add(connection, target, [(place, found[place]) for place, _ in some])
        length += sum(map(len, found.values()))
    moved = "UPDATE entries SET file = %b WHERE file = %b AND place = any(%b::bigint[])"
    connection.execute(moved, (target[0], epoch[0], [place for place, _ in here]))
    query = "UPDATE body_files SET reads = reads + %b, bytes = bytes + %b WHERE number = %b"
    connection.execute(query, (-len(here), -length, epoch[0]))
    connection.execute(query, (len(here), length, target[0]))
    return len(here)


def _epochs(connection: psycopg.Connection, numbers: Collection[int]) -> tuple[Epoch, ...]:
    query = "SELECT kids, reads, bytes, dropped_at_ms FROM body_files WHERE number = any(%b::integer[]) ORDER BY number"
    return tuple(map(epoch_of, fetch(connection, query, (list(numbers),))))


__all__ = ["drop_tables", "mark_dropped"]

"""What shows, as envelopes come in, that two machines use one unit's key.

Owns: that question, asked of an envelope that was stored just now. Leaves to others: what is told (`intake`), and the
same question asked of a whole store, more strictly (`agent.receiver.intake.runs`).

Only what the unit's key has signed counts, never when something came: a unit delivers its newest reads first, and an
old spool long after a change of keys.

| what is there | why one machine alone does not make it |
|---|---|
| two chains of one key with the same number | a number is durable before the first read of its chain is sealed |
| two rows of envelopes, each of two or more, that go on after the same one | the next chain names the last one made |

One envelope alone says nothing: a read that was sent while it was being written, and then lost by a power cut, is here,
and the unit does not know of it. Version 1 has no numbers, and names its predecessor only after a clean stop.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final

from agent.wire.envelope import Envelope
from agent.wire.header import ChainPosition

_NAMED: Final = """
WITH looked_at (before) AS (
    SELECT ?
    UNION ALL SELECT ?
    UNION ALL SELECT before FROM begins WHERE device = ? AND chain = ?
    UNION ALL SELECT id FROM envelopes WHERE device = ? AND chain = ? AND seq = ?
)
SELECT before FROM looked_at WHERE EXISTS (SELECT 1 FROM begins WHERE begins.before = looked_at.before)
"""
"""Of the envelopes after which this one may have made a row long enough, those that a chain names: hardly ever one."""

_Place = tuple[bytes, bytes, int]
"""Device key, chain and sequence number."""


def note_beginning(connection: sqlite3.Connection, device: bytes, position: ChainPosition) -> bool:
    """Remember what an envelope says of its chain; return whether it is the first one here of a numbered chain."""
    if position.seq == 0 and position.before is not None:
        connection.execute("INSERT OR IGNORE INTO begins VALUES (?,?,?)", (position.before, device, position.chain))
    if position.run is None:
        return False
    row = (device, position.chain, position.run)
    return connection.execute("INSERT OR IGNORE INTO chains (device, chain, run) VALUES (?,?,?)", row).rowcount == 1


def fork_at(connection: sqlite3.Connection, envelope: Envelope, *, is_new_chain: bool) -> str | None:
    """Say what an envelope that was stored just now shows of a second machine; None for nothing.

    Args:
        connection: In the transaction that has stored it.
        envelope: It.
        is_new_chain: Whether it is the first one here of a numbered chain.
    """
    if is_new_chain and (twin := _twin(connection, envelope)):
        run, chains = envelope.position.run, sorted([envelope.position.chain, twin])
        return f"run {run} twice, as chain {chains[0].hex()[:8]} and {chains[1].hex()[:8]}"
    for before in _may_be_forks(connection, envelope):
        chains = sorted(
            {chain for device, chain, seq in _rows_after(connection, before) if _grows(connection, device, chain, seq)}
        )
        if len(chains) > 1:
            return f"chain {chains[0].hex()[:8]} and {chains[1].hex()[:8]} both go on after {before.hex()[:16]}"
    return None


def _twin(connection: sqlite3.Connection, envelope: Envelope) -> bytes | None:
    position = envelope.position
    query = "SELECT chain FROM chains WHERE device = ? AND run = ? AND chain <> ? LIMIT 1"
    row = connection.execute(query, (envelope.device_kid, position.run, position.chain)).fetchone()
    return None if row is None else bytes(row[0])


def _may_be_forks(connection: sqlite3.Connection, envelope: Envelope) -> Iterator[bytes]:
    """Yield the digests of envelopes after which rows begin that this one may have made long enough to count."""
    position, device = envelope.position, envelope.device_kid
    here = device, position.chain
    for (before,) in connection.execute(
        _NAMED, (envelope.digest, position.before, *here, *here, position.seq - 2)
    ).fetchall():
        yield bytes(before)


def _rows_after(connection: sqlite3.Connection, before: bytes) -> Iterator[_Place]:
    """Yield where rows of envelopes begin that go on after one: its own chain, and those that name it."""
    others = connection.execute("SELECT device, chain FROM begins WHERE before = ? LIMIT 16", (before,)).fetchall()
    if not others:
        return
    for device, chain in others:
        yield bytes(device), bytes(chain), 0
    place = connection.execute("SELECT device, chain, seq FROM envelopes WHERE id = ?", (before,)).fetchone()
    if place is not None:
        yield bytes(place[0]), bytes(place[1]), place[2] + 1


def _grows(connection: sqlite3.Connection, device: bytes, chain: bytes, seq: int) -> bool:
    """Whether the store has an envelope of a chain behind a place."""
    query = "SELECT 1 FROM envelopes WHERE device = ? AND chain = ? AND seq > ? LIMIT 1"
    return connection.execute(query, (device, chain, seq)).fetchone() is not None

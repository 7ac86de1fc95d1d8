"""What an SQLite store knows of its chains, for the rules that every engine keeps.

Owns: the queries. Leaves to others: what follows from the answers (`rules`, `forks`), and the transaction (`sqlite`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import Final

from agent.receiver.stores.rules import Beside, NumberedChain, Place
from agent.wire.envelope import Envelope
from agent.wire.header import ChainPosition

MOST_BEGINNINGS: Final = 16
"""Two are enough to show a fork."""
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


class SqliteFacts:
    """The facts within a transaction that has the write lock: `ChainFacts`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Look through this connection."""
        self._connection = connection

    def beside(self, place: Place) -> list[Beside]:
        """As the protocol."""
        device, chain, seq = place
        rows = self._connection.execute(
            "SELECT seq, id, prev FROM envelopes WHERE device = ? AND chain = ? AND seq BETWEEN ? AND ?",
            (device, chain, seq - 1, seq + 1),
        )
        return [Beside._make(row) for row in rows.fetchall()]

    def place_of(self, envelope_id: bytes) -> Place | None:
        """As the protocol."""
        query = "SELECT device, chain, seq FROM envelopes WHERE id = ?"
        row = self._connection.execute(query, (envelope_id,)).fetchone()
        return None if row is None else Place._make(row)

    def first_chain(self, devices: Sequence[bytes]) -> NumberedChain | None:
        """As the protocol."""
        marks = ", ".join("?" * len(devices))
        row = self._connection.execute(
            f"SELECT device, chain, run FROM chains WHERE device IN ({marks}) ORDER BY run LIMIT 1",  # noqa: S608  # marks
            tuple(devices),
        ).fetchone()
        return None if row is None else NumberedChain._make(row)

    def twin(self, chain: NumberedChain) -> bytes | None:
        """As the protocol."""
        query = "SELECT chain FROM chains WHERE device = ? AND run = ? AND chain <> ? LIMIT 1"
        row = self._connection.execute(query, (chain.device, chain.run, chain.chain)).fetchone()
        return None if row is None else bytes(row[0])

    def named_near(self, envelope: Envelope) -> Iterator[bytes]:
        """As the protocol."""
        position = envelope.position
        here = envelope.device_kid, position.chain
        parameters = (envelope.digest, position.before, *here, *here, position.seq - 2)
        for (before,) in self._connection.execute(_NAMED, parameters).fetchall():
            yield bytes(before)

    def beginnings(self, before: bytes) -> list[tuple[bytes, bytes]]:
        """As the protocol."""
        query = f"SELECT device, chain FROM begins WHERE before = ? LIMIT {MOST_BEGINNINGS}"  # noqa: S608  # a constant
        return [
            (bytes(device), bytes(chain)) for device, chain in self._connection.execute(query, (before,)).fetchall()
        ]

    def grows_behind(self, place: Place) -> bool:
        """As the protocol."""
        query = "SELECT 1 FROM envelopes WHERE device = ? AND chain = ? AND seq > ? LIMIT 1"
        return self._connection.execute(query, place).fetchone() is not None

    def note_beginning(self, device: bytes, position: ChainPosition) -> bool:
        """Remember what an envelope says of its chain; return whether it is the first one of a numbered chain."""
        if position.seq == 0 and position.before is not None:
            row: tuple[object, ...] = (position.before, device, position.chain)
            self._connection.execute("INSERT OR IGNORE INTO begins VALUES (?,?,?)", row)
        if position.run is None:
            return False
        row = (device, position.chain, position.run)
        query = "INSERT OR IGNORE INTO chains (device, chain, run) VALUES (?,?,?)"
        return self._connection.execute(query, row).rowcount == 1


__all__ = ["MOST_BEGINNINGS", "SqliteFacts"]

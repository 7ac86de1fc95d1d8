"""What happens to each envelope of a batch within the store's transaction.

Owns: the rules that a chain must keep, the log index, the time of storing, and the receipt that is signed and kept with
the row. Leaves to others: the transaction (`sqlite`), and whether an envelope's signature holds (`intake`).

Invariants: an envelope gets one receipt for ever, the bytes that were signed first. The log's times never go back, even
where the receiver's clock does. Each receipt of version 2 names the one of version 2 before it for the same device key.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.wire import cbor
from agent.wire.envelope import Envelope
from agent.wire.header import FORMAT_VERSION, VERSION_1, ZERO_DIGEST
from agent.wire.receipt import Receipt, sign_receipt
from agent.wire.times import from_ms, to_ms

_LOG_END: Final = "SELECT log, stored_at_ms FROM envelopes ORDER BY log DESC LIMIT 1"
_HIGHEST_LOG: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'envelopes'"
_NEWEST_RECEIPT: Final = "SELECT receipt FROM receipts WHERE device = ? AND version = ? ORDER BY log DESC LIMIT 1"


@dataclass(frozen=True, slots=True)
class ChainConflict:
    """An envelope that cannot be stored beside those that are.

    Attributes:
        reason: For a person; ids and numbers only.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class ReceiptLost:
    """An envelope that is stored, and whose receipt is not kept any more; no second one is signed.

    Attributes:
        reason: For a person; ids and numbers only.
    """

    reason: str


Outcome = bytes | ChainConflict | ReceiptLost
"""The receipt as it was first signed, or why there is none."""


class Keeper:
    """Stores the envelopes of one batch. It lives within one transaction of the store."""

    def __init__(self, connection: sqlite3.Connection, at: datetime, key: Ed25519PrivateKey) -> None:
        """Begin a batch.

        Args:
            connection: In a transaction that has the write lock.
            at: Aware time of storing, for those that are new; later where the log's end is later.
            key: Signs receipts.
        """
        self._connection = connection
        self._key = key
        log, newest_ms = connection.execute(_LOG_END).fetchone() or (0, 0)
        (highest,) = connection.execute(_HIGHEST_LOG).fetchone() or (0,)
        self._log = max(log, highest)
        self._at_ms = max(to_ms(at), newest_ms)

    def store(self, envelope: Envelope) -> Outcome:
        """Store an envelope, or find it stored; return its receipt."""
        row = self._connection.execute(
            "SELECT log, device, chain, seq, length, stored_at_ms FROM envelopes WHERE id = ?", (envelope.digest,)
        ).fetchone()
        if row is not None:
            _mend(self._connection, envelope)
            return self._kept(envelope, log=row[0], at_ms=row[5])
        if (conflict := _conflict(self._connection, envelope)) is not None:
            return conflict
        self._log += 1
        self._insert(envelope)
        return self._sign(envelope, log=self._log, at_ms=self._at_ms)

    def _insert(self, envelope: Envelope) -> None:
        position = envelope.position
        self._connection.execute(
            "INSERT INTO envelopes (log, id, device, chain, seq, prev, length, stored_at_ms, body) "
            "VALUES (?,?,?,?,?,?,?,?,?)",
            (
                self._log,
                envelope.digest,
                envelope.device_kid,
                position.chain,
                position.seq,
                position.prev,
                len(envelope.data),
                self._at_ms,
                envelope.data,
            ),
        )

    def _kept(self, envelope: Envelope, *, log: int, at_ms: int) -> bytes | ReceiptLost:
        """Return the receipt of a stored envelope.

        A store of an earlier plateseal kept none: it made them from the row, and so it is done here, once more. With
        an envelope of version 2 a receipt was kept from the beginning. Where it is gone, somebody took it.
        """
        kept = self._connection.execute("SELECT receipt FROM receipts WHERE id = ?", (envelope.digest,)).fetchone()
        if kept is not None:
            return bytes(kept[0])
        if envelope.position.version != VERSION_1:
            return ReceiptLost(f"the receipt of envelope {envelope.envelope_id[:16]}, log {log}, is not in the store")
        return self._sign(envelope, log=log, at_ms=at_ms)

    def _sign(self, envelope: Envelope, *, log: int, at_ms: int) -> bytes:
        """Sign the receipt of a row, and keep it."""
        receipt = Receipt(
            envelope_id=envelope.envelope_id,
            length=len(envelope.data),
            device_kid=envelope.device_kid,
            chain=envelope.position.chain,
            seq=envelope.position.seq,
            stored_at=from_ms(at_ms),
            log_index=log,
        )
        if envelope.position.version != VERSION_1:
            receipt = replace(receipt, prev=self._before(envelope.device_kid))
        signed = sign_receipt(receipt, self._key)
        self._connection.execute(
            "INSERT INTO receipts (id, log, device, version, receipt) VALUES (?,?,?,?,?)",
            (envelope.digest, log, envelope.device_kid, receipt.version, signed),
        )
        return signed

    def _before(self, device_kid: bytes) -> bytes:
        """Return the digest of the newest chained receipt of a device key; zeros if there is none."""
        row = self._connection.execute(_NEWEST_RECEIPT, (device_kid, FORMAT_VERSION)).fetchone()
        return ZERO_DIGEST if row is None else cbor.sha256(bytes(row[0]))


def _mend(connection: sqlite3.Connection, envelope: Envelope) -> None:
    """Replace a stored body that the disk has damaged by the one that came again: its receipt must stay true."""
    (body,) = connection.execute("SELECT body FROM envelopes WHERE id = ?", (envelope.digest,)).fetchone()
    if body != envelope.data:
        connection.execute(
            "UPDATE envelopes SET body = ?, length = ? WHERE id = ?",
            (envelope.data, len(envelope.data), envelope.digest),
        )


def _conflict(connection: sqlite3.Connection, envelope: Envelope) -> ChainConflict | None:
    """Compare an envelope that is not stored with its place and its neighbours."""
    position = envelope.position
    rows = connection.execute(
        "SELECT seq, id, prev FROM envelopes WHERE device = ? AND chain = ? AND seq BETWEEN ? AND ?",
        (envelope.device_kid, position.chain, position.seq - 1, position.seq + 1),
    )
    for seq, stored_id, stored_prev in rows.fetchall():
        place = f"chain {position.chain.hex()[:8]} seq {position.seq}"
        if seq == position.seq:
            return ChainConflict(f"fork: {place} is taken by another envelope, {stored_id.hex()[:16]}")
        if seq == position.seq - 1 and stored_id != position.prev:
            return ChainConflict(f"broken chain: prev of {place} is not the stored envelope before it")
        if seq == position.seq + 1 and stored_prev != envelope.digest:
            return ChainConflict(f"broken chain: the stored envelope after {place} names another as its prev")
    return None

"""What happens to each envelope of a batch within the store's transaction.

Owns: the log index, the time of storing, and the receipt that is signed and kept with the row. Leaves to others: the
rules that a chain must keep (`rules`), the transaction (`sqlite`), whether an envelope's signature holds (`intake`).

Invariants: an envelope has one receipt for ever, the bytes that were signed first. The log's times never go back, even
when the receiver's clock does. Each receipt of version 2 names the one of version 2 before it for the same device key.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.receiver.ports import Forked, Outcome, ReceiptLost
from agent.receiver.stores.bodies import BodyFiles
from agent.receiver.stores.facts import SqliteFacts
from agent.receiver.stores.filing import Filing
from agent.receiver.stores.forks import fork_at
from agent.receiver.stores.reading import RECEIPT
from agent.receiver.stores.rules import conflict, receipt_for
from agent.wire import cbor
from agent.wire.envelope import Envelope
from agent.wire.header import VERSION_1, ZERO_DIGEST
from agent.wire.receipt import sign_receipt
from agent.wire.times import to_ms

_LOG_END: Final = "SELECT log, stored_at_ms AS logged_at_ms FROM envelopes ORDER BY log DESC LIMIT 1"
_HIGHEST_LOG: Final = "SELECT seq FROM sqlite_sequence WHERE name = 'envelopes'"
_KEPT: Final = f"SELECT {RECEIPT} AS kept_receipt FROM (SELECT ? AS log, ? AS id) AS page"  # noqa: S608  # constants
_NEWEST_RECEIPT: Final = "SELECT digest FROM newest_receipts WHERE device = ?"


class Keeper:
    """Stores the envelopes of one batch. It lives within one transaction of the store."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        files: BodyFiles,
        at: datetime,
        key: Ed25519PrivateKey,
        followers: Mapping[bytes, Sequence[bytes]],
    ) -> None:
        """Begin a batch.

        Args:
            connection: In a transaction that has the write lock.
            files: Where the envelopes' bytes go.
            at: Aware time of storing for envelopes that are new. If the last entry of the log has a later time, that
                time is used.
            key: Signs receipts.
            followers: By the id of a key that was rotated out: the ids of the keys that followed it.
        """
        self._connection = connection
        self._facts = SqliteFacts(connection)
        self._key = key
        self._followers = followers
        log, newest_ms = connection.execute(_LOG_END).fetchone() or (0, 0)
        (highest,) = connection.execute(_HIGHEST_LOG).fetchone() or (0,)
        self._log = max(log, highest)
        self._at_ms = max(to_ms(at), newest_ms)
        self._filing = Filing(connection, files, self._at_ms)
        self._newest: dict[bytes, bytes] = {}
        self._noted: set[tuple[bytes, bytes]] = set()

    def store(self, envelope: Envelope) -> Outcome:
        """Store an envelope, or find it stored; return its receipt."""
        row = self._connection.execute(
            "SELECT log, stored_at_ms AS logged_at_ms, body, file, place FROM envelopes WHERE id = ?",
            (envelope.digest,),
        ).fetchone()
        if row is not None:
            log, at_ms, *stored = row
            self._mend(envelope, *stored)
            return self._kept(envelope, log=log, at_ms=at_ms)
        followers = self._followers.get(envelope.device_kid, ())
        refused = conflict(self._facts, envelope, followers)
        if refused is not None:
            return refused
        self._log += 1
        is_new_chain = self._insert(envelope)
        receipt = self._sign(envelope, log=self._log, at_ms=self._at_ms)
        fork = fork_at(self._facts, envelope, is_new_chain=is_new_chain)
        return receipt if fork is None else Forked(receipt, fork)

    def finish(self) -> None:
        """Write what was stored; on return, the transaction may be committed.

        Raises:
            OSError: The disk refused.
        """
        self._filing.flush()
        query = "INSERT OR REPLACE INTO newest_receipts (device, digest) VALUES (?,?)"
        self._connection.executemany(query, self._newest.items())

    def _insert(self, envelope: Envelope) -> bool:
        """Store an envelope; return whether it is the first one here of a numbered chain."""
        position = envelope.position
        self._connection.execute(
            "INSERT INTO envelopes (log, id, device, chain, seq, prev, length, stored_at_ms, file, place) "
            "VALUES (?,?,?,?,?,?,?,?,?,?)",
            (
                self._log,
                envelope.digest,
                envelope.device_kid,
                position.chain,
                position.seq,
                position.prev,
                len(envelope.data),
                self._at_ms,
                *self._filing.add(envelope),
            ),
        )
        chain = envelope.device_kid, position.chain
        if position.seq > 0 and chain in self._noted:
            return False
        self._noted.add(chain)
        return self._facts.note_beginning(envelope.device_kid, position)

    def _kept(self, envelope: Envelope, *, log: int, at_ms: int) -> bytes | ReceiptLost:
        """Return the receipt of a stored envelope.

        A store of an earlier plateseal kept none: it made them from the row, and so it is done here, once more. With
        an envelope of version 2 a receipt was kept from the beginning. Where it is gone, somebody took it.
        """
        (kept,) = self._connection.execute(_KEPT, (log, envelope.digest)).fetchone()
        if kept is not None:
            return bytes(kept)
        if envelope.position.version != VERSION_1:
            return ReceiptLost(f"the receipt of envelope {envelope.envelope_id[:16]}, log {log}, is not in the store")
        return self._sign(envelope, log=log, at_ms=at_ms)

    def _sign(self, envelope: Envelope, *, log: int, at_ms: int) -> bytes:
        """Sign the receipt of a row, and keep it."""
        receipt = receipt_for(envelope, log=log, at_ms=at_ms, newest=self._before(envelope.device_kid))
        signed = sign_receipt(receipt, self._key)
        self._connection.execute(
            "INSERT INTO receipts (log, id, version, receipt) VALUES (?,?,?,?)",
            (log, envelope.digest, receipt.version, signed),
        )
        if receipt.prev is not None:
            self._newest[envelope.device_kid] = cbor.sha256(signed)
        return signed

    def _before(self, device_kid: bytes) -> bytes:
        """Return the digest of the newest chained receipt of a device key; zeros if there is none."""
        if device_kid in self._newest:
            return self._newest[device_kid]
        row = self._connection.execute(_NEWEST_RECEIPT, (device_kid,)).fetchone()
        return ZERO_DIGEST if row is None else bytes(row[0])

    def _mend(self, envelope: Envelope, body: bytes | None, file: int | None, place: int | None) -> None:
        """Replace a stored body that the disk has damaged by the one that came again: its receipt must stay true."""
        if body is not None and body != envelope.data:
            row = envelope.data, len(envelope.data), envelope.digest
            self._connection.execute("UPDATE envelopes SET body = ?, length = ? WHERE id = ?", row)
        elif body is None and file is not None and place is not None:  # no place: it came when its epoch was dropped
            self._filing.mend(file, place, envelope.data)

"""What happens to a batch within its transaction in PostgreSQL.

Owns: the order of locks and statements, the log index, the time of storing, and the receipts. Leaves to others: the
rules that a chain must keep (`agent.receiver.stores.rules`), and the transaction (`database`).

1. The rows of all device keys concerned are locked, in the order of their ids, also where all is a repeat. So what the
   rules decide stays true, and a repeat waits, as the first time did, until the standby has what it says.
2. What is known of the chains is fetched, and the rules decide. In statements of their own: one that locks may show a
   new row beside old counts.
3. Bytes are written, and nobody waits for it.
4. The log is locked until the commit, so that it has no gap. Receipts are signed, entries and receipts are written.

A device key's row and not the chain's: its receipts are a chain of their own, and what shows two machines with one key
lies in several chains. The keys that followed it after a rotation are locked too, for the rules look at their chains.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.receiver.ports import ChainConflict, Forked, Outcome, ReceiptLost
from agent.receiver.stores.forks import fork_at
from agent.receiver.stores.postgres.bodies import Bodies
from agent.receiver.stores.postgres.database import copy_rows, fetch
from agent.receiver.stores.postgres.facts import Known, PostgresFacts, known_of
from agent.receiver.stores.postgres.filing import Filing, mend
from agent.receiver.stores.rules import conflict, receipt_for
from agent.wire import cbor
from agent.wire.envelope import Envelope
from agent.wire.header import ZERO_DIGEST
from agent.wire.receipt import sign_receipt
from agent.wire.times import to_ms

_LOCK = "SELECT device, newest_receipt FROM signers WHERE device = any(%b::bytea[]) ORDER BY device FOR NO KEY UPDATE"
_ADD_SIGNERS = "INSERT INTO signers (device) SELECT unnest(%b::bytea[]) ON CONFLICT (device) DO NOTHING"
_LOG = "SELECT used, newest_at_ms FROM log FOR NO KEY UPDATE"
_NEWEST = """
UPDATE signers AS s SET newest_receipt = w.newest
FROM unnest(%b::bytea[], %b::bytea[]) AS w (device, newest) WHERE s.device = w.device
"""
_CHAINS = """
INSERT INTO chains (device, chain, run, last_seq)
SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::bigint[], %b::bigint[])
ON CONFLICT (device, chain) DO UPDATE SET last_seq = excluded.last_seq
"""
_BEGINS = """
INSERT INTO begins (before, device, chain) SELECT * FROM unnest(%b::bytea[], %b::bytea[], %b::bytea[])
ON CONFLICT DO NOTHING
"""
_ENTRY = {
    "log": "int8", "id": "bytea", "device": "bytea", "chain": "bytea", "seq": "int8", "prev": "bytea",
    "length": "int4", "stored_at_ms": "int8", "file": "int4", "place": "int8",
}  # fmt: skip
_RECEIPT = {"log": "int8", "id": "bytea", "version": "int2", "receipt": "bytea"}


class Batch:
    """Stores the envelopes of one batch. It lives within one transaction of the store."""

    def __init__(
        self,
        connection: psycopg.Connection,
        bodies: Bodies,
        at: datetime,
        key: Ed25519PrivateKey,
        followers: Mapping[bytes, Sequence[bytes]],
    ) -> None:
        """Begin a batch.

        Args:
            connection: In a transaction.
            bodies: Where the envelopes' bytes lie.
            at: Aware time of storing for envelopes that are new. If the last entry of the log has a later time, that
                time is used.
            key: Signs receipts.
            followers: By the id of a key that was rotated out: the ids of the keys that followed it.
        """
        self._connection = connection
        self._bodies = bodies
        self._at_ms = to_ms(at)
        self._key = key
        self._followers = followers
        self._newest: dict[bytes, bytes | None] = {}

    def store(self, envelopes: Sequence[Envelope]) -> list[Outcome]:
        """Store envelopes, or find them stored; return an outcome for each, in order."""
        if not envelopes:
            return []
        self._lock_signers(envelopes)
        known = known_of(self._connection, envelopes)
        mend(
            self._connection,
            self._bodies,
            [piece for each in envelopes for piece in _piece(known.get(each.digest), each)],
        )
        decided = self._decide([each for each in envelopes if each.digest not in known])
        new = [envelope for envelope, outcome in decided.values() if outcome is None or isinstance(outcome, str)]
        receipts = self._keep(new) if new else {}
        return [_outcome(envelope, known, decided, receipts) for envelope in envelopes]

    def _lock_signers(self, envelopes: Sequence[Envelope]) -> None:
        devices = {envelope.device_kid for envelope in envelopes}
        devices.update(*(self._followers.get(device, ()) for device in list(devices)))
        wanted = sorted(devices)
        self._newest = dict(fetch(self._connection, _LOCK, (wanted,)))
        if len(self._newest) < len(wanted):
            self._connection.execute(_ADD_SIGNERS, (wanted,))
            self._newest = dict(fetch(self._connection, _LOCK, (wanted,)))

    def _decide(self, unknown: Sequence[Envelope]) -> dict[bytes, _Decided]:
        """Return, by id: each envelope once, with why it is not stored, what it shows, or None where all is well."""
        facts, decided = PostgresFacts(self._connection, unknown), dict[bytes, _Decided]()
        for envelope in unknown:
            if envelope.digest in decided:
                continue
            refused = conflict(facts, envelope, self._followers.get(envelope.device_kid, ()))
            if refused is not None:
                decided[envelope.digest] = envelope, refused
                continue
            is_new_chain = facts.add(envelope)
            decided[envelope.digest] = envelope, fork_at(facts, envelope, is_new_chain=is_new_chain)
        self._write_chains(facts)
        return decided

    def _write_chains(self, facts: PostgresFacts) -> None:
        if facts.new_chains:
            rows = sorted((*chain, *state) for chain, state in facts.new_chains.items())
            self._connection.execute(_CHAINS, [list(column) for column in zip(*rows, strict=True)])
        if facts.new_beginnings:
            columns = zip(*sorted(facts.new_beginnings), strict=True)
            self._connection.execute(_BEGINS, [list(column) for column in columns])

    def _keep(self, new: Sequence[Envelope]) -> dict[bytes, bytes]:
        """Write new envelopes and their receipts; return these by the envelopes' ids."""
        filing = Filing(self._connection, self._bodies, self._at_ms)
        filing.write(new)
        ((used, newest_at_ms),) = fetch(self._connection, _LOG)
        at_ms = max(self._at_ms, newest_at_ms)
        places = filing.count_up(new)
        entries, receipts = [], []
        for log, envelope in enumerate(new, used + 1):
            position = envelope.position
            entry = (log, envelope.digest, envelope.device_kid, position.chain, position.seq, position.prev)
            entries.append((*entry, len(envelope.data), at_ms, *places[envelope.digest]))
            receipts.append((log, envelope.digest, *self._sign(envelope, log=log, at_ms=at_ms)))
        copy_rows(self._connection, "entries", _ENTRY, entries)
        copy_rows(self._connection, "receipts", _RECEIPT, receipts)
        self._connection.execute("UPDATE log SET used = %b, newest_at_ms = %b", (used + len(new), at_ms))
        newest = {device: digest for device, digest in self._newest.items() if digest is not None}
        self._connection.execute(_NEWEST, (list(newest), list(newest.values())))
        return {envelope_id: receipt for _, envelope_id, _, receipt in receipts}

    def _sign(self, envelope: Envelope, *, log: int, at_ms: int) -> tuple[int, bytes]:
        """Sign the receipt of a new envelope; return its version and itself."""
        newest = self._newest[envelope.device_kid] or ZERO_DIGEST
        receipt = receipt_for(envelope, log=log, at_ms=at_ms, newest=newest)
        signed = sign_receipt(receipt, self._key)
        if receipt.prev is not None:
            self._newest[envelope.device_kid] = cbor.sha256(signed)
        return receipt.version, signed


_Decided = tuple[Envelope, ChainConflict | str | None]


def _piece(known: Known | None, envelope: Envelope) -> list[tuple[int, int, bytes]]:
    """Return where the bytes of a repeat are, and what they must be; nothing for what has none here."""
    return [] if known is None or known.place is None else [(known.file, known.place, envelope.data)]


def _outcome(
    envelope: Envelope, known: Mapping[bytes, Known], decided: Mapping[bytes, _Decided], receipts: Mapping[bytes, bytes]
) -> Outcome:
    stored = known.get(envelope.digest)
    if stored is not None:
        lost = f"the receipt of envelope {envelope.envelope_id[:16]}, log {stored.log}, is not in the store"
        return ReceiptLost(lost) if stored.receipt is None else stored.receipt
    _, found = decided[envelope.digest]
    if isinstance(found, ChainConflict):
        return found
    receipt = receipts[envelope.digest]
    return receipt if found is None else Forked(receipt, found)


__all__ = ["Batch"]

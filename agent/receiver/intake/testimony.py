"""What the kept receipts prove of a store, and what the units have signed about them.

Owns: the checks of receipts against rows, against each other, against the log and against the units' word. Leaves to
others: the receipt's own layout (`agent.wire.receipt`), and which envelopes hold (`verification`).

A receipt proves what the receiver said when it signed it. That it says the same today is proven by the unit, which
signs the digest of a receipt that it has seen into its next envelopes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import FormatError, ReceiptVerificationError, VerificationError
from agent.receiver.intake.reports import MAX_LISTED, ChainReport, Finding, FindingKind
from agent.receiver.ports import StoredRow, WholeStore
from agent.wire import cbor, cose
from agent.wire.envelope import Envelope, parse_envelope
from agent.wire.evidence import Place, check_dropped, check_kept, check_row, shown_ms
from agent.wire.header import FORMAT_VERSION, MAX_SEQ, RECEIVER_PREFIX_BYTES, VERSION_1, ZERO_DIGEST, SeenReceipt
from agent.wire.receipt import CONTENT_TYPE, MAX_RECEIPT_BYTES, Receipt, parse_receipt

BACK_BEFORE_RECEIPTS: Final = timedelta(hours=1)
"""How far the log's time may go back where no receipt of version 2 is kept: an earlier plateseal took it from its
clock, which time services correct."""

_REMEMBERED: Final = 1024
"""Receipts that units have seen whose judgement is kept: a unit names the same one in many envelopes in a row."""


class Testimony:
    """The receipts of one store.

    Attributes:
        newest: Digest of the newest receipt of version 2, by device key, as far as `settle` has come.
        is_log_sound: Whether `settle` found each receipt's entry, and each receipt to name the one before it.
    """

    def __init__(
        self,
        store: WholeStore,
        receipt_keys: Mapping[bytes, Ed25519PublicKey],
        back: Mapping[int, int] | None = None,
    ) -> None:
        """Prepare to check a store. Without the receiver's public keys each kept receipt becomes a finding.

        Args:
            store: The store.
            receipt_keys: The receiver's public receipt keys, by key id.
            back: By how many milliseconds the log's time goes back at which entries, if that is known already.
        """
        self._store = store
        self._keys = receipt_keys
        self._prefixes = {kid[:RECEIVER_PREFIX_BYTES] for kid in self._keys}
        self._back = _steps_back(store) if back is None else back
        self.newest: dict[bytes, bytes] = {}
        self.is_log_sound = True
        self._contradiction = lru_cache(maxsize=_REMEMBERED)(self._contradiction_of)

    def log_of(self, row: StoredRow, envelope: Envelope) -> int:
        """Return an envelope's index in the log. If row and receipt differ, it is the higher one."""
        try:
            receipt = check_kept(row.receipt, envelope, self._keys)
        except ReceiptVerificationError:
            return row.log
        return row.log if receipt is None else max(row.log, receipt.log_index)

    def check(self, report: ChainReport, row: StoredRow, envelope: Envelope) -> None:
        """Check the receipt that is kept with a row, and the earlier receipt that the envelope says its unit saw."""
        receipt, fault = None, None
        try:
            receipt = check_kept(row.receipt, envelope, self._keys)
            check_row(receipt, log=row.log, stored_at_ms=row.stored_at_ms)
            fault = self._fault(row, receipt)
        except ReceiptVerificationError as error:
            fault = str(error)
        if fault is not None:
            report.add(Finding(FindingKind.RECEIPT, row.seq, row.seq, fault))
        elif receipt is not None:
            report.receipted += 1
        seen = envelope.header.seen
        if seen is not None and seen.receiver in self._prefixes:
            contradiction = self._contradiction(seen)
            if contradiction is not None:
                report.add(Finding(FindingKind.CONTRADICTED, row.seq, row.seq, contradiction))

    def check_dropped(self, report: ChainReport, row: StoredRow) -> int:
        """Check the receipt of an envelope whose bytes were dropped; return its index in the log, the higher of two."""
        receipt, fault = None, None
        try:
            receipt = check_dropped(row.receipt, _said_by(row), self._keys)
            check_row(receipt, log=row.log, stored_at_ms=row.stored_at_ms)
            fault = self._fault(row, receipt)
        except ReceiptVerificationError as error:
            fault = str(error)
        if fault is not None:
            report.add(Finding(FindingKind.RECEIPT, row.seq, row.seq, fault))
        return row.log if receipt is None else max(row.log, receipt.log_index)

    def settle(self, reports: dict[tuple[bytes, bytes], ChainReport], *, after: int = -1, end: int = MAX_SEQ) -> None:
        """Check that each receipt names the one before it, and name receipts whose envelope is not in the store.

        Args:
            reports: Where findings are told.
            after: Begin behind this entry of the log; `newest` is as of it.
            end: The last entry that is looked at; receipts without an entry are named wherever they are.
        """
        orphans: list[bytes] = []
        for entry in self._store.log(after):
            if entry.receipt is None or (entry.log > end and entry.stored_at_ms is not None):
                continue
            if entry.stored_at_ms is None:
                self.is_log_sound = False
                if len(orphans) < MAX_LISTED:
                    orphans.append(entry.receipt)
            try:
                receipt = parse_receipt(entry.receipt)
            except FormatError:
                continue  # told with its row, or below
            if receipt.prev is None:
                continue
            if receipt.prev != self.newest.get(receipt.device_kid, ZERO_DIGEST):
                self.is_log_sound = False
                detail = f"the receipt of log {receipt.log_index} names another one before it than the one that is kept"
                _report_of(reports, receipt).add(Finding(FindingKind.RECEIPT, receipt.seq, receipt.seq, detail))
            self.newest[receipt.device_kid] = cbor.sha256(entry.receipt)
        for data in orphans:
            _tell_orphan(reports, data, self._keys)

    def _fault(self, row: StoredRow, receipt: Receipt | None) -> str | None:
        back_ms = self._back.get(row.log, 0)
        is_old = receipt is None or receipt.version == VERSION_1
        if back_ms > (BACK_BEFORE_RECEIPTS / timedelta(milliseconds=1) if is_old else 0):
            return f"stored at {shown_ms(row.stored_at_ms)}, before the entry of the log before it"
        return None

    def _contradiction_of(self, seen: SeenReceipt) -> str | None:
        kept = self._store.receipt_at(seen.log)
        if kept is not None and cbor.sha256(kept) == seen.digest:
            return None
        if kept is None and self._was_stored_without(seen.log):
            return None
        what = "none is kept" if kept is None else f"{cbor.sha256(kept).hex()[:16]} is kept"
        return f"the unit has seen receipt {seen.digest.hex()[:16]} for log {seen.log}, and {what}"

    def _was_stored_without(self, log: int) -> bool:
        """Whether the entry is one of an earlier plateseal, which kept no receipts."""
        row = self._store.get(log)
        try:
            if row is None or row.body is None:
                return row is not None and row.run is None
            return parse_envelope(row.body).position.version == VERSION_1
        except FormatError:
            return False


def _said_by(row: StoredRow) -> Place:
    version = VERSION_1 if row.run is None else FORMAT_VERSION
    return Place(row.id, row.length, row.device, row.chain, row.seq, version)


def _steps_back(store: WholeStore) -> dict[int, int]:
    """Return by how many milliseconds the log's time goes back at which entries."""
    found: dict[int, int] = {}
    before_ms = 0
    for entry in store.log():
        if entry.stored_at_ms is None:
            continue
        if entry.stored_at_ms < before_ms and len(found) < MAX_LISTED:
            found[entry.log] = before_ms - entry.stored_at_ms
        before_ms = entry.stored_at_ms
    return found


def _tell_orphan(
    reports: dict[tuple[bytes, bytes], ChainReport], data: bytes, keys: Mapping[bytes, Ed25519PublicKey]
) -> None:
    """Name a receipt whose envelope is not in the store, unless its place is told already."""
    try:
        message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_RECEIPT_BYTES, what="receipt")
        receipt = parse_receipt(data)
        cose.verify_sign1(message, keys[message.kid], what="receipt")
    except (FormatError, VerificationError, KeyError):
        return  # the receiver did not sign it, so it proves nothing
    report = _report_of(reports, receipt)
    if not report.tells_of(receipt.seq):
        detail = f"the receiver signed for it, log {receipt.log_index}, and it is not in the store"
        report.add(Finding(FindingKind.MISSING, receipt.seq, receipt.seq, detail))


def _report_of(reports: dict[tuple[bytes, bytes], ChainReport], receipt: Receipt) -> ChainReport:
    key = receipt.device_kid, receipt.chain
    if key not in reports:
        reports[key] = ChainReport(receipt.device_kid.hex()[:16], *key)
    return reports[key]

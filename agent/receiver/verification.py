"""`receiver verify`: is what the store holds all that its devices sealed, unaltered and in order?

Owns: the walk over a store and what it calls missing, altered, forged, reordered or replayed. It believes the signed
bytes alone: the columns of the database are compared with them, never the other way round.

| finding | what was found |
|---|---|
| missing | sequence numbers without an envelope, and no tombstone that says why |
| altered | bytes that are no envelope, are not what their row's id says, or whose signature does not hold |
| forged | an envelope of a device key that is not enrolled |
| reordered | an envelope that stands at another place than it was signed for, or whose prev is not the one before it |
| replayed | the same envelope, or another one at the same place, a second time |

A gap that a tombstone explains is a loss by policy: it is reported, and it is no finding.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Final

from agent.envelope.sealed import Envelope, parse_envelope, verify_envelope
from agent.envelope.tombstone import LossReason
from agent.errors import FormatError, VerificationError
from agent.receiver.devices import DeviceBook
from agent.receiver.store import EnvelopeStore, StoredRow

MAX_LISTED: Final = 1000
"""Findings and gaps kept per chain; a chain with more is beyond counting by hand, and memory stays bounded."""


class FindingKind(StrEnum):
    """What is wrong with a place in a chain."""

    MISSING = "missing"
    ALTERED = "altered"
    FORGED = "forged"
    REORDERED = "reordered"
    REPLAYED = "replayed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: What.
        first_seq, last_seq: The places, both included.
        detail: For a person; ids and numbers only.
    """

    kind: FindingKind
    first_seq: int
    last_seq: int
    detail: str = ""


@dataclass(slots=True)
class ChainReport:
    """What the store holds of one chain.

    Attributes:
        device: The device's name, or its key id's beginning if it is not enrolled.
        device_kid, chain: 32 and 16 bytes.
        envelopes: Reads and tombstones that hold, each counted once.
        last_seq: The highest sequence number among them; -1 for none.
        expired: Places whose reads waited too long, by the device's own tombstones.
        overflowed: Reads that never got a place because the device's spool was full.
        findings: What is wrong; empty for a continuous chain.
    """

    device: str
    device_kid: bytes
    chain: bytes
    envelopes: int = 0
    last_seq: int = -1
    expired: int = 0
    overflowed: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_continuous(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.findings

    def add(self, finding: Finding) -> None:
        """Keep a finding, up to `MAX_LISTED`."""
        if len(self.findings) < MAX_LISTED:
            self.findings.append(finding)


def verify_store(store: EnvelopeStore, devices: DeviceBook) -> list[ChainReport]:
    """Check every envelope in a store, chain by chain.

    Raises:
        ReceiverError: The store or a device's file cannot be read.
    """
    walk = _Walk(devices)
    reports = [
        walk.chain(device, chain, rows)
        for (device, chain), rows in groupby(store.rows(), key=lambda row: (row.device, row.chain))
    ]
    walk.settle()
    return reports


@dataclass(slots=True)
class _Gap:
    """Places between two envelopes that hold, and which of them are taken by rows that do not hold."""

    report: ChainReport
    first: int
    last: int
    spoiled: frozenset[int]


class _Walk:
    """One pass over a store; gaps are settled at the end, when all tombstones are known.

    Chains refer to each other by device, not by key: a new signing key goes on where the old one ended.
    """

    def __init__(self, devices: DeviceBook) -> None:
        self._devices = devices
        self._gaps: list[_Gap] = []
        self._gone: dict[tuple[str, bytes, int], bytes] = {}
        self._ends: set[tuple[str, bytes]] = set()
        self._begins: list[tuple[ChainReport, bytes]] = []

    def chain(self, device_kid: bytes, chain: bytes, rows: Iterable[StoredRow]) -> ChainReport:
        """Check one chain; rows come in order of their sequence number."""
        device = self._devices.by_key_id(device_kid)
        report = ChainReport(device.name if device else device_kid.hex()[:16], device_kid, chain)
        before: Envelope | None = None
        spoiled: set[int] = set()
        for row in rows:
            envelope = self._check(row, report)
            if envelope is None:
                spoiled.add(row.seq)
            elif before is not None and envelope.position.seq == before.position.seq:
                seq = envelope.position.seq
                report.add(Finding(FindingKind.REPLAYED, seq, seq, f"envelope {envelope.envelope_id[:16]}"))
            else:
                self._link(report, before, envelope, frozenset(spoiled))
                self._note(report, envelope)
                before = envelope
        if before is not None:
            self._ends.add((report.device, before.digest))
        return report

    def settle(self) -> None:
        """Tell gaps that tombstones explain from those that nothing explains."""
        for gap in self._gaps:
            self._settle_gap(gap)
        gone = set(self._gone.values())
        for report, last in self._begins:
            if (report.device, last) not in self._ends and last not in gone:
                detail = f"the chain before it ended with {last.hex()[:16]}, which is not the end of any chain here"
                report.add(Finding(FindingKind.MISSING, 0, 0, detail))

    def _check(self, row: StoredRow, report: ChainReport) -> Envelope | None:
        """Return the envelope of a row if it is what it claims to be, where it claims to be."""
        try:
            envelope = parse_envelope(row.body)
            signer = self._devices.by_key_id(envelope.device_kid)
            if signer is None:
                report.add(Finding(FindingKind.FORGED, row.seq, row.seq, "its device key is not enrolled"))
                return None
            verify_envelope(envelope, signer.signing_key)
        except (FormatError, VerificationError) as error:
            report.add(Finding(FindingKind.ALTERED, row.seq, row.seq, str(error)))
            return None
        if envelope.digest != row.id:
            report.add(Finding(FindingKind.ALTERED, row.seq, row.seq, "its bytes are not what its id says"))
            return None
        position = envelope.position
        if (envelope.device_kid, position.chain, position.seq) != (row.device, row.chain, row.seq):
            detail = f"it was signed for chain {position.chain.hex()[:8]} seq {position.seq}"
            report.add(Finding(FindingKind.REORDERED, row.seq, row.seq, detail))
            return None
        return envelope

    def _link(self, report: ChainReport, before: Envelope | None, envelope: Envelope, spoiled: frozenset[int]) -> None:
        position = envelope.position
        expected = 0 if before is None else before.position.seq + 1
        if position.seq > expected:
            self._gaps.append(_Gap(report, expected, position.seq - 1, spoiled))
        elif before is not None and position.prev != before.digest:
            detail = f"its prev is not {before.envelope_id[:16]}, which stands before it"
            report.add(Finding(FindingKind.REORDERED, position.seq, position.seq, detail))

    def _note(self, report: ChainReport, envelope: Envelope) -> None:
        report.envelopes += 1
        report.last_seq = envelope.position.seq
        if envelope.position.last is not None:
            self._begins.append((report, envelope.position.last))
        tombstone = envelope.tombstone
        if tombstone is not None:
            report.overflowed += tombstone.count if tombstone.reason is LossReason.OVERFLOW else 0
            self._gone |= {(report.device, gone.chain, gone.seq): gone.digest for gone in tombstone.gone}

    def _settle_gap(self, gap: _Gap) -> None:
        key = (gap.report.device, gap.report.chain)
        expired = {seq for device, chain, seq in self._gone if (device, chain) == key and gap.first <= seq <= gap.last}
        gap.report.expired += len(expired)
        begin = gap.first
        for seq in [*sorted(expired | {seq for seq in gap.spoiled if gap.first <= seq <= gap.last}), gap.last + 1]:
            if seq > begin:
                gap.report.add(Finding(FindingKind.MISSING, begin, seq - 1))
            begin = seq + 1


def finding_lines(report: ChainReport) -> Iterator[str]:
    """Yield the findings of a chain, a line each."""
    for finding in report.findings:
        where = f"seq {finding.first_seq}"
        if finding.last_seq != finding.first_seq:
            where += f" to {finding.last_seq}"
        yield f"{finding.kind} {where}" + (f": {finding.detail}" if finding.detail else "")

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

A gap that a tombstone explains is a loss by policy: it is reported, and it is no finding. Where a tombstone names the
envelope before the end of a gap, the `prev` behind the gap must be that envelope's digest.

How many reads a unit lost is what its tombstones count, less what the store holds all the same: a read that was
delivered while the unit forced it out, and a tombstone whose count a later one took over.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from operator import itemgetter
from typing import Final

from agent.errors import FormatError, VerificationError
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.stores.sqlite import EnvelopeStore, StoredRow
from agent.wire.envelope import Envelope, parse_envelope, verify_envelope
from agent.wire.tombstone import Gone, LossReason, merge_gone

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
        kind: What is wrong.
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
        explained: Places without an envelope that the device's own tombstones name.
        lost: Reads that the tombstones in this chain stand for, by reason; their places may be in an earlier chain.
        findings: What is wrong; empty for a continuous chain.
    """

    device: str
    device_kid: bytes
    chain: bytes
    envelopes: int = 0
    last_seq: int = -1
    explained: int = 0
    lost: Counter[LossReason] = field(default_factory=Counter)
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


@dataclass(frozen=True, slots=True)
class _Gap:
    """Places without an envelope that holds, up to the one before `behind`; `spoiled` are rows that do not hold."""

    first: int
    last: int
    spoiled: frozenset[int]
    behind: Envelope


@dataclass(slots=True)
class _Chain:
    """What the store holds of one chain: everything up to the report's `last_seq` but the gaps.

    Attributes:
        tombstones: (place, count), in order.
    """

    report: ChainReport
    gaps: list[_Gap] = field(default_factory=list)
    tombstones: list[tuple[int, int]] = field(default_factory=list)


_Key = tuple[str, bytes]
"""A device's name and a chain's id: a new signing key goes on where the old one ended, so chains refer by device."""

_Named = tuple[Gone, LossReason, ChainReport]
"""Places that a tombstone names, its reason, and the report of the chain it stands in."""


class _Walk:
    """One pass over a store; gaps are settled at the end, when all tombstones are known."""

    def __init__(self, devices: DeviceBook) -> None:
        self._devices = devices
        self._chains: dict[_Key, _Chain] = {}
        self._gone: defaultdict[_Key, list[_Named]] = defaultdict(list)
        self._ends: set[tuple[str, bytes]] = set()
        self._begins: list[tuple[ChainReport, bytes]] = []

    def chain(self, device_kid: bytes, chain: bytes, rows: Iterable[StoredRow]) -> ChainReport:
        """Check one chain; rows come in order of their sequence number."""
        device = self._devices.by_key_id(device_kid)
        report = ChainReport(device.name if device else device_kid.hex()[:16], device_kid, chain)
        held = _Chain(report)
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
                self._link(held, before, envelope, spoiled)
                self._note(held, envelope)
                before = envelope
        if before is not None:
            self._chains[report.device, chain] = held
            self._ends.add((report.device, before.digest))
        return report

    def settle(self) -> None:
        """Tell gaps that tombstones explain from those that nothing explains, and count what was lost."""
        for key, chain in self._chains.items():
            _settle_gaps(chain, [gone for gone, _, _ in self._gone[key]])
            _take_off_what_is_held(chain, self._gone[key])
        gone = {(device, each.digest) for (device, _), rows in self._gone.items() for each, _, _ in rows}
        for report, last in self._begins:
            if (report.device, last) not in self._ends and (report.device, last) not in gone:
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

    def _link(self, held: _Chain, before: Envelope | None, envelope: Envelope, spoiled: set[int]) -> None:
        position = envelope.position
        expected = 0 if before is None else before.position.seq + 1
        if position.seq > expected:
            within = frozenset(seq for seq in spoiled if seq >= expected)
            held.gaps.append(_Gap(expected, position.seq - 1, within, envelope))
        elif before is not None and position.prev != before.digest:
            detail = f"its prev is not {before.envelope_id[:16]}, which stands before it"
            held.report.add(Finding(FindingKind.REORDERED, position.seq, position.seq, detail))

    def _note(self, held: _Chain, envelope: Envelope) -> None:
        report = held.report
        report.envelopes += 1
        report.last_seq = envelope.position.seq
        if envelope.position.last is not None:
            self._begins.append((report, envelope.position.last))
        tombstone = envelope.tombstone
        if tombstone is not None:
            held.tombstones.append((envelope.position.seq, tombstone.count))
            report.lost[tombstone.reason] += tombstone.count
            for gone in tombstone.gone:
                self._gone[report.device, gone.chain].append((gone, tombstone.reason, report))


_Span = tuple[int, int]
"""The first and the last of some consecutive places."""


def _settle_gaps(chain: _Chain, named: list[Gone]) -> None:
    spans = [(gone.first, gone.last) for gone in merge_gone(named)]
    digests: defaultdict[int, set[bytes]] = defaultdict(set)
    for gone in named:
        digests[gone.last].add(gone.digest)
    for gap in chain.gaps:
        explained = list(_within(spans, gap.first, gap.last))
        chain.report.explained += sum(last - first + 1 for first, last in explained)
        begin = gap.first
        for first, last in sorted([*explained, *((seq, seq) for seq in gap.spoiled), (gap.last + 1, gap.last + 1)]):
            if first > begin:
                chain.report.add(Finding(FindingKind.MISSING, begin, first - 1))
            begin = max(begin, last + 1)
        if gap.last in digests and gap.behind.position.prev not in digests[gap.last]:
            detail = "its prev is not the digest that a tombstone gives for the place before it"
            seq = gap.behind.position.seq
            chain.report.add(Finding(FindingKind.REORDERED, seq, seq, detail))


def _take_off_what_is_held(chain: _Chain, named: list[_Named]) -> None:
    """Reduce what tombstones count by what they name and the store holds all the same, each place once."""
    gaps = [(gap.first, gap.last) for gap in chain.gaps]
    seen = -1
    for gone, reason, report in sorted(named, key=lambda row: (row[0].first, row[0].last)):
        first, last = max(gone.first, seen + 1), min(gone.last, chain.report.last_seq)
        if first > last:
            continue
        seen = last
        held = last - first + 1 - sum(end - begin + 1 for begin, end in _within(gaps, first, last))
        notes = chain.tombstones[
            bisect_left(chain.tombstones, first, key=itemgetter(0)) : bisect_right(
                chain.tombstones, last, key=itemgetter(0)
            )
        ]
        report.lost[reason] -= held - len(notes) + sum(count for _, count in notes)


def _within(spans: list[_Span], first: int, last: int) -> Iterator[_Span]:
    """Yield the parts of sorted, disjoint spans that lie between two places."""
    index = bisect_left(spans, first, key=itemgetter(1))
    while index < len(spans) and spans[index][0] <= last:
        yield max(first, spans[index][0]), min(last, spans[index][1])
        index += 1


def finding_lines(report: ChainReport) -> Iterator[str]:
    """Yield the findings of a chain, a line each."""
    for finding in report.findings:
        where = f"seq {finding.first_seq}"
        if finding.last_seq != finding.first_seq:
            where += f" to {finding.last_seq}"
        yield f"{finding.kind} {where}" + (f": {finding.detail}" if finding.detail else "")

"""What a verification finds, chain by chain.

Owns: the words for what can be wrong, and the report of one chain. Leaves to others: finding it (`verification`,
`gaps`, `runs`, `testimony`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from agent.wire.tombstone import LossReason

MAX_LISTED: Final = 1000
"""Findings and gaps kept per chain; a chain with more is beyond counting by hand, and memory stays bounded."""


class FindingKind(StrEnum):
    """What is wrong with a place in a chain."""

    MISSING = "missing"
    ALTERED = "altered"
    FORGED = "forged"
    REORDERED = "reordered"
    REPLAYED = "replayed"
    FORKED = "forked"
    REVOKED = "revoked"
    ROTATED = "rotated"
    RECEIPT = "receipt"
    CONTRADICTED = "contradicted"


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

    def is_followed_by(self, other: Finding) -> bool:
        """Whether another finding says the same of the next place."""
        return (self.kind, self.detail, self.last_seq + 1) == (other.kind, other.detail, other.first_seq)


@dataclass(slots=True)
class ChainReport:
    """What the store holds of one chain.

    Attributes:
        device: The device's name, or its key id's beginning if it is not enrolled.
        device_kid, chain: 32 and 16 bytes.
        envelopes: Reads and tombstones that hold, each counted once.
        last_seq: The highest sequence number among them; -1 for none.
        dropped: Reads whose bytes were dropped with their epoch, by the owner's policy; their receipts hold.
        explained: Places without an envelope that the device's own tombstones name.
        receipted: Envelopes among them whose receipt is kept and holds.
        lost: Reads that the tombstones in this chain stand for, by reason; their places may be in an earlier chain.
        findings: What is wrong; empty for a continuous chain.
    """

    device: str
    device_kid: bytes
    chain: bytes
    envelopes: int = 0
    last_seq: int = -1
    dropped: int = 0
    explained: int = 0
    receipted: int = 0
    lost: Counter[LossReason] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_continuous(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.findings

    def tells_of(self, seq: int) -> bool:
        """Whether something is known to be wrong with a place already."""
        return any(each.first_seq <= seq <= each.last_seq for each in self.findings)

    def add(self, finding: Finding) -> None:
        """Keep a finding, up to `MAX_LISTED`. What says the same of places in a row, after a key's end, is joined."""
        before = self.findings[-1] if self.findings else None
        if finding.kind is FindingKind.REVOKED and before is not None and before.is_followed_by(finding):
            self.findings[-1] = replace(before, last_seq=finding.last_seq)
        elif len(self.findings) < MAX_LISTED:
            self.findings.append(finding)


def finding_lines(report: ChainReport) -> Iterator[str]:
    """Yield the findings of a chain, a line each."""
    for finding in report.findings:
        where = f"seq {finding.first_seq}"
        if finding.last_seq != finding.first_seq:
            where += f" to {finding.last_seq}"
        yield f"{finding.kind} {where}" + (f": {finding.detail}" if finding.detail else "")

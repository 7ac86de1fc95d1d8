"""What a verification finds, chain by chain.

Owns: the words for what can be wrong, the report of one chain, and the counts of each day. Leaves to others: finding it
(`verification`, `gaps`, `runs`, `testimony`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Final

from agent.wire.tombstone import LossReason

MAX_LISTED: Final = 1000
"""Findings and gaps kept per chain; a chain with more is beyond counting by hand, and memory stays bounded."""


DAY_MS: Final = timedelta(days=1) // timedelta(milliseconds=1)


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
class Day:
    """What a day of the log brought.

    Attributes:
        envelopes: Reads and tombstones stored on it that hold, each counted once.
        dropped: Reads stored on it whose bytes were dropped with their epoch, by the owner's policy.
        lost: Reads that the tombstones stored on it stand for, by reason.
    """

    envelopes: int = 0
    dropped: int = 0
    lost: Counter[LossReason] = field(default_factory=Counter)


@dataclass(slots=True)
class ChainReport:
    """What the store holds of one chain.

    Attributes:
        device: The device's name, or its key id's beginning if it is not enrolled.
        device_kid, chain: 32 and 16 bytes.
        last_seq: The highest sequence number among its envelopes that hold; -1 for none.
        explained: Places without an envelope that the device's own tombstones name.
        receipted: Envelopes among them whose receipt is kept and holds.
        days: What was stored of it on which day, by the number of days since 1970 UTC. The reads that its tombstones
            stand for may have stood in an earlier chain.
        findings: What is wrong; empty for a continuous chain.
    """

    device: str
    device_kid: bytes
    chain: bytes
    last_seq: int = -1
    explained: int = 0
    receipted: int = 0
    days: dict[int, Day] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def envelopes(self) -> int:
        """Reads and tombstones that hold."""
        return sum(day.envelopes for day in self.days.values())

    @property
    def dropped(self) -> int:
        """Reads whose bytes were dropped with their epoch; their receipts hold."""
        return sum(day.dropped for day in self.days.values())

    @property
    def lost(self) -> Counter[LossReason]:
        """Reads that the tombstones in this chain stand for, by reason."""
        lost = Counter[LossReason]()
        for day in self.days.values():
            lost.update(day.lost)
        return lost

    @property
    def is_continuous(self) -> bool:
        """Whether nothing is wrong with it."""
        return not self.findings

    def day(self, stored_at_ms: int) -> Day:
        """Return the counts of the day that a time of storing, milliseconds since 1970 UTC, belongs to."""
        return self.days.setdefault(day_of(stored_at_ms), Day())

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


def day_of(stored_at_ms: int) -> int:
    """Return the number of days since 1970 UTC."""
    return stored_at_ms // DAY_MS


def days_of_units(reports: Iterable[ChainReport]) -> dict[str, dict[int, Day]]:
    """Return by unit, in order of names, what each day brought, the first day first."""
    found: dict[str, dict[int, Day]] = {}
    for report in reports:
        days = found.setdefault(report.device, {})
        for number, day in report.days.items():
            together = days.setdefault(number, Day())
            together.envelopes += day.envelopes
            together.dropped += day.dropped
            together.lost.update(day.lost)
    return {device: dict(sorted(days.items())) for device, days in sorted(found.items())}


def finding_lines(report: ChainReport) -> Iterator[str]:
    """Yield the findings of a chain, a line each."""
    for finding in report.findings:
        where = f"seq {finding.first_seq}"
        if finding.last_seq != finding.first_seq:
            where += f" to {finding.last_seq}"
        yield f"{finding.kind} {where}" + (f": {finding.detail}" if finding.detail else "")

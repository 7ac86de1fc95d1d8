"""Gaps in a chain: what tombstones explain, what nothing explains, and how many reads were lost.

Owns: that arithmetic. Leaves to others: which envelopes hold (`verification`).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter

from agent.receiver.intake.reports import ChainReport, Day, Finding, FindingKind
from agent.wire.tombstone import Gone, LossReason, merge_gone


@dataclass(frozen=True, slots=True)
class Link:
    """An envelope in its chain, or what the store kept of one that was dropped: place, digest and `prev`."""

    seq: int
    digest: bytes
    prev: bytes


@dataclass(frozen=True, slots=True)
class Gap:
    """Places without an envelope that holds, up to the one before `behind`; `spoiled` are rows that do not hold."""

    first: int
    last: int
    spoiled: frozenset[int]
    behind: Link


@dataclass(frozen=True, slots=True)
class Note:
    """A tombstone in its chain: its place, how many reads it stands for and why, the day of storing, what it names."""

    seq: int
    count: int
    reason: LossReason
    day: int
    gone: tuple[Gone, ...]


@dataclass(slots=True)
class Chain:
    """What the store holds of one chain: everything up to the report's `last_seq` but the gaps.

    Attributes:
        head: The last envelope that holds; None as long as there is none.
        highest: The highest index in the log of those that hold.
        tombstones: In order.
        lasts: What its envelopes of version 1 name as the ends of earlier chains.
    """

    report: ChainReport
    head: Link | None = None
    highest: int = 0
    gaps: list[Gap] = field(default_factory=list)
    tombstones: list[Note] = field(default_factory=list)
    lasts: list[bytes] = field(default_factory=list)


def add_tombstone(chain: Chain, note: Note) -> None:
    """Add a tombstone behind those of a chain, and count the reads that it stands for."""
    chain.tombstones.append(note)
    chain.report.days.setdefault(note.day, Day()).lost[note.reason] += note.count


Named = tuple[Gone, LossReason, Day]
"""Places that a tombstone names, its reason, and the day on which it was stored."""


_Span = tuple[int, int]
"""The first and the last of some consecutive places."""


def settle_gaps(chain: Chain, named: list[Gone]) -> None:
    """Tell the parts of a chain's gaps that tombstones name from those that nothing explains."""
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
        if gap.last in digests and gap.behind.prev not in digests[gap.last]:
            detail = "its prev is not the digest that a tombstone gives for the place before it"
            seq = gap.behind.seq
            chain.report.add(Finding(FindingKind.REORDERED, seq, seq, detail))


def take_off_what_is_held(chain: Chain, named: list[Named]) -> None:
    """Take off the counts of tombstones those reads that they name although the store holds them, each place once."""
    gaps = [(gap.first, gap.last) for gap in chain.gaps]
    seen = -1
    for gone, reason, day in sorted(named, key=lambda row: (row[0].first, row[0].last)):
        first, last = max(gone.first, seen + 1), min(gone.last, chain.report.last_seq)
        if first > last:
            continue
        seen = last
        held = last - first + 1 - sum(end - begin + 1 for begin, end in _within(gaps, first, last))
        notes = chain.tombstones[
            bisect_left(chain.tombstones, first, key=attrgetter("seq")) : bisect_right(
                chain.tombstones, last, key=attrgetter("seq")
            )
        ]
        day.lost[reason] -= held - len(notes) + sum(note.count for note in notes)


def _within(spans: list[_Span], first: int, last: int) -> Iterator[_Span]:
    """Yield the parts of sorted, disjoint spans that lie between two places."""
    index = bisect_left(spans, first, key=_end)
    while index < len(spans) and spans[index][0] <= last:
        yield max(first, spans[index][0]), min(last, spans[index][1])
        index += 1


def _end(span: _Span) -> int:
    return span[1]

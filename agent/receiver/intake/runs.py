"""The order of a unit's chains: each names the end of the one before, and they are numbered.

Owns: telling a chain whose predecessor is not in the store, two chains that have one predecessor or one number, a
number that goes back, and a key that signed on after another one had followed it. Leaves to others: what is in one
chain (`verification`), and the predecessors that chains of version 1 name now and then.

A chain of version 1 has no number. Whoever copied a key could fall back to that version, to begin a chain that looks
like a restart. So one that comes to the log after the unit's first chain of version 2, or after the rotation of its
key, must be named as the one before by another chain. One that the unit made earlier, ended with a crash, and delivered
as late as that is told too: nothing in it says when it was made.

The keys of a unit that followed one another (rotations) count as one line. A key that was enrolled beside another one
begins a line of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from agent.receiver.admission.devices import Device
from agent.receiver.intake.reports import ChainReport, Finding, FindingKind
from agent.receiver.ports import StoredRow, StoreView
from agent.wire.envelope import Envelope
from agent.wire.header import ZERO_DIGEST


@dataclass(slots=True)
class RunLink:
    """One chain among those of its unit.

    Attributes:
        report: Its report.
        run: Its number; None in version 1.
        first_log: The lowest log index in it.
        before: What its envelope at 0 names as made before; None if it names none, or is not here.
        end: Digest of its last envelope here.
        device: The device's record.
        followers: Ids of the keys that followed its key.
    """

    report: ChainReport
    run: int | None
    first_log: int
    before: bytes | None = None
    end: bytes = b""
    device: Device | None = None
    followers: tuple[bytes, ...] = ()

    @property
    def line(self) -> bytes:
        """What the chains of one unit have in common: the last of its keys."""
        return self.followers[-1] if self.followers else self.report.device_kid

    def is_followed_by(self, other: RunLink) -> bool:
        """Whether the other chain is by a key that followed this one's."""
        return other.report.device_kid in self.followers

    def tell(self, kind: FindingKind, detail: str, *, first: int = 0, last: int = 0) -> None:
        """Add a finding, where no other says the same of the place."""
        finding = Finding(kind, first, last, detail)
        if finding not in self.report.findings:
            self.report.add(finding)


class Runs:
    """Gathers the chains of a store, and judges their order when all are known."""

    def __init__(self, store: StoreView) -> None:
        """Begin without a chain. `store` is asked where an envelope stands that a chain names as the one before it."""
        self._store = store
        self._links: dict[tuple[bytes, bytes], RunLink] = {}

    def note(self, report: ChainReport, row: StoredRow, envelope: Envelope | None) -> None:
        """Remember what an envelope says of its chain; of one that was dropped (None), what the store noted of it."""
        key = report.device_kid, report.chain
        position = None if envelope is None else envelope.position
        run, before = (row.run, _noted_before(row)) if position is None else (position.run, position.before)
        link = self._links.setdefault(key, RunLink(report, run, row.log))
        link.first_log = min(link.first_log, row.log)
        if row.seq == 0:
            link.before = before

    def resume(self, report: ChainReport, run: int | None, first_log: int, before: bytes | None) -> None:
        """Remember what an earlier walk noted of a chain."""
        self._links[report.device_kid, report.chain] = RunLink(report, run, first_log, before)

    def of(self, report: ChainReport) -> RunLink:
        """Return what is noted of a chain that has an envelope."""
        return self._links[report.device_kid, report.chain]

    def end(self, report: ChainReport, last: bytes, device: Device, followers: tuple[bytes, ...]) -> None:
        """Remember how a chain ended, by the digest of its last envelope, and whose it is."""
        link = self._links[report.device_kid, report.chain]
        link.end, link.device, link.followers = last, device, followers

    def settle(self, gone: Mapping[bytes, bytes]) -> None:
        """Judge the order of all chains.

        Args:
            gone: What tombstones name as gone: the chain of each range, by the digest at the end of the range.
        """
        lines: defaultdict[bytes, list[RunLink]] = defaultdict(list)
        for link in self._links.values():
            lines[link.line].append(link)
        for links in lines.values():
            _tell_signed_on(links)
            _tell_unnamed(links, gone)
            numbered = sorted((each for each in links if each.run is not None), key=lambda each: each.run or 0)
            _tell_twins([*numbered, *(each for each in links if each.run is None)])
            ends = {each.end: each for each in links}
            for link in numbered:
                self._judge_predecessor(link, ends, gone)
            for link in links:
                if link.run is None and link.before is not None and link.before not in ends:
                    self._goes_on_after(link)

    def _judge_predecessor(self, link: RunLink, ends: dict[bytes, RunLink], gone: Mapping[bytes, bytes]) -> None:
        if link.before is None:
            return
        before = ends.get(link.before)
        name = link.before.hex()[:16]
        if before is not None:
            if before.run is not None and link.run is not None and before.run >= link.run:
                detail = f"its number is {link.run}, and the chain that it names as the one before has {before.run}"
                link.tell(FindingKind.REORDERED, detail)
        elif link.before not in gone and not self._goes_on_after(link):
            detail = f"the chain before it ended with {name}, which is not the end of any chain here"
            link.tell(FindingKind.MISSING, detail)

    def _goes_on_after(self, link: RunLink) -> bool:
        """Tell a chain that goes on behind the envelope that the next chain names as its end."""
        end = None if link.before is None else self._store.get(link.before)
        other = None if end is None else self._links.get((end.device, end.chain))
        if end is None or other is None or other.report.last_seq <= end.seq:
            return False
        detail = f"chain {link.report.chain.hex()[:8]} names seq {end.seq} as the end of this one"
        kind = FindingKind.FORKED if link.report.device_kid == other.report.device_kid else FindingKind.ROTATED
        other.tell(kind, detail, first=end.seq + 1, last=other.report.last_seq)
        return True


def _noted_before(row: StoredRow) -> bytes | None:
    """Return what an envelope that was dropped named as made before it. Of version 1, the store has not noted it."""
    return row.prev if row.run is not None and row.prev != ZERO_DIGEST else None


def _tell_signed_on(links: list[RunLink]) -> None:
    """Tell numbered chains by a key that another one had followed before."""
    for link in links:
        later = [each.run for each in links if each.run is not None and link.is_followed_by(each)]
        if link.run is not None and later and link.run >= min(later):
            detail = f"run {link.run} by a key that another one had followed in run {min(later)}"
            link.tell(FindingKind.ROTATED, detail, last=link.report.last_seq)


def _tell_unnamed(links: list[RunLink], gone: Mapping[bytes, bytes]) -> None:
    """Tell chains of version 1 that came when none was due any more, and that no other chain names."""
    named = {each.before for each in links if each.before is not None}
    ended = {gone[digest] for digest in named if digest in gone}
    upgraded = min((each.first_log for each in links if each.run is not None), default=None)
    for link in links:
        if link.run is not None or link.end in named or link.report.chain in ended:
            continue
        rotated = None if link.device is None else link.device.rotated
        if rotated is not None and rotated.log is not None and link.first_log > rotated.log:
            detail = f"log {link.first_log}, after the rotation at log {rotated.log}, and no later chain names it"
            link.tell(FindingKind.ROTATED, detail, last=link.report.last_seq)
        elif upgraded is not None and link.first_log > upgraded:
            detail = (
                f"version 1, first in the log at {link.first_log}, after the unit's first chain of version 2 at "
                f"{upgraded}, and no other chain names it"
            )
            link.tell(FindingKind.FORKED, detail, last=link.report.last_seq)


def _tell_twins(links: list[RunLink]) -> None:
    """Tell chains of one unit that have the same number, or the same predecessor."""
    runs: defaultdict[int | None, list[RunLink]] = defaultdict(list)
    befores: defaultdict[bytes | None, list[RunLink]] = defaultdict(list)
    for link in links:
        if link.run is not None:
            runs[link.run].append(link)
        if link.before is not None:
            befores[link.before].append(link)
    for twins in (*runs.values(), *befores.values()):
        for link in twins:
            others = [each.report.chain.hex()[:8] for each in twins if each is not link]
            if others:
                is_run = twins[0].run is not None and twins[0].run == twins[-1].run
                what = f"run {link.run}" if is_run else "the same chain before it"
                link.tell(FindingKind.FORKED, f"{what}, as chain {', '.join(others[:3])}")

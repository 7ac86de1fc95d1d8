"""Every state that a power cut may leave of a spool, and what must hold after it.

A scenario runs the real `FileSpool` of both daemons on a `SimulatedDisk`. After each step of the disk, every state that
a power cut may leave is taken; from each, both daemons recover, in either order, and every step of the recovery is cut
in the same way, until no new state appears. A `Ledger` says what is owed for each envelope at that moment:

| duty | begun by | a power cut may leave it |
|---|---|---|
| unsure | a put that has not returned | whole in pending, or nowhere |
| held | a put that returned | whole in pending |
| let go | a shred, with proof, that has not returned | as unsure |
| early | a shred, with proof, of a put that has not returned | as unsure |
| anew | a put of what was erased | as unsure |
| expiring | an expiry that has not returned | as unsure, but nowhere only with its tombstone in pending |
| erased | a shred or expiry that returned | nowhere, and overwritten |
| again | a put of what is being let go | as unsure |
| leaving | a quarantine that has not returned | whole in pending, in quarantine or in both |
| aside | a quarantine that returned | whole in quarantine, with its reason |
| returning | a release that has not returned | as leaving |
| contested | a quarantine and an expiry at once | any of these |

On a disk without links, what is leaving or returning may also be nowhere after a power cut, and an odd name too.

After recovery, besides: incoming and shredding are empty; whatever is pending is whole and can be put again, shredded
and set aside; nothing proven has left its content behind; no reason is left without what it is for; and all of it is
durable, so that recovering again changes nothing.

And at every moment, before a recovery and after it, the spool tells which envelope was accepted last, so that the next
chain names it. Until its put returns or it is sent, an envelope is accepted or not as it lies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import PlatesealError, SpoolError
from agent.records import Envelope, Link, Shredded, SpoolState
from agent.spool.newest import parse_mark
from agent.spool.reader import is_id
from agent.spool.spool import FileSpool
from agent.wire.envelope import sign_tombstone
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import make_chain, next_position
from tests.fakes.reads import NOON
from tests.fakes.receipts import proof
from tests.faults.simulated_disk import Image, SimulatedDisk

SPOOL: Final = Path("/spool")
ROOM: Final = 1 << 22
KEY: Final = Ed25519PrivateKey.generate()
_OLDER: Final = make_chain(KEY, 1, run=0)[0]
BEFORE: Final = Link(0, 0, _OLDER.position.chain, _OLDER.digest)
"""The last link of the chain before, which the unit had noted at its start."""
READS: Final = make_chain(KEY, 8, run=1, before=_OLDER)
ODD_NAMES: Final = {"A" * 64: b"upper case", ".nfs0001": b"odd"}
REASON_SUFFIX: Final = ".reason"


class Duty(StrEnum):
    """What is owed for one envelope; see the module's table."""

    UNSURE = "unsure"
    HELD = "held"
    LET_GO = "let go"
    EARLY = "early"
    EXPIRING = "expiring"
    ERASED = "erased"
    AGAIN = "again"
    ANEW = "anew"
    LEAVING = "leaving"
    ASIDE = "aside"
    RETURNING = "returning"
    CONTESTED = "contested"


_NOWHERE: Final = ""
_PENDING: Final = "p"
_ASIDE: Final = "q"
_BOTH: Final = "pq"
_ENDING: Final = (Duty.LET_GO, Duty.EARLY, Duty.EXPIRING)
_MAY_LIE: Final = {
    Duty.UNSURE: {_NOWHERE, _PENDING},
    Duty.HELD: {_PENDING},
    Duty.LET_GO: {_NOWHERE, _PENDING},
    Duty.EARLY: {_NOWHERE, _PENDING},
    Duty.EXPIRING: {_NOWHERE, _PENDING},
    Duty.ERASED: {_NOWHERE},
    Duty.AGAIN: {_NOWHERE, _PENDING},
    Duty.ANEW: {_NOWHERE, _PENDING},
    Duty.LEAVING: {_PENDING, _ASIDE, _BOTH},
    Duty.ASIDE: {_ASIDE},
    Duty.RETURNING: {_PENDING, _ASIDE, _BOTH},
    Duty.CONTESTED: {_NOWHERE, _PENDING, _ASIDE, _BOTH},
}

_SURELY_ACCEPTED: Final = frozenset(Duty) - {Duty.UNSURE}
_MOVING: Final = frozenset({Duty.LEAVING, Duty.RETURNING})
_NOT_WITHOUT_LINKS: Final = {_NOWHERE}
"""Where a power cut may leave what is moved by a rename: both of its names may go. The spool's table says so."""

Ledger = tuple[tuple[Envelope, Duty], ...]
Act = Callable[["Unit"], None]


class KilledError(Exception):
    """A process died; the machine runs on. Not one of ours, so nobody handles it."""


class Unit:
    """Both daemons' spools on one disk, and what is owed for what was done with them."""

    def __init__(self, disk: SimulatedDisk, ledger: Ledger = ()) -> None:
        """Start nothing yet."""
        self.disk = disk
        self.duties = {envelope.envelope_id: duty for envelope, duty in ledger}
        self._envelopes = {envelope.envelope_id: envelope for envelope, _ in ledger}
        self._erasing: Counter[str] = Counter()

    @property
    def ledger(self) -> Ledger:
        """What is owed now."""
        return tuple((self._envelopes[key], duty) for key, duty in self.duties.items())

    def open_spool(self) -> FileSpool:
        """Open the spool without recovering anything."""
        return FileSpool(SPOOL, max_bytes=ROOM, files=self.disk)

    def start_capture(self) -> None:
        """Open the spool as the capture daemon does."""
        self.capture = self.open_spool()
        self.capture.recover_puts()

    def start_upload(self) -> None:
        """Open the spool as the upload daemon does."""
        self.upload = self.open_spool()
        self.upload.recover_shreds()

    def start(self, *, capture_first: bool = True) -> None:
        """Start both."""
        for begin in (
            (self.start_capture, self.start_upload) if capture_first else (self.start_upload, self.start_capture)
        ):
            begin()

    def put(self, envelope: Envelope) -> None:
        """Put it; accepted on return."""
        match self.duties.get(envelope.envelope_id):
            case None:
                self._owe(envelope, Duty.UNSURE)
            case Duty.ERASED:
                self._owe(envelope, Duty.ANEW)
            case Duty.LET_GO | Duty.EARLY | Duty.EXPIRING:
                self._owe(envelope, Duty.AGAIN)
        self.capture.put(envelope)
        if self.duties[envelope.envelope_id] in (Duty.UNSURE, Duty.ANEW):
            self._owe(envelope, Duty.HELD)

    def shred(self, *envelopes: Envelope) -> None:
        """Send them, and shred them with proof."""
        self.upload.keep_pending()
        self._erase(envelopes, Duty.LET_GO, lambda: self.upload.shred(*(proof(envelope) for envelope in envelopes)))

    def expire(self, tombstone: Envelope, *envelopes: Envelope) -> None:
        """Put a tombstone for them, then let them go."""
        self.put(tombstone)
        self.let_go(tombstone, *envelopes)

    def let_go(self, tombstone: Envelope, *envelopes: Envelope) -> None:
        """Let them go on a tombstone that was put before, perhaps by a process that was killed."""
        ids = [envelope.envelope_id for envelope in envelopes]
        self._erase(envelopes, Duty.EXPIRING, lambda: self.capture.expire(tombstone, ids))

    def quarantine(self, envelope: Envelope) -> None:
        """Set it aside."""
        contested = self.duties[envelope.envelope_id] in (*_ENDING, Duty.ERASED, Duty.CONTESTED)
        self._owe(envelope, Duty.CONTESTED if contested else Duty.LEAVING)
        self.upload.quarantine(envelope.envelope_id, reason="refused")
        if self.duties[envelope.envelope_id] is Duty.LEAVING:
            self._owe(envelope, Duty.ASIDE)

    def release(self, envelope: Envelope) -> None:
        """Bring it back from quarantine."""
        self._owe(envelope, Duty.RETURNING)
        self.upload.release(envelope.envelope_id)
        self._owe(envelope, Duty.HELD)

    def shows(self, envelope: Envelope) -> bool:
        """Whether a running system sees it in pending."""
        return _lies(self.disk.shown(), SpoolState.PENDING, envelope)

    def _erase(self, envelopes: Sequence[Envelope], duty: Duty, act: Callable[[], object]) -> None:
        for envelope in envelopes:
            before = self.duties[envelope.envelope_id]
            if before in (Duty.LEAVING, Duty.ASIDE, Duty.CONTESTED):
                self._owe(envelope, Duty.CONTESTED)
            elif before is Duty.UNSURE and duty is Duty.LET_GO:
                self._owe(envelope, Duty.EARLY)
            elif before not in (Duty.LET_GO, Duty.EARLY):  # a proof needs no tombstone
                self._owe(envelope, duty)
            self._erasing[envelope.envelope_id] += 1
        shredded = act()
        kept = shredded.kept if isinstance(shredded, Shredded) else {}  # by a disk that refuses one file alone
        for envelope in envelopes:
            self._erasing[envelope.envelope_id] -= 1
            if envelope.envelope_id in kept:
                continue
            if not self._erasing[envelope.envelope_id] and self.duties[envelope.envelope_id] in _ENDING:
                self._owe(envelope, Duty.ERASED)

    def _owe(self, envelope: Envelope, duty: Duty) -> None:
        self._envelopes[envelope.envelope_id] = envelope
        self.duties[envelope.envelope_id] = duty


def tombstone_for(*envelopes: Envelope) -> Envelope:
    """Return a tombstone for consecutive envelopes of one chain."""
    position = envelopes[0].position
    gone = Gone(position.chain, position.seq, envelopes[-1].position.seq, envelopes[-1].digest)
    body = Tombstone(LossReason.EXPIRED, len(envelopes), NOON, NOON, (gone,))
    return sign_tombstone(body, KEY, next_position(READS[-1]))


@dataclass(frozen=True, slots=True)
class Scenario:
    """What is done, and with what before it.

    Attributes:
        name: For a person.
        given: Done first, and durable when the rest begins.
        acts: Done with a power cut after every step.
        odd: Names that cannot be envelopes, in pending from the start.
        links: Whether the disk has links; without them files are renamed.
    """

    name: str
    given: tuple[Act, ...]
    acts: tuple[Act, ...]
    odd: tuple[str, ...] = ()
    links: bool = True


@dataclass(frozen=True, slots=True)
class Violation:
    """One promise broken.

    Attributes:
        kind: lost, false accept, stuck, not erased or unnamed.
        where: The scenario and the step after which the power was cut.
        what: What was found.
    """

    kind: str
    where: str
    what: str


@dataclass(slots=True)
class Census:
    """Counts distinct crash states over scenarios; each is recovered from and checked once.

    Attributes:
        states: Distinct pairs of what is owed and what the power cut left.
        recoveries: Recoveries run.
        steps: Disk steps after which the power was cut, those of recoveries included.
        deepest: Most power cuts in a row.
        violations: Of each (kind, scenario and step) the first.
    """

    states: int = 0
    recoveries: int = 0
    steps: int = 0
    deepest: int = 0
    violations: dict[tuple[str, str], Violation] = field(default_factory=dict)
    _seen: set[int] = field(default_factory=set)
    _enumerated: set[int] = field(default_factory=set)
    _moment: tuple[SimulatedDisk, int, Ledger] | None = None
    _sound: set[int] = field(default_factory=set)
    _todo: list[_Cut] = field(default_factory=list)

    def run(self, scenario: Scenario) -> None:
        """Run a scenario and follow every power cut in it, and in the recoveries from it, to the end."""
        unit = settled(scenario)
        unit.disk.watch = lambda step, done: self._take(unit.disk, unit.ledger, f"{scenario.name}: {step}", 1, done)
        for act in scenario.acts:
            act(unit)
            self._take(unit.disk, unit.ledger, f"{scenario.name}: returned", 1, True)
            self._check_abandoned(unit.disk, unit.ledger, scenario.name)
        unit.disk.watch = _ignore
        while self._todo:
            self._recover(self._todo.pop())

    def _take(self, disk: SimulatedDisk, ledger: Ledger, where: str, depth: int, done: bool) -> None:
        moment = (disk, disk.changes, ledger)
        if not done or moment == self._moment:
            return
        self._moment = moment
        self.steps += 1
        key = hash((_key(ledger), disk.doubts()))
        if key not in self._enumerated:
            self._enumerated.add(key)
            for image in disk.power_cuts():
                self._add(_Cut(image, ledger, where, depth))

    def _add(self, cut: _Cut) -> None:
        key = hash((_key(cut.ledger), cut.image))
        if key not in self._seen:
            self._seen.add(key)
            self.states += 1
            self.deepest = max(self.deepest, cut.depth)
            self._todo.append(cut)

    def _recover(self, cut: _Cut) -> None:
        for kind, what in _unnamed(cut.image, cut.ledger):
            self._broken(kind, cut.where, what)
        for capture_first in (True, False):
            self.recoveries += 1
            disk = SimulatedDisk(cut.image)
            where = cut.where if cut.depth == 1 else f"{cut.where} (and {cut.depth - 1} more)"
            disk.watch = self._watch(disk, cut)
            try:
                Unit(disk).start(capture_first=capture_first)
            except PlatesealError as error:
                self._broken("stuck", where, f"recovery ended: {error}")
                continue
            self._check_abandoned(disk, cut.ledger, where)
            final = disk.shown()
            if disk.in_doubt:
                self._broken("stuck", where, f"recovery ended with {disk.in_doubt} not durable")
            for content in _odd(cut.image) - _odd(final) if cut.image.links else ():
                self._broken("lost", where, f"{len(content)} bytes under an odd name are gone")
            key = hash((_key(cut.ledger), final))
            if key not in self._sound:
                self._sound.add(key)
                for kind, what in (*_unnamed(final, cut.ledger), *faults_of(final, cut.ledger)):
                    self._broken(kind, where, what)

    def _watch(self, disk: SimulatedDisk, cut: _Cut) -> Callable[[str, bool], None]:
        return lambda _step, done: self._take(disk, cut.ledger, cut.where, cut.depth + 1, done)

    def _check_abandoned(self, disk: SimulatedDisk, ledger: Ledger, where: str) -> None:
        proven = {envelope.data for envelope, duty in ledger if duty in (*_ENDING, Duty.ERASED)}
        for path, content in disk.abandoned:
            if content in proven and f"{SPOOL}/incoming/" not in path:
                self._broken("not erased", where, f"{path} was removed before it was overwritten")

    def _broken(self, kind: str, where: str, what: str) -> None:
        self.violations.setdefault((kind, where), Violation(kind, where, what))


@dataclass(frozen=True, slots=True)
class _Cut:
    image: Image
    ledger: Ledger
    where: str
    depth: int


def _key(ledger: Ledger) -> tuple[tuple[str, Duty], ...]:
    return tuple((envelope.envelope_id, duty) for envelope, duty in ledger)


def _odd(image: Image) -> set[bytes]:
    """Return the contents in pending and quarantine that are neither an envelope's nor a reason."""
    return {
        content
        for path, _, content in image.files
        if path.startswith((f"{SPOOL}/pending/", f"{SPOOL}/quarantine/"))
        and not path.endswith(REASON_SUFFIX)
        and not is_id(path.rpartition("/")[2])
    }


def settled(scenario: Scenario) -> Unit:
    """Return a unit that has done what a scenario begins with, all of it durable."""
    unit = Unit(SimulatedDisk(Image(("/",), (), scenario.links)))
    if scenario.given:
        unit.start()
        for act in scenario.given:
            act(unit)
        unit = Unit(SimulatedDisk(unit.disk.shown()), unit.ledger)
        unit.start()
        for name in scenario.odd:
            unit.disk.create(SPOOL / "pending" / name, ODD_NAMES[name])
            unit.disk.sync_dir(SPOOL / "pending")
    return unit


def faults_of(image: Image, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Yield (kind, what) for every promise that a recovered spool breaks."""
    yield from _misplaced(image, ledger)
    for path, _, _ in image.files:
        is_mark = parse_mark(path.rpartition("/")[2]) is not None
        if path.startswith((f"{SPOOL}/incoming/", f"{SPOOL}/shredding/")) and not is_mark:
            yield "stuck", f"{path} is left after recovery"
        if path.endswith(REASON_SUFFIX) and all(each != path.removesuffix(REASON_SUFFIX) for each, _, _ in image.files):
            yield "stuck", f"{path} is left without what it is for"
    disk = SimulatedDisk(image)
    Unit(disk).start()
    if disk.shown() != image:
        yield "stuck", "a second recovery changes what the first one left"
    yield from _unusable(image, ledger)


def _unnamed(image: Image, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Yield a fault if the next chain would not name the envelope that was accepted last."""
    doubtful = frozenset() if image.links else _MOVING
    sure = _SURELY_ACCEPTED - doubtful
    last = max((_link(envelope) for envelope, duty in ledger if duty in sure), default=BEFORE)
    perhaps = {_link(envelope) for envelope, _ in ledger if _lies(image, SpoolState.PENDING, envelope)}
    least = max(last, *perhaps) if perhaps else last
    allowed = {last, *perhaps, *(_link(envelope) for envelope, duty in ledger if duty in doubtful)}
    newest = Unit(SimulatedDisk(image)).open_spool().newest() or BEFORE
    if newest not in allowed or newest < least:
        yield "unnamed", f"the next chain would name {newest.run}/{newest.seq}, and {last.run}/{last.seq} was the last"


def _link(envelope: Envelope) -> Link:
    link = Link.at(envelope.position, envelope.digest)
    assert link is not None
    return link


def _misplaced(image: Image, ledger: Ledger) -> Iterator[tuple[str, str]]:
    contents = {path: content for path, _, content in image.files}
    spool = Unit(SimulatedDisk(image)).open_spool()
    known = {envelope.envelope_id: envelope for envelope, _ in ledger}
    for entry in spool.entries(SpoolState.PENDING, limit=1000):
        try:
            envelope = spool.get(entry.envelope_id)
        except PlatesealError as error:
            yield "stuck", f"pending {entry.envelope_id[:16]} is not whole: {error}"
            continue
        if known.get(entry.envelope_id) != envelope:
            yield "false accept", f"pending {entry.envelope_id[:16]} was handed out with other bytes"
    for envelope, duty in ledger:
        may_lie = _MAY_LIE[duty] | (_NOT_WITHOUT_LINKS if not image.links and duty in _MOVING else set())
        whole = [contents.get(f"{SPOOL}/{state}/{envelope.envelope_id}") == envelope.data for state in SpoolState]
        lies = (_PENDING if whole[0] else "") + (_ASIDE if whole[1] else "")
        if lies not in may_lie:
            kind = "lost" if not lies else "not erased" if duty is Duty.ERASED else "false accept"
            yield kind, f"{duty} {envelope.envelope_id[:16]} lies in {lies or 'nothing'}"
        if duty is Duty.EXPIRING and not lies and not _is_told_of(envelope, image, ledger):
            yield "lost", f"expired {envelope.envelope_id[:16]} is gone, and so is its tombstone"
        if duty is Duty.ASIDE and f"{SPOOL}/quarantine/{envelope.envelope_id}{REASON_SUFFIX}" not in contents:
            yield "lost", f"{envelope.envelope_id[:16]} was set aside without its reason"


def _is_told_of(envelope: Envelope, image: Image, ledger: Ledger) -> bool:
    """Whether a tombstone that covers it is there."""
    at = envelope.position
    tombstones = [each for each, _ in ledger if each.tombstone and each.tombstone.covers(at.chain, at.seq)]
    return any(_lies(image, SpoolState.PENDING, each) for each in tombstones)


def _unusable(image: Image, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Do with a recovered spool whatever a unit does next."""
    pending = [envelope for envelope, _ in ledger if _lies(image, SpoolState.PENDING, envelope)]
    for name, act in (
        ("put again", lambda unit: [unit.put(envelope) for envelope in pending]),
        ("shred", lambda unit: unit.shred(*pending)),
        ("quarantine", lambda unit: [unit.quarantine(envelope) for envelope in pending]),
    ):
        disk = SimulatedDisk(image)
        unit = Unit(disk, ledger)
        unit.start()
        try:
            act(unit)
        except SpoolError as error:
            yield "stuck", f"{name}: {error}"
        left = disk.shown()
        if name == "put again" and left != image:
            yield "stuck", f"{name} changes the spool"
        if name == "shred":
            for envelope in pending:
                where = [path for path, _, content in left.files if content == envelope.data]
                if any(not path.startswith(f"{SPOOL}/quarantine/") for path in where):
                    yield "not erased", f"{name} leaves {where}"
    yield from _refused_anew(image, ledger)


def _refused_anew(image: Image, ledger: Ledger) -> Iterator[tuple[str, str]]:
    """Put again what a cut may have left nothing of."""
    unit = Unit(SimulatedDisk(image), ledger)
    unit.start()
    for envelope, duty in ledger:
        if duty in (Duty.UNSURE, Duty.ANEW, *_ENDING) and not _lies(image, SpoolState.PENDING, envelope):
            try:
                unit.put(envelope)
            except SpoolError as error:
                yield "stuck", f"put anew: {error}"


def _lies(image: Image, state: SpoolState, envelope: Envelope) -> bool:
    path = f"{SPOOL}/{state}/{envelope.envelope_id}"
    return any(each == path and content == envelope.data for each, _, content in image.files)


def _ignore(_step: str, _done: bool) -> None:
    """Watch nothing."""

"""What the daemons do with a spool while the power is cut: every act alone, interrupted, and both daemons at once.

`scenarios` puts them together; interruptions come at every step of the disk, found by a dry run.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

from agent.errors import PlatesealError, SpoolError
from agent.records import Envelope
from tests.faults.crash_model import ODD_NAMES, READS, Act, KilledError, Scenario, Unit, settled, tombstone_for

_SHARE = ("first start", "put", "shred together", "expire", "quarantine", "release", "odd names")
_STRIDE = 37


def put(*envelopes: Envelope) -> Act:
    """Put one after the other."""

    def act(unit: Unit) -> None:
        for envelope in envelopes:
            unit.put(envelope)

    return act


def shred(*envelopes: Envelope) -> Act:
    """Shred together."""
    return lambda unit: unit.shred(*envelopes)


def in_turn(*acts: Act) -> Act:
    """Do one after the other, as one act."""

    def act(unit: Unit) -> None:
        for each in acts:
            each(unit)

    return act


def shred_shown(*envelopes: Envelope) -> Act:
    """Shred together those of them that are in pending by now, durably or not: they may have been delivered."""
    return lambda unit: unit.shred(*(envelope for envelope in envelopes if unit.shows(envelope)))


def expire(*envelopes: Envelope) -> Act:
    """Put a tombstone, then let them go."""
    tombstone = tombstone_for(*envelopes)
    return lambda unit: unit.expire(tombstone, *envelopes)


def quarantine(*envelopes: Envelope) -> Act:
    """Set aside one after the other."""

    def act(unit: Unit) -> None:
        for envelope in envelopes:
            unit.quarantine(envelope)

    return act


def release(envelope: Envelope) -> Act:
    """Bring back from quarantine."""
    return lambda unit: unit.release(envelope)


def start(unit: Unit) -> None:
    """Start both daemons."""
    unit.start()


def start_capture(unit: Unit) -> None:
    """Start the capture daemon anew, while upload runs on."""
    unit.start_capture()


def start_upload(unit: Unit) -> None:
    """Start the upload daemon anew, while capture runs on."""
    unit.start_upload()


def killed(act: Act, *, after: int) -> Act:
    """Kill the process that acts after so many steps of it."""

    def die() -> None:
        raise KilledError

    def cut_short(unit: Unit) -> None:
        try:
            _at_step(unit, after, die, lambda: act(unit))
        except KilledError:
            return

    return cut_short


def meanwhile(act: Act, other: Act, *, after: int) -> Act:
    """Let the other daemon do something whole after so many steps of an act; its trouble is not the act's."""

    def interleave(unit: Unit) -> None:
        def intrude() -> None:
            try:
                other(unit)
            except PlatesealError:
                return

        try:
            _at_step(unit, after, intrude, lambda: act(unit))
        except PlatesealError:
            return

    return interleave


def failing(act: Act, *, at: int, error: int, late: bool, lasting: bool = False) -> Act:
    """Let the disk refuse one step of an act.

    Args:
        act: What is done.
        at: Which step, from 0; looks at the disk count unless `late`, for which only changes do.
        error: The errno.
        late: The step took effect before it was reported as failed.
        lasting: Every later step of the act is refused too.
    """

    def refused(unit: Unit) -> None:
        outer = unit.disk.watch
        steps = 0

        def watch(step: str, done: bool) -> None:
            nonlocal steps
            outer(step, done)
            if done is late:
                steps += 1
                if steps == at + 1 or (lasting and steps > at):
                    raise OSError(error, os.strerror(error))

        unit.disk.watch = watch
        try:
            act(unit)
        except SpoolError:
            return
        finally:
            unit.disk.watch = outer

    return refused


def calls_of(given: tuple[Act, ...], act: Act) -> int:
    """Count the steps that an act takes, looks at the disk included."""
    unit = settled(Scenario("dry run", given, ()))
    calls = 0

    def watch(_step: str, done: bool) -> None:
        nonlocal calls
        calls += not done

    unit.disk.watch = watch
    act(unit)
    return calls


def steps_of(given: tuple[Act, ...], act: Act, *, odd: tuple[str, ...] = (), links: bool = True) -> int:
    """Count the steps that an act takes."""
    unit = settled(Scenario("dry run", given, (), odd, links=links))
    before = unit.disk.changes
    act(unit)
    return unit.disk.changes - before


def scenarios(reads: int) -> Iterator[Scenario]:
    """Yield every scenario; those of several reads have up to `reads` of them."""
    several = tuple(READS[:reads])
    one, two = (READS[0],), tuple(READS[:2])
    yield Scenario("first start", (), (start, put(*two)))
    yield from _alone(several, two)
    for given, act, again, what in (
        ((put(),), put(*two), (start_capture, put(*two)), "put"),
        ((put(*two),), shred(*two), (start_upload,), "shred"),
        ((put(*two),), expire(*two), (start_upload, start_capture), "expire"),
        ((put(*two),), quarantine(*two), (start_upload,), "quarantine"),
    ):
        for after in range(1, steps_of(given, act)):
            cut = killed(act, after=after)
            yield Scenario(f"{what} killed after {after}", given, (cut, *again))
            for second in range(1, steps_of((*given, cut), again[0])):
                yield Scenario(f"{what} killed twice", given, (cut, killed(again[0], after=second), start))
    yield from _on_a_doubtful_tombstone(two)
    yield from _together(one, two)
    yield from _without_links(two)


def share() -> list[Scenario]:
    """Return a share of the scenarios that takes seconds: the single acts, and an interruption of each kind."""
    every = list(scenarios(1))
    interrupted = [each for each in every if "after" in each.name]
    whole = [each for each in every if each.name in _SHARE or each.name.endswith(("without links",))]
    return whole + [each for each in every if "tombstone killed" in each.name] + interrupted[::_STRIDE]


def _alone(several: tuple[Envelope, ...], two: tuple[Envelope, ...]) -> Iterator[Scenario]:
    yield Scenario("put", (put(),), (put(*several),))
    yield Scenario("put twice", (put(),), (put(*two), put(*two), start_capture, put(*two)))
    yield Scenario("shred one by one", (put(*several),), tuple(shred(each) for each in several))
    yield Scenario("shred together", (put(*several),), (shred(*several),))
    few = several[:3]
    yield Scenario("put, then shred", (put(),), (put(*few), shred(*few), put(READS[-1])))
    yield Scenario("put what was shredded", (put(*two),), (shred(*two), put(*two)))
    yield Scenario("expire", (put(*several),), (expire(*(several[:-1] or several)),))
    yield Scenario("quarantine", (put(*several),), (quarantine(*several),))
    yield Scenario("put, then quarantine", (put(),), (put(*two), quarantine(two[0]), shred(two[1])))
    yield Scenario("release", (put(*two), quarantine(*two)), (release(two[0]), shred(two[0]), release(two[1])))
    yield Scenario("odd names", (put(two[0]),), (start, shred(two[0])), odd=tuple(ODD_NAMES)[: len(several)])


def _without_links(two: tuple[Envelope, ...]) -> Iterator[Scenario]:
    """The acts that give second names, on a disk that has none (vfat, exFAT), whole and killed after each step."""
    acts: tuple[tuple[str, tuple[Act, ...], Act, tuple[str, ...]], ...] = (
        ("shred", (put(*two),), shred(*two), ()),
        ("shred one by one", (put(*two),), in_turn(*(shred(each) for each in two)), ()),
        ("quarantine", (put(*two),), quarantine(*two), ()),
        ("release", (put(*two), quarantine(*two)), in_turn(release(two[0]), shred(two[0]), release(two[1])), ()),
        ("odd names", (put(two[0]),), start, tuple(ODD_NAMES)[:1]),
    )
    for what, given, act, odd in acts:
        yield Scenario(f"{what} without links", given, (act,), odd, links=False)
        for after in range(1, steps_of(given, act, odd=odd, links=False)):
            cut = (killed(act, after=after), start)
            yield Scenario(f"{what} without links, killed after {after}", given, cut, odd, links=False)


def _on_a_doubtful_tombstone(two: tuple[Envelope, ...]) -> Iterator[Scenario]:
    """A tombstone that shows after its put was killed: reads go on it only once it is durable."""
    tombstone = tombstone_for(*two)
    given = (put(*two),)

    def let_go(unit: Unit) -> None:
        with suppress(SpoolError):  # it does not show
            unit.let_go(tombstone, *two)

    for after in range(1, steps_of(given, put(tombstone))):
        acts = (killed(put(tombstone), after=after), start_capture, let_go)
        yield Scenario(f"expire on a tombstone killed after {after}", given, acts)


def _together(one: tuple[Envelope, ...], two: tuple[Envelope, ...]) -> Iterator[Scenario]:
    new = READS[-1]
    other = READS[-2]
    pairs: tuple[tuple[str, Act, Act], ...] = (
        ("put while shredding", shred(*two), put(new)),
        ("shred while putting", put(new), shred(*two)),
        ("shred what is being put", put(new, other), shred_shown(new, other)),
        ("quarantine while putting", put(new), quarantine(*one)),
        ("put again while shredding", shred(*two), put(*two)),
        ("expire while shredding", shred(*two), expire(*two)),
        ("shred while expiring", expire(*two), shred(*two)),
        ("expire while setting aside", quarantine(*one), expire(*one)),
        ("set aside while expiring", expire(*one), quarantine(*one)),
        ("capture starts while upload shreds", shred(*two), start_capture),
        ("upload starts while capture expires", expire(*two), start_upload),
        ("upload starts while capture puts", put(new), start_upload),
    )
    for what, act, intruder in pairs:
        for after in range(1, steps_of((put(*two),), act)):
            yield Scenario(f"{what}, after {after}", (put(*two),), (meanwhile(act, intruder, after=after),))


def _at_step(unit: Unit, after: int, do: Callable[[], None], act: Callable[[], None]) -> None:
    """Act, and do something else once between two of its steps; what it does is watched as before."""
    outer = unit.disk.watch
    steps = 0

    def watch(step: str, done: bool) -> None:
        nonlocal steps
        outer(step, done)
        steps += done
        if done and steps == after:
            unit.disk.watch = outer
            try:
                do()
            finally:
                unit.disk.watch = watch

    unit.disk.watch = watch
    try:
        act()
    finally:
        unit.disk.watch = outer


_TWO = READS[:2]
ACTS: Final[dict[str, tuple[tuple[Act, ...], Act]]] = {
    "put": ((put(),), put(READS[0])),
    "shred": ((put(*_TWO),), shred(*_TWO)),
    "expire": ((put(*_TWO),), expire(_TWO[0])),
    "quarantine": ((put(*_TWO),), quarantine(_TWO[0])),
    "release": ((put(*_TWO), quarantine(_TWO[0])), release(_TWO[0])),
    "start": ((put(*_TWO),), start),
}
"""By name: what comes first, and an act of which any step may be refused."""

"""Two machines with one key are seen as their reads come in; one machine never is, in whatever order its reads come."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.receiver.admission.devices import DeviceBook
from agent.receiver.fleet.overview import assess_fleet
from agent.receiver.fleet.store import FleetStore
from agent.receiver.intake.counts import Counts
from agent.receiver.intake.decide import Intake
from agent.receiver.intake.verification import verify_store
from agent.receiver.ports import Forked
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import Envelope
from agent.wire.header import ChainPosition
from agent.wire.protocol import Refused, Stored
from tests.fakes.envelopes import first_position, make_chain, make_envelope, next_position
from tests.fakes.pki import Bench, make_bench
from tests.fakes.stored import to_older_version

KEY: Final = Ed25519PrivateKey.generate()
RECEIVER: Final = Ed25519PrivateKey.generate()
AT: Final = datetime(2026, 3, 1, tzinfo=UTC)

Build = Callable[[Ed25519PrivateKey], list[Envelope]]


def go_on(key: Ed25519PrivateKey, chain: Sequence[Envelope], count: int) -> list[Envelope]:
    """Return what a machine makes that goes on with a chain."""
    made = [chain[-1]]
    for number in range(count):
        made.append(make_envelope(key, next_position(made[-1]), b"read %d" % number))
    return made[1:]


def of_version_1(key: Ed25519PrivateKey, count: int, last: Envelope) -> list[Envelope]:
    """Return a chain of version 1 after a clean stop."""
    first = make_envelope(key, replace(first_position(), last=last.digest))
    return [first, *go_on(key, [first], count - 1)]


def _restarts(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3, run=0)
    second = make_chain(key, 3, run=1, before=first[-1])
    return [*first, *second, *make_chain(key, 3, run=4, before=second[-1])]


def _a_power_cut_while_a_read_is_sent(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3, run=0)
    return [*first, *make_chain(key, 3, run=1, before=first[-2])]


def _a_power_cut_at_the_first_read(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3, run=0)
    return [*first, *make_chain(key, 1, run=1, before=first[-1]), *make_chain(key, 3, run=2, before=first[-1])]


def _an_upgrade(key: Ed25519PrivateKey) -> list[Envelope]:
    oldest = make_chain(key, 2)
    old = of_version_1(key, 3, oldest[-1])
    return [*oldest, *old, *make_chain(key, 3), *make_chain(key, 3, run=0, before=old[-1])]


def _a_change_of_keys(key: Ed25519PrivateKey) -> list[Envelope]:
    new = Ed25519PrivateKey.generate()
    old = make_chain(key, 3, run=0)
    first = make_chain(new, 3, run=1, before=old[-1])
    return [*old, *first, *make_chain(new, 2, run=2, before=first[-1])]


def _copied_while_it_stood(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3, run=0)
    return [*first, *make_chain(key, 3, run=1, before=first[-1]), *make_chain(key, 3, run=1, before=first[-1])]


def _copied_while_it_ran(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3, run=0)
    return [*first, *go_on(key, first, 3), *make_chain(key, 3, run=1, before=first[-1])]


def _copied_without_its_state(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3, run=0)
    return [*first, *make_chain(key, 3, run=1, before=first[-1]), *make_chain(key, 3, run=0)]


def _copied_and_often_started(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 2, run=0)
    clone = make_chain(key, 2, run=7, before=first[-1])
    return [*first, *go_on(key, first, 2), *clone, *make_chain(key, 2, run=8, before=clone[-1])]


def _copied_in_version_1(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3)
    return [*first, *of_version_1(key, 3, first[-1]), *of_version_1(key, 3, first[-1])]


def _copied_while_it_ran_in_version_1(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3)
    return [*first, *go_on(key, first, 3), *of_version_1(key, 3, first[-1])]


def _copied_memory_and_all(key: Ed25519PrivateKey) -> list[Envelope]:
    first = make_chain(key, 3, run=0)
    return [*first, *go_on(key, first, 2), *[make_envelope(key, next_position(first[-1]), b"of the copy")]]


HONEST: Final[tuple[Build, ...]] = (
    _restarts,
    _a_power_cut_while_a_read_is_sent,
    _a_power_cut_at_the_first_read,
    _an_upgrade,
    _a_change_of_keys,
)
CLONED: Final[tuple[Build, ...]] = (
    _copied_while_it_stood,
    _copied_while_it_ran,
    _copied_without_its_state,
    _copied_and_often_started,
    _copied_in_version_1,
    _copied_while_it_ran_in_version_1,
)


def forks_seen(envelopes: Sequence[Envelope], batch: int) -> list[str]:
    """Store envelopes in batches, and return what showed a second machine."""
    with TemporaryDirectory() as folder, SqliteStore.create(Path(folder) / "envelopes.db") as store:
        outcomes = [
            outcome
            for at in range(0, len(envelopes), batch)
            for outcome in store.store_batch(envelopes[at : at + batch], AT, RECEIVER)
        ]
    return [outcome.reason for outcome in outcomes if isinstance(outcome, Forked)]


@pytest.mark.parametrize("build", HONEST)
@settings(max_examples=40, deadline=None)
@given(order=st.randoms(use_true_random=False), batch=st.sampled_from([1, 4, 64]))
def test_one_machine_is_never_taken_for_two(build: Build, order: object, batch: int) -> None:
    """Restarts, power cuts, upgrades and changes of keys, delivered in any order, some of it twice."""
    envelopes = build(KEY)
    envelopes += envelopes[:2]
    order.shuffle(envelopes)  # type: ignore[attr-defined]  # hypothesis' own kind of `random.Random`
    assert forks_seen(envelopes, batch) == []


@pytest.mark.parametrize("build", CLONED)
@settings(max_examples=40, deadline=None)
@given(order=st.randoms(use_true_random=False), batch=st.sampled_from([1, 4, 64]))
def test_two_machines_are_seen_whatever_comes_first(build: Build, order: object, batch: int) -> None:
    """As soon as both have delivered, in any order."""
    envelopes = build(KEY)
    order.shuffle(envelopes)  # type: ignore[attr-defined]  # hypothesis' own kind of `random.Random`
    assert forks_seen(envelopes, batch) != []


@dataclass
class Receiver:
    """A receiver's intake with what it writes."""

    bench: Bench
    intake: Intake
    fleet: FleetStore
    store: SqliteStore
    counts: Counts

    def take(self, envelopes: Sequence[Envelope]) -> list[object]:
        """Answer envelopes that the bench's device sends."""
        sender = DeviceBook(self.bench.receiver.devices).by_key_id(self.bench.device.key_id)
        assert sender is not None
        return list(self.intake.take([envelope.data for envelope in envelopes], sender))


@contextmanager
def _receiver(folder: Path) -> Iterator[Receiver]:
    bench = make_bench(folder)
    counts = Counts()
    with SqliteStore.open(bench.receiver.store) as store, FleetStore(bench.receiver.fleet) as fleet:
        book = DeviceBook(bench.receiver.devices)
        intake = Intake(
            devices=book, store=store, receipt_key=bench.receipt_key, counts=counts, keep_fork=fleet.keep_fork
        )
        yield Receiver(bench, intake, fleet, store, counts)


@pytest.mark.parametrize("build", [*CLONED, _copied_memory_and_all])
def test_a_copied_key_is_told_everywhere(tmp_path: Path, caplog: pytest.LogCaptureFixture, build: Build) -> None:
    """One line in the log, the metric, the fleet page, and `verify`; what can be stored is stored."""
    with _receiver(tmp_path) as receiver, caplog.at_level(logging.ERROR):
        key = receiver.bench.device.signing_key
        answers = receiver.take(build(key))
        receiver.take(build(key))
        reports = verify_store(receiver.store, DeviceBook(receiver.bench.receiver.devices))
        seen = receiver.fleet.forks()[receiver.bench.device.key_id]
    assert sum(isinstance(answer, Refused) for answer in answers) == (build is _copied_memory_and_all)
    assert all(isinstance(answer, Stored | Refused) for answer in answers)
    assert [record.getMessage()[:25] for record in caplog.records] == ["two machines use the key "]
    assert receiver.counts.of("forks") >= 1
    if build is not _copied_memory_and_all:  # there the store has one chain; what was refused is in the unit's spool
        assert "forked" in {finding.kind for report in reports for finding in report.findings}
    (state,) = assess_fleet(["cam-1"], {}, seen.seen_at, {"cam-1": seen})
    assert state.findings[0].text.startswith("unit shares its key with another machine, seen ")


@pytest.mark.parametrize("build", HONEST[:4])
def test_an_honest_unit_is_told_nowhere(tmp_path: Path, caplog: pytest.LogCaptureFixture, build: Build) -> None:
    """No line, no count, nothing on the page."""
    with _receiver(tmp_path) as receiver, caplog.at_level(logging.WARNING):
        answers = receiver.take(build(receiver.bench.device.signing_key))
        assert receiver.fleet.forks() == {}
    assert all(isinstance(answer, Stored) for answer in answers)
    assert caplog.records == []
    assert receiver.counts.of("forks") == 0


def test_a_store_of_before_the_upgrade_learns_it(tmp_path: Path) -> None:
    """A store whose tables lack what shows forks gets it when it is opened, and sees what comes from then on."""
    path = tmp_path / "envelopes.db"
    SqliteStore.create(path).close()
    to_older_version(path, 2)
    with SqliteStore.open(path) as store:
        outcomes = store.store_batch(_copied_while_it_ran(KEY), AT, RECEIVER)
    assert any(isinstance(outcome, Forked) for outcome in outcomes)


def test_a_position_names_what_was_before_it() -> None:
    """What the comparison rests on, in both versions."""
    assert ChainPosition(bytes(16), 0, bytes(32), last=b"\x01" * 32).before == b"\x01" * 32
    assert ChainPosition(bytes(16), 0, b"\x02" * 32, run=1).before == b"\x02" * 32

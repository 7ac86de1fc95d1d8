"""What every engine of a receiver's store promises: idempotence, the rules of chains, several at work on one store."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.receiver.ports import ChainConflict, Dropped, Forked, ReceiptLost
from agent.receiver.stores.opening import Store, create_store, open_store
from agent.receiver.stores.reading import PAGE_ROWS
from agent.wire.envelope import Envelope, sign_tombstone
from agent.wire.header import DIGEST_BYTES, ChainPosition
from agent.wire.receipt import Receipt, parse_receipt
from agent.wire.tombstone import LossReason, Tombstone
from tests.fakes.envelopes import first_position, make_chain, make_envelope, next_position
from tests.fakes.object_store import place_file
from tests.fakes.receipts import RECEIVER
from tests.fakes.stored import bodies

_KEY = Ed25519PrivateKey.generate()
_AT = datetime(2026, 3, 1, 12, 0, 0, 123_000, tzinfo=UTC)
_ENDED_WITHIN_S: Final = 120.0

Opening = Callable[[], Store]
"""Opens the one store again, as another receiver or another command does."""


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.needs("postgresql")),
        pytest.param("postgresql and objects", marks=pytest.mark.needs("postgresql")),
    ]
)
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    """Return what opens an empty store, as often as it is called; all of them are closed afterwards."""
    where: Path | str = tmp_path / "envelopes.db"
    objects: Path | None = None
    if request.param != "sqlite":
        where = request.getfixturevalue("cluster").new_database()
    if request.param.endswith("objects"):
        objects = place_file(tmp_path, request.getfixturevalue("object_place"))
    create_store(where, bodies=objects)
    with ExitStack() as opened:
        yield lambda: opened.enter_context(open_store(where))


@pytest.fixture
def store(opening: Opening) -> Store:
    """Return an empty store."""
    return opening()


def _store(store: Store, batch: list[Envelope], at: datetime) -> list[Receipt | Forked | ChainConflict | ReceiptLost]:
    """Store a batch, and return what its receipts say."""
    outcomes = store.store_batch(batch, at, RECEIVER)
    return [parse_receipt(each) if isinstance(each, bytes) else each for each in outcomes]


def _reason(outcome: Receipt | Forked | ChainConflict | ReceiptLost) -> str:
    assert isinstance(outcome, ChainConflict)
    return outcome.reason


def _at_once(*works: Callable[[], None]) -> None:
    """Do several things side by side, each in a thread of its own; what one of them raises is raised here."""
    start, raised = threading.Barrier(len(works)), list[BaseException]()

    def run(work: Callable[[], None]) -> None:
        try:
            start.wait(_ENDED_WITHIN_S)
            work()
        except BaseException as error:  # noqa: BLE001  raised again below
            raised.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_ENDED_WITHIN_S)
    assert not any(thread.is_alive() for thread in threads)
    if raised:
        raise raised[0]


def test_empty_store_is_empty(store: Store) -> None:
    """A new store holds nothing, and an empty batch leaves it so."""
    assert _store(store, [], _AT) == []
    assert (store.totals().envelopes, bodies(store)) == (0, [])


def test_receipt_says_what_was_stored(store: Store) -> None:
    """The outcome of a new envelope is a receipt of exactly it, with the next log index."""
    envelope = make_envelope(_KEY)
    assert _store(store, [envelope], _AT) == [
        Receipt(
            envelope_id=envelope.envelope_id,
            length=len(envelope.data),
            device_kid=envelope.device_kid,
            chain=envelope.position.chain,
            seq=0,
            stored_at=_AT,
            log_index=1,
        )
    ]
    assert bodies(store) == [envelope.data]


def test_duplicates_get_the_first_row(store: Store) -> None:
    """The same envelope twice in a batch, and again later, is stored once and keeps time and log index."""
    envelope = make_envelope(_KEY)
    first, second = _store(store, [envelope, envelope], _AT)
    (third,) = _store(store, [envelope], _AT + timedelta(days=1))
    assert first == second == third
    assert store.totals().envelopes == 1


def test_fork_is_refused(store: Store) -> None:
    """Another envelope at a place that is taken is refused, within a batch and later."""
    position = first_position()
    one, two, three = (make_envelope(_KEY, position) for _ in range(3))
    stored, refused = _store(store, [one, two], _AT)
    assert isinstance(stored, Receipt)
    assert "fork" in _reason(refused)
    assert "fork" in _reason(_store(store, [three], _AT)[0])
    assert bodies(store) == [one.data]


def test_prev_that_is_not_the_stored_one_is_refused(store: Store) -> None:
    """With seq n-1 in the store, seq n must name it."""
    first = make_envelope(_KEY)
    _store(store, [first], _AT)
    position = ChainPosition(chain=first.position.chain, seq=1, prev=os.urandom(DIGEST_BYTES))
    assert "prev" in _reason(_store(store, [make_envelope(_KEY, position)], _AT)[0])


def test_successor_that_names_another_is_refused(store: Store) -> None:
    """With seq n+1 in the store, seq n must be the one it names."""
    genuine, after = make_chain(_KEY, 2)
    other = make_envelope(_KEY, genuine.position)
    _store(store, [after], _AT)
    assert "names another" in _reason(_store(store, [other], _AT)[0])
    assert isinstance(_store(store, [genuine], _AT)[0], Receipt)


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_a_chain_is_stored_in_any_order(store: Store, order: list[int]) -> None:
    """Gaps are allowed and fill later."""
    chain = make_chain(_KEY, 4)
    for index in order:
        assert isinstance(_store(store, [chain[index]], _AT)[0], Receipt)
    assert bodies(store) == [chain[index].data for index in order]


def test_refused_one_leaves_the_others_of_its_batch(store: Store) -> None:
    """A conflict in the middle of a batch takes nothing else with it."""
    one, two, three = make_chain(_KEY, 3)
    outcomes = _store(store, [one, make_envelope(_KEY, one.position), two, three], _AT)
    assert [isinstance(outcome, Receipt) for outcome in outcomes] == [True, False, True, True]


def test_chains_and_devices_do_not_meet(store: Store) -> None:
    """The same chain id and place of another device, or another chain, is no fork."""
    other_key = Ed25519PrivateKey.generate()
    one = make_envelope(_KEY)
    batch = [one, make_envelope(other_key, one.position), make_envelope(_KEY)]
    assert all(isinstance(outcome, Receipt) for outcome in _store(store, batch, _AT))
    assert store.totals().envelopes == len(batch)


def test_envelopes_pages_through_and_sees_what_comes_meanwhile(store: Store) -> None:
    """Iteration crosses pages in log order and goes on with what is stored while it runs."""
    chain = make_chain(_KEY, 2 * PAGE_ROWS + 2)
    _store(store, chain[:-1], _AT)
    rows = (row.body for row in store.pages())
    seen = [next(rows)]
    _store(store, chain[-1:], _AT)
    assert seen + list(rows) == [envelope.data for envelope in chain]


def test_two_writers_on_one_chain_give_one_receipt_to_each_envelope(opening: Opening) -> None:
    """Both are sent the same chain, in batches that overlap: each envelope has one entry, and the log has no gap."""
    chain = make_chain(_KEY, 48, run=0)
    stores = opening(), opening()
    answers: tuple[dict[str, bytes], dict[str, bytes]] = ({}, {})

    def deliver(number: int) -> Callable[[], None]:
        def work() -> None:
            for begin in range(0, len(chain), 6 - number):
                batch = chain[begin : begin + 8]
                for envelope, outcome in zip(batch, stores[number].store_batch(batch, _AT, RECEIVER), strict=True):
                    assert isinstance(outcome, bytes)
                    assert answers[number].setdefault(envelope.envelope_id, outcome) == outcome

        return work

    _at_once(deliver(0), deliver(1))
    assert answers[0] == answers[1]
    assert sorted(parse_receipt(each).log_index for each in answers[0].values()) == list(range(1, len(chain) + 1))
    assert [row.log for row in stores[0].pages()] == list(range(1, len(chain) + 1))


def test_of_two_envelopes_at_one_place_one_is_stored(opening: Opening) -> None:
    """Two receivers are given a fork at the same moment, many times: one of the two has a receipt, the other none."""
    places = [first_position() for _ in range(24)]
    pairs = [(make_envelope(_KEY, place), make_envelope(_KEY, place)) for place in places]
    stores = opening(), opening()
    taken: tuple[list[bool], list[bool]] = ([], [])

    def deliver(number: int) -> Callable[[], None]:
        def work() -> None:
            for pair in pairs:
                (outcome,) = stores[number].store_batch([pair[number]], _AT, RECEIVER)
                taken[number].append(isinstance(outcome, bytes))

        return work

    _at_once(deliver(0), deliver(1))
    assert [one + other for one, other in zip(*taken, strict=True)] == [1] * len(pairs)
    assert stores[1].totals().envelopes == len(pairs)


def test_who_pages_while_others_write_misses_nothing(opening: Opening) -> None:
    """A pager that goes on from the last index that it saw sees each entry once, whoever commits in between."""
    chains = [make_chain(Ed25519PrivateKey.generate(), 40) for _ in range(2)]
    reader, writers = opening(), (opening(), opening())
    seen: list[int] = []

    def deliver(number: int) -> Callable[[], None]:
        def work() -> None:
            for envelope in chains[number]:
                assert isinstance(writers[number].store_batch([envelope], _AT, RECEIVER)[0], bytes)

        return work

    def read() -> None:
        while len(seen) < 80:
            seen.extend(row.log for row in reader.pages(seen[-1] if seen else 0))

    _at_once(deliver(0), deliver(1), read)
    assert seen == list(range(1, 81))


_OLD, _NEW, _OTHER = (bytes([number]) * 32 for number in (1, 2, 3))
"""Ids of keys."""


def test_a_dropped_epoch_leaves_entries_and_receipts(store: Store) -> None:
    """The bytes are gone, the rest of the chain is there; a copy that comes late gets the receipt that it had."""
    chain = make_chain(_KEY, 5, kids=[_OLD])
    chain += [make_envelope(_KEY, next_position(chain[-1]), kids=[_NEW])]
    receipts = store.store_batch(chain, _AT, RECEIVER)
    dropped = store.drop_epochs([_OLD], _AT)
    assert [(epoch.kids, epoch.reads) for epoch in dropped.epochs] == [((_OLD,), 5)]
    assert (dropped.waiting, dropped.held) == ((), 0)
    assert [row.body for row in store.pages()] == [*[None] * 5, chain[-1].data]
    assert [row.receipt for row in store.chain_rows()] == receipts
    assert store.store_batch(chain, _AT + timedelta(days=1), RECEIVER) == receipts
    assert [row.body is None for row in store.pages()] == [True] * 5 + [False]
    totals = store.totals()
    assert (totals.envelopes, totals.dropped, totals.log_end) == (1, 5, 6)
    assert [(epoch.reads, epoch.dropped_at is None) for epoch in store.epochs()] == [(5, False), (1, True)]


@pytest.mark.parametrize("is_known", [True, False], ids=["with reads here", "never seen"])
def test_what_comes_late_for_a_dropped_key_is_answered_and_not_kept(store: Store, is_known: bool) -> None:
    """Its unit may erase it, and asked again it gets the same receipt; its neighbours in the chain are still linked."""
    chain = make_chain(_KEY, 4, kids=[_OLD])
    if is_known:
        store.store_batch(chain[:1], _AT, RECEIVER)
    store.drop_epochs([_OLD], _AT)
    receipts = store.store_batch(chain, _AT, RECEIVER)
    assert [isinstance(receipt, bytes) for receipt in receipts] == [True] * 4
    assert store.store_batch(chain, _AT + timedelta(days=1), RECEIVER) == receipts
    assert bodies(store) == []
    assert [epoch.reads for epoch in store.epochs()] == [4]
    stranger = make_envelope(_KEY, next_position(make_envelope(_KEY, chain[2].position)), kids=[_OLD])
    forked = make_envelope(_KEY, chain[1].position, kids=[_NEW])
    assert "prev" in _reason(_store(store, [stranger], _AT)[0])
    assert "fork" in _reason(_store(store, [forked], _AT)[0])


def test_what_another_key_opens_too_waits_for_that_key(store: Store) -> None:
    """Sealed to two keys, it goes when both are dropped, in whichever order and however far apart."""
    both, one = make_envelope(_KEY, kids=[_OLD, _OTHER]), make_envelope(_KEY, kids=[_OLD])
    store.store_batch([both, one], _AT, RECEIVER)
    first = store.drop_epochs([_OLD], _AT)
    assert [epoch.kids for epoch in first.epochs] == [(_OLD,)]
    assert [epoch.kids for epoch in first.waiting] == [(_OLD, _OTHER)]
    assert bodies(store) == [both.data]
    second = store.drop_epochs([_OTHER], _AT)
    assert [epoch.kids for epoch in second.epochs] == [(_OLD, _OTHER)]
    assert bodies(store) == []
    assert store.drop_epochs([_OLD, _OTHER], _AT) == Dropped((), (), 0)


def test_held_reads_stay_when_their_epoch_goes(store: Store) -> None:
    """With their bytes, their place and their receipt; through a second drop too."""
    chain = make_chain(_KEY, 6, kids=[_OLD])
    receipts = store.store_batch(chain, _AT, RECEIVER)
    held = [chain[1].digest, chain[4].digest, bytes(32)]
    dropped = store.drop_epochs([_OLD], _AT, held=held)
    assert (dropped.held, [epoch.reads for epoch in dropped.epochs]) == (2, [4])
    store.drop_epochs([_OLD, _NEW], _AT, held=held)
    assert bodies(store) == [chain[1].data, chain[4].data]
    assert store.store_batch(chain, _AT, RECEIVER) == receipts
    assert bodies(store) == [chain[1].data, chain[4].data]


def test_tombstones_are_dropped_with_no_key(store: Store) -> None:
    """They are sealed to nobody, and explain gaps for ever."""
    (read,) = make_chain(_KEY, 1, kids=[_OLD])
    tombstone = sign_tombstone(Tombstone(LossReason.OVERFLOW, 1, _AT, _AT), _KEY, next_position(read))
    store.store_batch([read, tombstone], _AT, RECEIVER)
    store.drop_epochs([_OLD], _AT)
    assert bodies(store) == [tombstone.data]


def _logs(store: Store, *kids: bytes, after: int = 0) -> list[int]:
    """Return the indices of the entries that are sealed to one of these keys."""
    return [row.log for row in store.pages(after, kids=kids)]


def test_pages_of_some_keys_are_those_that_one_of_them_opens(store: Store) -> None:
    """In the order of the log, whatever else they are sealed to; no tombstone, which is sealed to nobody."""
    sealed_to = ([_OLD], [_NEW], [_OLD, _OTHER], [_OTHER], [_NEW, _OTHER], [_OLD])
    batch = [make_envelope(_KEY, kids=kids) for kids in sealed_to]
    tombstone = sign_tombstone(Tombstone(LossReason.OVERFLOW, 1, _AT, _AT), _KEY, next_position(batch[0]))
    store.store_batch([*batch, tombstone], _AT, RECEIVER)
    assert _logs(store, _OLD) == [1, 3, 6]
    assert _logs(store, _OTHER) == [3, 4, 5]
    assert _logs(store, _OLD, _NEW, after=2) == [3, 5, 6]
    assert _logs(store, bytes(32)) == _logs(store) == []
    assert [row.body for row in store.pages(kids=[_OLD])] == [batch[number].data for number in (0, 2, 5)]


def test_pages_of_some_keys_go_on_with_what_comes_meanwhile(store: Store) -> None:
    """Over page boundaries too, and where a combination of keys is new since the first page."""
    chain = [envelope for _ in range(PAGE_ROWS + 2) for envelope in make_chain(_KEY, 2, kids=[_OLD])]
    mixed = [make_envelope(_KEY, kids=[_NEW]) for _ in chain]
    _store(store, [envelope for pair in zip(chain, mixed, strict=True) for envelope in pair], _AT)
    rows = store.pages(kids=[_OLD])
    seen = [next(rows).body]
    late = make_envelope(_KEY, kids=[_OLD, _OTHER])
    _store(store, [make_envelope(_KEY, kids=[_NEW]), late], _AT)
    seen += [row.body for row in rows]
    assert seen == [envelope.data for envelope in (*chain, late)]


def test_pages_of_a_dropped_key_have_no_bytes_but_those_of_held_reads(store: Store) -> None:
    """A held read comes with its own epoch, and with no other one."""
    chain = make_chain(_KEY, 3, kids=[_OLD])
    _store(store, [*chain, make_envelope(_KEY, kids=[_NEW])], _AT)
    store.drop_epochs([_OLD], _AT, held=[chain[1].digest])
    assert [row.body for row in store.pages(kids=[_OLD])] == [None, chain[1].data, None]
    assert _logs(store, _NEW) == [4]


def test_epochs_are_dropped_while_others_write_and_read(opening: Opening) -> None:
    """Writers get their receipts, a reader sees each entry whole or dropped, and in the end the epoch is gone."""
    chains = [make_chain(Ed25519PrivateKey.generate(), 40, kids=[kid]) for kid in (_OLD, _NEW)]
    reader, dropper, writers = opening(), opening(), (opening(), opening())
    whole = {envelope.data for chain in chains for envelope in chain}
    done, seen = threading.Event(), list[bytes | None]()

    def deliver(number: int) -> Callable[[], None]:
        def work() -> None:
            for begin in range(0, 40, 4):
                outcomes = writers[number].store_batch(chains[number][begin : begin + 4], _AT, RECEIVER)
                assert all(isinstance(outcome, bytes) for outcome in outcomes)

        return work

    def read() -> None:
        while not done.is_set():
            seen.extend(row.body for row in reader.pages())

    def drop() -> None:
        try:
            while not any(epoch.kids == (_OLD,) for epoch in dropper.epochs()):
                pass
            dropper.drop_epochs([_OLD], _AT)
            assert [epoch.kids for epoch in dropper.epochs() if epoch.dropped_at is not None] == [(_OLD,)]
        finally:
            done.set()

    _at_once(deliver(0), deliver(1), read, drop)
    assert seen
    assert {body for body in seen if body is not None} <= whole
    assert sorted(bodies(reader)) == sorted(envelope.data for envelope in chains[1])
    assert (reader.totals().envelopes, reader.totals().dropped) == (40, 40)


def test_a_chain_is_read_behind_a_place(store: Store) -> None:
    """In order of its sequence numbers, whatever the order in which it came; over more than a page; with the bytes."""
    chain = make_chain(_KEY, PAGE_ROWS + 3, run=0)
    other = make_chain(_KEY, 2, run=1, before=chain[-1])
    _store(store, [*other, *chain[::-1]], _AT)
    device, name = chain[0].device_kid, chain[0].position.chain
    assert [row.body for row in store.rows_of(device, name)] == [each.data for each in chain]
    assert [row.seq for row in store.rows_of(device, name, PAGE_ROWS)] == [PAGE_ROWS + 1, PAGE_ROWS + 2]
    assert list(store.rows_of(device, bytes(16))) == []


def test_entries_are_outlined_without_their_envelopes(store: Store) -> None:
    """Up to an index of the log, with what their rows say, the kept receipt, and whether the bytes were dropped."""
    dropped = make_chain(_KEY, 2, run=0, kids=[bytes(DIGEST_BYTES)])
    kept = make_chain(_KEY, 3, run=1, before=dropped[-1])
    _store(store, [*dropped, *kept], _AT)
    store.drop_epochs([bytes(DIGEST_BYTES)], _AT)
    entries = list(store.outlines(4))
    assert [(entry.log, entry.is_dropped) for entry in entries] == [(1, True), (2, True), (3, False), (4, False)]
    for entry in entries:
        row = store.get(entry.log)
        assert row is not None
        said = row.id, row.device, row.chain, row.seq, row.prev, row.length, row.stored_at_ms, row.receipt
        assert entry[1:-1] == said
    assert (store.receipts_up_to(4), store.receipts_up_to(99)) == (4, 5)


def test_the_log_is_read_behind_an_index(store: Store) -> None:
    """Each entry once."""
    _store(store, make_chain(_KEY, 4, run=0), _AT)
    assert [entry.log for entry in store.log(2)] == [3, 4]

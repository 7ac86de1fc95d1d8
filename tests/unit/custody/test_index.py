"""The index of a store: a search finds with it what it finds without, whatever has become of either."""

from __future__ import annotations

import multiprocessing
import os
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.custody import index_answers, indexing
from agent.custody.access import hold_reads, load_keys, open_reads
from agent.custody.audit import read_audit
from agent.custody.destroy import destroy, plan_destruction
from agent.custody.index_scan import encode_texts, rows_that_may_fit
from agent.custody.indexed import index_files
from agent.custody.indexing import make_index
from agent.custody.next_keyring import key_history
from agent.custody.owner import Owner, unlock_owner
from agent.custody.plates import PlatePattern, parse_pattern
from agent.custody.search import Query, Tally
from agent.wire import cose
from agent.wire.envelope import sign_tombstone
from agent.wire.tombstone import LossReason, Tombstone
from tests.fakes.owner import DAY, MANDATE, MIDNIGHT, PASSPHRASE, Camera, MemoryReceiver, make_owner, make_owner_keys
from tests.fakes.reads import NOON

READS = 27
TEXTS = ("AB123", "AB-123", "A8123", "AB1234", "XB123", "ÄB123", "ABCDEFGHIJKL", "AB12", "X")
PLATES = (
    "AB?123",
    "AB123",
    "?B123",
    "A?12*",
    "*123",
    "*",
    "A*3",
    "ABCDEFGHIJKL",
    "ABCDEFGHI*",
    "ÄB123",
    "AB1234567890*",
)
QUERIES = (
    *(Query(plate=parse_pattern(text)) for text in PLATES),
    *(Query(plate=parse_pattern(text, near=1)) for text in ("AB123", "A?123", "AB12*", "ÄB123")),
    Query(plate=parse_pattern("AB*"), start=MIDNIGHT + DAY, end=MIDNIGHT + 2 * DAY),
    Query(plate=parse_pattern("AB*"), start=MIDNIGHT + DAY, every_epoch=True),
    Query(start=NOON + timedelta(minutes=3), end=NOON + 2 * DAY),
    Query(camera="cam-b"),
    Query(camera="nowhere"),
)
SOME = (QUERIES[0], QUERIES[3], *QUERIES[-4:])


@dataclass
class Store:
    """An owner, and a receiver with reads of all kinds."""

    owner: Owner
    camera: Camera
    receiver: MemoryReceiver

    def index(self) -> None:
        """Make the index."""
        make_index(self.owner, self.receiver, MANDATE)

    def files(self) -> list[Path]:
        """Return the files of the index."""
        return sorted(self.owner.layout.index.iterdir())

    def found(self) -> list[list[str]]:
        """Return what some queries find, by id, in order."""
        return [find(self.owner, self.receiver, query)[0] for query in SOME]

    def found_without(self) -> list[list[str]]:
        """Return the same without an index."""
        kept = self.owner.layout.index.rename(self.owner.layout.directory / "aside")
        found = self.found()
        kept.rename(self.owner.layout.index)
        return found


def find(owner: Owner, receiver: MemoryReceiver, query: Query) -> tuple[list[str], Tally]:
    """Return the ids of the reads that fit, in the order in which they come, and the tally."""
    tally = Tally()
    batches = open_reads(owner, receiver, query, MANDATE, tally=tally)
    return [opened.envelope.envelope_id for batch in batches for opened in batch], tally


def random_read(camera: Camera, dice: random.Random) -> bytes:
    """Seal a read of one of four days."""
    text = dice.choice(TEXTS)
    seen = dice.choice((None, *(other for other in TEXTS if len(other) == len(text))))
    at = NOON + dice.randrange(4) * DAY + timedelta(minutes=dice.randrange(10))
    return camera.seal(text, at, seen=seen, camera=dice.choice(("cam-a", "cam-b"))).data


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store whose reads take several files; some are damaged, of a stranger, or sealed to two recipients."""
    monkeypatch.setattr(indexing, "MAX_MESSAGES", 8)
    make_owner(tmp_path / "owner", epochs=4)
    owner = unlock_owner(tmp_path / "owner", PASSPHRASE)
    dice, camera, stranger = random.Random(19), Camera(owner, run=0), Camera(owner, run=0)
    stored = [random_read(camera, dice) for _ in range(READS)]
    make_owner_keys(tmp_path / "owner", recipients=["auditor"], epochs=1, epoch=4 * DAY)
    both = Camera(unlock_owner(tmp_path / "owner", PASSPHRASE), run=0)
    stored += [random_read(both, dice) for _ in range(READS // 3)]
    stored += [random_read(stranger, dice), b"damaged"]
    note = Tombstone(reason=LossReason.OVERFLOW, count=1, first_at=NOON, last_at=NOON)
    stored.append(sign_tombstone(note, camera.key, camera.next_position).data)
    dice.shuffle(stored)
    return Store(unlock_owner(tmp_path / "owner", PASSPHRASE), camera, MemoryReceiver(camera, both, stored=stored))


def test_a_search_with_an_index_finds_and_counts_what_it_does_without(store: Store) -> None:
    """The same reads in the same order, as many looked at, and as many that could not be; far fewer are opened."""
    plain = [find(store.owner, store.receiver, query) for query in QUERIES]
    store.index()
    quick = [find(store.owner, store.receiver, query) for query in QUERIES]
    assert len(store.files()) > READS // 8
    assert [ids for ids, _ in quick] == [ids for ids, _ in plain]
    assert [(told.scanned, told.tombstones, told.passed_over, +told.unopened) for _, told in quick] == [
        (told.scanned, told.tombstones, told.passed_over, +told.unopened) for _, told in plain
    ]
    assert [told.opened + told.ruled_out for _, told in quick] == [told.opened for _, told in plain]
    assert sum(told.opened for _, told in quick) < sum(told.opened for _, told in plain)


def spoil_a_byte(store: Store) -> None:
    """Change a byte in the middle of a file."""
    path = store.files()[1]
    data = bytearray(path.read_bytes())
    data[-40] ^= 1
    path.write_bytes(data)


def spoil_a_head(store: Store) -> None:
    """Change a byte of a head, which is signed."""
    path = store.files()[2]
    data = bytearray(path.read_bytes())
    data[80] ^= 1
    path.write_bytes(data)


def cut_off(store: Store) -> None:
    """Leave the beginning of one file, and nothing of another."""
    path, other, *_ = store.files()
    path.write_bytes(path.read_bytes()[:-100])
    other.write_bytes(b"")


def lose(store: Store) -> None:
    """Lose a file in the middle, and the last one."""
    store.files()[-1].unlink()
    store.files()[1].unlink()


def come_late(store: Store) -> None:
    """Deliver more reads."""
    dice = random.Random(20)
    store.receiver.stored += [random_read(store.camera, dice) for _ in range(9)]


def revoke(store: Store) -> None:
    """End a device's key in the middle of the log."""
    store.receiver.ends[cose.ed25519_kid(store.camera.key.public_key())] = READS // 2


def enrol(store: Store) -> None:
    """Forget a device, index, and enrol it: its reads were left out."""
    kid = cose.ed25519_kid(store.camera.key.public_key())
    key = store.receiver.devices.pop(kid)
    for path in store.files():
        path.unlink()
    store.index()
    store.receiver.devices[kid] = key


def spoil_the_store(store: Store) -> None:
    """Damage reads after they were indexed."""
    store.receiver.stored[5:8] = [b"bad"] * 3


def restore_an_older_store(store: Store) -> None:
    """Bring a backup back, and let other reads come to places that were others'."""
    store.receiver.stored = store.receiver.stored[:20] + store.receiver.stored[:23:-1]


def hold_and_destroy(store: Store) -> None:
    """Hold some reads for the case, and destroy the keys of two days."""
    hold_reads(store.owner, store.receiver, Query(camera="cam-b"), MANDATE)
    history = key_history(store.owner.layout, store.owner.public_key)
    before = MIDNIGHT + 2 * DAY
    destroy(store.owner, plan_destruction(store.owner.layout, store.owner.keyring(), before, history), MANDATE)


@pytest.mark.parametrize(
    "happens",
    [
        *(spoil_a_byte, spoil_a_head, cut_off, lose, come_late, revoke, enrol, spoil_the_store),
        *(restore_an_older_store, hold_and_destroy),
    ],
)
def test_whatever_happens_a_search_finds_what_opening_each_read_finds(
    store: Store, happens: Callable[[Store], None]
) -> None:
    """And once more when the index has been brought up to date."""
    store.index()
    happens(store)
    wanted = store.found_without()
    assert store.found() == wanted
    store.index()
    assert store.found() == wanted
    assert any(wanted)


def test_nothing_of_a_read_is_on_the_disk_in_clear(store: Store) -> None:
    """Neither plates nor names of cameras; a file is its owner's alone."""
    store.index()
    written = b"".join(path.read_bytes() for path in store.files())
    assert [text for text in (*TEXTS, "cam-a", "cam-b") if len(text) > 2 and text.encode() in written] == []
    assert {path.stat().st_mode & 0o777 for path in store.files()} == {0o600}


def test_nothing_is_opened_twice_and_each_time_is_entered(store: Store) -> None:
    """The audit log has a search each time; a second one adds what has come since."""
    store.index()
    before = store.files()
    done = make_index(store.owner, store.receiver, MANDATE)
    assert (done.reads, done.files, store.files()) == (0, 0, before)
    come_late(store)
    assert make_index(store.owner, store.receiver, MANDATE).reads == 9
    entries = read_audit(store.owner.layout.audit, store.owner.public_key).entries
    assert [str(entry.action) for entry in entries].count("search") == 3


def test_a_stop_keeps_what_was_done(store: Store) -> None:
    """The next one goes on from there."""
    turns = iter([True] * 12)
    done = make_index(store.owner, store.receiver, MANDATE, may_go_on=lambda: next(turns, False))
    assert not done.is_whole
    assert store.found() == store.found_without()
    again = make_index(store.owner, store.receiver, MANDATE)
    assert again.is_whole
    assert done.reads + again.reads == READS + READS // 3


def test_files_go_with_the_keys_of_their_reads(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When all of a file's keys are destroyed it opens no more, and the next index removes it."""
    monkeypatch.setattr(indexing, "MAX_MESSAGES", 1)
    store.index()
    count = len(store.files())
    hold_and_destroy(store)
    done = make_index(store.owner, store.receiver, MANDATE)
    assert done.removed > 0
    assert len(store.files()) < count + done.files


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have two processes answer, however few files there are."""
    monkeypatch.setattr(index_answers, "FILES_ALONE", 0)
    monkeypatch.setattr(index_answers, "FILES_AT_ONCE", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})


@pytest.mark.usefixtures("several")
def test_several_processes_find_what_one_finds(store: Store) -> None:
    """In the same order, and none of them is left; no key is among their arguments."""
    store.index()
    found, alone = store.found(), store.found_without()
    assert found == alone
    assert multiprocessing.active_children() == []


@pytest.mark.usefixtures("several")
def test_a_process_that_is_killed_costs_no_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that asks goes on by itself."""
    store.index()
    alone = store.found_without()
    begun = list[int]()

    class Killing(ProcessPoolExecutor):
        """Has its processes killed as soon as there is work for them."""

        def map(self, *given: Any, **named: Any) -> Iterator[Any]:
            answers = super().map(*given, **named)
            for process in multiprocessing.active_children():
                begun.append(process.pid or 0)
                process.kill()
            return answers

    monkeypatch.setattr(index_answers, "ProcessPoolExecutor", Killing)
    assert store.found() == alone
    assert len(begun) >= len(SOME)


@pytest.mark.usefixtures("several")
def test_a_search_that_is_left_ends_its_processes(store: Store) -> None:
    """Whoever stops in the middle, as by Ctrl-C, waits for nobody."""
    store.index()
    files = index_files(store.owner.layout, store.owner.public_key)
    answered = index_answers.answers(files, load_keys(store.owner, ""), QUERIES[0])
    assert next(answered) is not None
    assert multiprocessing.active_children() != []
    answered.close()
    assert multiprocessing.active_children() == []


def test_another_owners_index_is_not_believed(store: Store, tmp_path: Path) -> None:
    """Whoever can write to the folder can hide nothing."""
    store.index()
    other = make_owner(tmp_path / "other")
    assert index_files(store.owner.layout, other.public_key) == []
    assert len(index_files(store.owner.layout, store.owner.public_key)) == len(store.files())


@pytest.mark.parametrize("near", [0, 1, 2])
def test_no_row_that_fits_is_left_out(near: int) -> None:
    """For random plates and patterns; what is too long or not of ASCII is always looked at."""
    dice = random.Random(near)
    plates = ["".join(dice.choices("AB1", k=dice.randrange(12))) for _ in range(500)] + ["ÄB", "A" * 10, ""]
    globs = ["".join(dice.choices("AB1?*", k=dice.randrange(1, 12))) for _ in range(200)] + ["Ä?", "A" * 10]
    column = encode_texts(plates)
    patterns = [PlatePattern(glob=glob, near=near) for glob in globs]
    chosen = [set(rows_that_may_fit(column, pattern)) for pattern in patterns]
    fitting = [{row for row, plate in enumerate(plates) if pattern.matches(plate)} for pattern in patterns]
    odd = {row for row, plate in enumerate(plates) if len(plate) > 10 or not plate.isascii()}
    assert [extra for got, want in zip(chosen, fitting, strict=True) if (extra := want - got)] == []
    assert [extra for got, want in zip(chosen, fitting, strict=True) if (extra := got - want - odd)] == []

"""`receiver verify`: every way a store can be tampered with is found and named; an honest one is continuous."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.keys.rotation import ROTATION_NAME, rotate_identity
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import enrol
from agent.receiver.intake.verification import ChainReport, finding_lines, verify_store
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire import cbor
from agent.wire.envelope import Envelope, sign_tombstone
from agent.wire.tombstone import Gone, LossReason, Tombstone, merge_gone
from tests.fakes.envelopes import make_chain, make_envelope, next_position
from tests.fakes.pki import Bench, make_bench
from tests.fakes.reads import NOON

AT = datetime(2026, 3, 1, tzinfo=UTC)
Tamper = Callable[[sqlite3.Connection, list[Envelope]], object]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Return one enrolled device for all tests; each fills a store of its own."""
    return make_bench(tmp_path_factory.mktemp("bench"))


def checked(
    bench: Bench, folder: Path, envelopes: Sequence[Envelope], tamper: Tamper | None = None
) -> list[ChainReport]:
    """Store envelopes, let somebody tamper with the file, and verify it."""
    path = folder / "store.db"
    with SqliteStore.create(path) as store:
        store.store_batch(envelopes, AT, bench.receipt_key)
    if tamper is not None:
        with closing(sqlite3.connect(path)) as connection:
            tamper(connection, list(envelopes))
            connection.commit()
    with SqliteStore.open_read_only(path) as store:
        return verify_store(store, DeviceBook(bench.receiver.devices))


def kinds(reports: list[ChainReport]) -> list[tuple[str, int, int]]:
    """Return all findings as (kind, first, last)."""
    return [(str(each.kind), each.first_seq, each.last_seq) for report in reports for each in report.findings]


def test_an_honest_store_is_continuous(bench: Bench, tmp_path: Path) -> None:
    """Two chains, each counted whole, over more rows than a page."""
    first, second = make_chain(bench.device.signing_key, 40), make_chain(bench.device.signing_key, 3)
    reports = checked(bench, tmp_path, [*second, *first])
    assert sorted(report.envelopes for report in reports) == [3, 40]
    assert all(report.is_continuous and report.device == "cam-1" for report in reports)
    assert sorted(report.last_seq for report in reports) == [2, 39]


def test_an_empty_store_has_nothing_to_report(bench: Bench, tmp_path: Path) -> None:
    """No chain, no finding."""
    assert checked(bench, tmp_path, []) == []


def delete(seq: int) -> Tamper:
    """Remove one row."""
    return lambda db, _: db.execute("DELETE FROM envelopes WHERE seq = ?", (seq,))


def flip_body(db: sqlite3.Connection, envelopes: list[Envelope]) -> None:
    """Change one bit of the ciphertext of seq 2."""
    body = bytearray(envelopes[2].data)
    body[-200] ^= 1
    db.execute("UPDATE envelopes SET body = ? WHERE seq = 2", (bytes(body),))


def garbage_body(db: sqlite3.Connection, envelopes: list[Envelope]) -> None:
    """Replace the bytes of seq 2 by as many others."""
    db.execute("UPDATE envelopes SET body = ? WHERE seq = 2", (bytes(len(envelopes[2].data)),))


def rename(db: sqlite3.Connection, _: list[Envelope]) -> None:
    """Call seq 2 by another id."""
    db.execute("UPDATE envelopes SET id = ? WHERE seq = 2", (b"\x07" * 32,))


def swap(db: sqlite3.Connection, _: list[Envelope]) -> None:
    """Exchange the places of seq 2 and 3."""
    db.execute("UPDATE envelopes SET seq = 99 WHERE seq = 2")
    db.execute("UPDATE envelopes SET seq = 2 WHERE seq = 3")
    db.execute("UPDATE envelopes SET seq = 3 WHERE seq = 99")


def forge(db: sqlite3.Connection, envelopes: list[Envelope]) -> None:
    """Put an envelope by somebody else's key in place of seq 2."""
    stranger = make_envelope(Ed25519PrivateKey.generate(), envelopes[2].position)
    db.execute(
        "UPDATE envelopes SET id = ?, body = ?, length = ? WHERE seq = 2",
        (stranger.digest, stranger.data, len(stranger.data)),
    )


def forge_with_known_id(db: sqlite3.Connection, envelopes: list[Envelope]) -> None:
    """The same, signed by a stranger who claims the device's key id."""
    message = cbor.decode(envelopes[2].data, max_bytes=1 << 20, what="test")
    message.value[3] = bytes(64)  # type: ignore[attr-defined]
    body = cbor.encode(message)
    db.execute("UPDATE envelopes SET id = ?, body = ? WHERE seq = 2", (cbor.sha256(body), body))


@pytest.mark.parametrize(
    ("tamper", "expected"),
    [
        (delete(0), [("missing", 0, 0)]),
        (delete(2), [("missing", 2, 2)]),
        (
            lambda db, _: db.execute("DELETE FROM envelopes WHERE seq IN (1, 2, 4)"),
            [("missing", 1, 2), ("missing", 4, 4)],
        ),
        (flip_body, [("altered", 2, 2)]),
        (garbage_body, [("altered", 2, 2)]),
        (rename, [("altered", 2, 2)]),
        (swap, [("reordered", 2, 2), ("reordered", 3, 3)]),
        (forge, [("forged", 2, 2)]),
        (forge_with_known_id, [("altered", 2, 2)]),
    ],
    ids=["first", "middle", "ranges", "bit", "garbage", "renamed", "swapped", "forged", "bad signature"],
)
def test_tampering_is_named_by_its_kind_and_place(
    bench: Bench, tmp_path: Path, tamper: Tamper, expected: list[tuple[str, int, int]]
) -> None:
    """Exactly the places that were touched, nothing else."""
    envelopes = make_chain(bench.device.signing_key, 6)
    assert kinds(checked(bench, tmp_path, envelopes, tamper)) == expected


def test_a_second_row_at_one_place_is_a_replay(bench: Bench, tmp_path: Path) -> None:
    """Even where somebody has removed the database's own rule against it."""
    envelopes = make_chain(bench.device.signing_key, 3)

    def copy_row(db: sqlite3.Connection, _: list[Envelope]) -> None:
        db.executescript(
            "CREATE TABLE copy AS SELECT * FROM envelopes; DROP TABLE envelopes; ALTER TABLE copy RENAME TO envelopes;"
            "INSERT INTO envelopes SELECT 99, id, device, chain, seq, prev, length, stored_at_ms, body, file, place "
            "FROM envelopes WHERE seq = 1;"
        )

    assert kinds(checked(bench, tmp_path, envelopes, copy_row)) == [("replayed", 1, 1)]


def test_a_fork_signed_by_the_device_itself_is_found(bench: Bench, tmp_path: Path) -> None:
    """Two neighbours that both hold but are not linked."""
    key = bench.device.signing_key
    first, second, third = make_chain(key, 3)
    other = make_envelope(key, next_position(first), b"another second")
    forked = make_envelope(key, next_position(other), b"its successor")

    def replace_third(db: sqlite3.Connection, _: list[Envelope]) -> None:
        db.execute(
            "UPDATE envelopes SET id = ?, body = ?, length = ? WHERE seq = 2",
            (forked.digest, forked.data, len(forked.data)),
        )

    assert kinds(checked(bench, tmp_path, [first, second, third], replace_third)) == [("reordered", 2, 2)]


def gone_of(*envelopes: Envelope) -> tuple[Gone, ...]:
    """Name the places of envelopes, and what the tombstones among them name."""
    places = [Gone(each.position.chain, each.position.seq, each.position.seq, each.digest) for each in envelopes]
    inherited = [gone for each in envelopes if each.tombstone is not None for gone in each.tombstone.gone]
    return merge_gone([*places, *inherited])


def bury(key: Ed25519PrivateKey, before: Envelope, reason: LossReason, count: int, *gone: Envelope) -> Envelope:
    """Sign a tombstone behind `before`."""
    tombstone = Tombstone(reason, count, NOON, NOON, gone_of(*gone))
    return sign_tombstone(tombstone, key, next_position(before))


@pytest.mark.parametrize("reason", [LossReason.EXPIRED, LossReason.EVICTED])
def test_reads_lost_by_policy_are_told_from_stolen_ones(bench: Bench, tmp_path: Path, reason: LossReason) -> None:
    """A gap that a tombstone names is a loss by policy; one more missing read is a finding."""
    key = bench.device.signing_key
    envelopes = make_chain(key, 6)
    tombstone = bury(key, envelopes[-1], reason, 2, *envelopes[1:3])
    stored = [envelopes[0], *envelopes[3:], tombstone]
    (report,) = checked(bench, tmp_path, stored)
    assert report.is_continuous
    assert (dict(report.lost), report.explained, report.envelopes) == ({reason: 2}, 2, 5)
    (tmp_path / "again").mkdir()
    (report,) = checked(bench, tmp_path / "again", [envelopes[0], *envelopes[4:], tombstone])
    assert kinds([report]) == [("missing", 3, 3)]
    assert (report.lost[reason], report.explained) == (2, 2)


def test_the_read_behind_a_range_must_follow_its_last_one(bench: Bench, tmp_path: Path) -> None:
    """Whoever replaces a read before it was forced out is found by the digest in the tombstone."""
    key = bench.device.signing_key
    envelopes = make_chain(key, 4)
    other = make_envelope(key, envelopes[2].position, b"another third")
    for name, third, expected in (("honest", envelopes[2], []), ("forked", other, [("reordered", 3, 3)])):
        (tmp_path / name).mkdir()
        tombstone = bury(key, envelopes[-1], LossReason.EVICTED, 2, envelopes[1], third)
        assert kinds(checked(bench, tmp_path / name, [envelopes[0], envelopes[3], tombstone])) == expected


def test_a_range_that_ends_behind_a_gap_explains_it(bench: Bench, tmp_path: Path) -> None:
    """One of its reads was delivered meanwhile: it is not lost, and the rest is."""
    key = bench.device.signing_key
    envelopes = make_chain(key, 6)
    tombstone = bury(key, envelopes[-1], LossReason.EVICTED, 4, *envelopes[:4])
    (report,) = checked(bench, tmp_path, [*envelopes[2:3], *envelopes[4:], tombstone])
    assert report.is_continuous
    assert (report.lost[LossReason.EVICTED], report.explained) == (3, 3)


@pytest.mark.parametrize("delivered", [False, True], ids=["forced out", "delivered meanwhile"])
def test_a_tombstone_that_takes_over_another_is_counted_once(bench: Bench, tmp_path: Path, *, delivered: bool) -> None:
    """Two reads, then their tombstone and one more: three are lost, whether or not the first note arrived."""
    key = bench.device.signing_key
    reads = make_chain(key, 3)
    first = bury(key, reads[-1], LossReason.OVERFLOW, 5)
    second = bury(key, first, LossReason.EVICTED, 1, reads[0])
    third = bury(key, second, LossReason.EVICTED, 8, reads[0], reads[1], reads[2], first, second)
    (report,) = checked(bench, tmp_path, [second, third] if delivered else [third])
    assert report.is_continuous
    assert sum(report.lost.values()) == 8
    assert report.explained == (4 if delivered else 5)


def test_reads_of_a_chain_that_is_gone_altogether_are_counted(bench: Bench, tmp_path: Path) -> None:
    """All that came before a restart was forced out; the next chain says so, and names the last link."""
    key = bench.device.signing_key
    old = make_chain(key, 3)
    first = make_chain(key, 1)[0].position
    new = make_envelope(key, type(first)(chain=first.chain, seq=0, prev=first.prev, last=old[-1].digest))
    (report,) = checked(bench, tmp_path, [new, bury(key, new, LossReason.EVICTED, 3, *old)])
    assert report.is_continuous
    assert (report.lost[LossReason.EVICTED], report.explained) == (3, 0)


def test_a_damaged_row_inside_a_range_is_still_found(bench: Bench, tmp_path: Path) -> None:
    """The places around it are explained, and one beyond the range is missing."""
    key = bench.device.signing_key
    envelopes = make_chain(key, 6)
    tombstone = bury(key, envelopes[-1], LossReason.EVICTED, 3, *envelopes[1:4])
    stored = [envelopes[0], envelopes[2], envelopes[5], tombstone]
    assert kinds(checked(bench, tmp_path, stored, flip_body)) == [("altered", 2, 2), ("missing", 4, 4)]


def test_overflowed_reads_are_counted_and_leave_no_gap(bench: Bench, tmp_path: Path) -> None:
    """They never had a place."""
    key = bench.device.signing_key
    (first,) = make_chain(key, 1)
    (report,) = checked(bench, tmp_path, [first, bury(key, first, LossReason.OVERFLOW, 7)])
    assert report.is_continuous
    assert dict(report.lost) == {LossReason.OVERFLOW: 7}


def test_the_missing_end_of_a_chain_is_found_by_the_next_one(bench: Bench, tmp_path: Path) -> None:
    """`last` names the digest that must be there; with it there, both are continuous."""
    key = bench.device.signing_key
    old = make_chain(key, 3)
    first = make_chain(key, 1)[0].position
    new = make_envelope(key, type(first)(chain=first.chain, seq=0, prev=first.prev, last=old[-1].digest))
    assert kinds(checked(bench, tmp_path, [*old, new])) == []
    (tmp_path / "again").mkdir()
    reports = checked(bench, tmp_path / "again", [*old[:2], new])
    assert kinds(reports) == [("missing", 0, 0)]
    (text,) = [line for report in reports for line in finding_lines(report)]
    assert old[-1].envelope_id[:16] in text


def test_a_rotated_key_goes_on_where_the_old_one_ended(tmp_path: Path) -> None:
    """The new key's chain names the old key's last link, and its tombstone explains a gap in the old key's chain."""
    (tmp_path / "bench").mkdir()
    bench = make_bench(tmp_path / "bench")
    device = bench.device
    old = make_chain(device.signing_key, 4)
    rotate_identity(device.directory)
    enrol(bench.receiver.directory, device.directory / ROTATION_NAME)
    first = make_chain(device.signing_key, 1)[0].position
    new = make_envelope(device.signing_key, type(first)(first.chain, 0, first.prev, old[-1].digest))
    tombstone = bury(device.signing_key, new, LossReason.EXPIRED, 1, old[1])
    reports = checked(bench, tmp_path, [old[0], *old[2:], new, tombstone])
    assert len(reports) == 2
    assert kinds(reports) == []
    assert sum(report.explained for report in reports) == 1
    assert sum(report.lost[LossReason.EXPIRED] for report in reports) == 1


def test_a_device_that_is_not_enrolled_is_forged_as_a_whole(bench: Bench, tmp_path: Path) -> None:
    """A whole chain by a stranger's key, stored past the receiver."""
    reports = checked(bench, tmp_path, make_chain(Ed25519PrivateKey.generate(), 2))
    assert kinds(reports) == [("forged", 0, 0), ("forged", 1, 1)]
    assert reports[0].envelopes == 0


_OLD, _NEW = bytes([1]) * 32, bytes([2]) * 32


def two_epochs(bench: Bench, run: int | None) -> list[Envelope]:
    """Return a chain over two epochs, and one after it that names its end."""
    key = bench.device.signing_key
    chain = make_chain(key, 4, kids=[_OLD], run=run)
    for _ in range(3):
        chain.append(make_envelope(key, next_position(chain[-1]), kids=[_NEW]))
    if run is None:
        return [*chain, *make_chain(key, 2, kids=[_NEW])]
    return [*chain, *make_chain(key, 2, kids=[_NEW], run=run + 1, before=chain[-1])]


def checked_without(
    bench: Bench, folder: Path, envelopes: list[Envelope], kids: list[bytes], *edits: str
) -> list[ChainReport]:
    """Store envelopes, drop epochs, let somebody edit the database, and verify it."""
    path = folder / "store.db"
    with SqliteStore.create(path) as store:
        store.store_batch(envelopes, AT, bench.receipt_key)
        store.drop_epochs(kids, AT)
    with closing(sqlite3.connect(path)) as connection:
        for edit in edits:
            connection.execute(edit)
        connection.commit()
    with SqliteStore.open_read_only(path) as store:
        return verify_store(store, DeviceBook(bench.receiver.devices))


@pytest.mark.parametrize("run", [None, 0], ids=["version 1", "version 2"])
@pytest.mark.parametrize(("kids", "dropped"), [([_OLD], [4, 0]), ([_NEW], [3, 2]), ([_OLD, _NEW], [7, 2])])
def test_chains_go_on_across_what_was_dropped(
    bench: Bench, tmp_path: Path, kids: list[bytes], dropped: list[int], run: int | None
) -> None:
    """At the beginning, at the end, or all of it: counted, and no finding; so is a chain that names a dropped end."""
    reports = checked_without(bench, tmp_path, two_epochs(bench, run), kids)
    assert kinds(reports) == []
    assert sorted((report.last_seq + 1, report.dropped) for report in reports) == sorted(
        zip([7, 2], dropped, strict=True)
    )
    assert sum(report.envelopes + report.dropped for report in reports) == 9


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        ("DELETE FROM envelopes WHERE log = 2", [("missing", 1, 1)]),
        ("DELETE FROM receipts WHERE log = 2", [("receipt", 1, 1)]),
        ("UPDATE envelopes SET stored_at_ms = stored_at_ms + 1 WHERE log = 2", [("receipt", 1, 1)]),
        ("UPDATE envelopes SET length = 9 WHERE log = 2", [("receipt", 1, 1)]),
        ("UPDATE receipts SET receipt = zeroblob(300) WHERE log = 2", [("receipt", 1, 1)]),
        ("UPDATE envelopes SET id = randomblob(32) WHERE log = 4", [("reordered", 4, 4), ("receipt", 3, 3)]),
    ],
)
def test_what_was_dropped_is_still_checked(
    bench: Bench, tmp_path: Path, edit: str, expected: list[tuple[str, int, int]]
) -> None:
    """Its receipt says what it was and where it stood, and its neighbours name it."""
    found = kinds(checked_without(bench, tmp_path, two_epochs(bench, 0), [_OLD], edit))
    assert set(expected) <= set(found)


@pytest.mark.parametrize("edit", ["file = NULL", "file = 99", "place = NULL", "file = NULL, place = NULL"])
def test_bytes_that_are_nowhere_are_not_dropped_by_policy(bench: Bench, tmp_path: Path, edit: str) -> None:
    """Only a file that was dropped excuses an entry without its bytes."""
    edited = f"UPDATE envelopes SET {edit} WHERE log = 5"  # noqa: S608  # a constant
    found = kinds(checked_without(bench, tmp_path, two_epochs(bench, 0), [_OLD], edited))
    assert ("altered", 4, 4) in found

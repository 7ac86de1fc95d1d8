"""Opening, holding and destroying: what opens with what, and that nothing happens before it is entered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody import search as search_module
from agent.custody.access import hold_reads, load_keys, open_reads
from agent.custody.audit import read_audit
from agent.custody.audit_entry import Action, AuditEntry, Mandate
from agent.custody.cases import encode_held, held_reads, load_case_key, load_held, parse_held
from agent.custody.destroy import Consequence, destroy, erase_files, plan_destruction, weigh
from agent.custody.keys import load_private_keys
from agent.custody.opener import OpenedRead, open_read
from agent.custody.owner import Owner, unlock_owner
from agent.custody.plates import parse_pattern
from agent.custody.search import Query, Tally, Unopened
from agent.errors import (
    AuditVerificationError,
    CustodyError,
    FormatError,
    KeyFileError,
    OpenError,
    UsageError,
    VerificationError,
)
from agent.keys.keyfiles import PRIVATE_MODE, replace_file
from agent.seal.chain import Chain
from agent.seal.sealer import seal_content
from agent.wire import cbor, cose
from agent.wire.content_key import commit
from agent.wire.envelope import parse_envelope, recipient_value, sign_envelope, sign_tombstone
from agent.wire.header import Header, encode_header
from agent.wire.suites import ContentCipher, KeyType
from agent.wire.tombstone import LossReason, Tombstone
from tests.fakes.owner import (
    DAY,
    MANDATE,
    MIDNIGHT,
    PASSPHRASE,
    Camera,
    MemoryReceiver,
    make_owner,
    make_owner_keys,
)
from tests.fakes.reads import NOON

FIRST_DAY, SECOND_DAY = NOON, NOON + DAY
SWEEP = Mandate(who="erika", reason="retention")


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    """Return an owner with hybrid keys for two days."""
    return make_owner(tmp_path / "owner", key_type=KeyType.HYBRID)


@pytest.fixture
def camera(owner: Owner) -> Camera:
    """Return a camera that seals to the owner."""
    return Camera(owner)


@pytest.fixture
def receiver(camera: Camera) -> MemoryReceiver:
    """Return a store with two reads of each day."""
    reads = [("AB1", FIRST_DAY), ("XY2", FIRST_DAY), ("AB3", SECOND_DAY), ("XY4", SECOND_DAY)]
    return MemoryReceiver(camera, stored=[camera.seal(text, at).data for text, at in reads])


def entries(owner: Owner) -> tuple[AuditEntry, ...]:
    """Return what the audit log says; it must verify."""
    report = read_audit(owner.layout.audit, owner.signing_key.public_key())
    assert report.findings == ()
    return report.entries


def open_all(
    owner: Owner, receiver: MemoryReceiver, query: Query | None = None, *, mandate: Mandate = MANDATE
) -> tuple[list[OpenedRead], Tally]:
    """Open what fits, and return it with the tally."""
    tally = Tally()
    batches = open_reads(owner, receiver, query or Query(), mandate, tally=tally)
    return [opened for batch in batches for opened in batch], tally


def texts(opened: list[OpenedRead]) -> list[str]:
    """Return the plates."""
    return [one.read.text for one in opened]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), ["AB1", "XY2", "AB3", "XY4"]),
        (Query(plate=parse_pattern("ab?")), ["AB1", "AB3"]),
        (Query(plate=parse_pattern("ZZ*")), []),
        (Query(start=SECOND_DAY), ["AB3", "XY4"]),
        (Query(end=SECOND_DAY), ["AB1", "XY2"]),
        (Query(start=FIRST_DAY, end=FIRST_DAY + timedelta(milliseconds=1)), ["AB1", "XY2"]),
        (Query(camera="cam-1"), ["AB1", "XY2", "AB3", "XY4"]),
        (Query(camera="cam-2"), []),
        (Query(plate=parse_pattern("XY*"), start=SECOND_DAY), ["XY4"]),
    ],
)
def test_a_search_gives_the_reads_that_fit(
    owner: Owner, receiver: MemoryReceiver, query: Query, expected: list[str]
) -> None:
    """Every filter must fit; the window is half open; order is the store's."""
    opened, tally = open_all(owner, receiver, query)
    assert texts(opened) == expected
    assert (tally.scanned + tally.passed_over, tally.matched) == (4, len(expected))


def test_opening_is_entered_before_a_read_is_given(owner: Owner, receiver: MemoryReceiver) -> None:
    """The search before the first envelope is touched, the opening before the first read is out."""
    batches = open_reads(owner, receiver, Query(plate=parse_pattern("AB*")), MANDATE, tally=Tally())
    assert [entry.action for entry in entries(owner)] == [Action.KEYS]
    batch = next(batches)
    search, opening = entries(owner)[1:]
    assert (search.action, search.count, search.scope.by) == (Action.SEARCH, 4, ("plate",))
    assert (opening.action, opening.count, opening.case) == (Action.OPEN, 2, MANDATE.case)
    assert list(opening.ids) == [opened.envelope.digest for opened in batch]
    assert (opening.who, opening.reason) == (MANDATE.who, MANDATE.reason)


def test_no_plate_is_in_the_audit_log(owner: Owner, camera: Camera) -> None:
    """Neither what was looked for nor what was found, in any entry."""
    receiver = MemoryReceiver(camera, stored=[camera.seal("SECRET42").data])
    assert texts(open_all(owner, receiver, Query(plate=parse_pattern("SECRET42")))[0]) == ["SECRET42"]
    hold_reads(owner, receiver, Query(plate=parse_pattern("SECRET4?")), MANDATE)
    assert b"SECRET4" not in owner.layout.audit.read_bytes()


def test_a_search_that_finds_nothing_is_entered_too(owner: Owner, receiver: MemoryReceiver) -> None:
    """With a count of zero: a search that was cut off has no such entry."""
    open_all(owner, receiver, Query(plate=parse_pattern("ZZ*")))
    assert [(entry.action, entry.count) for entry in entries(owner)[1:]] == [(Action.SEARCH, 4), (Action.OPEN, 0)]


def test_large_answers_come_in_entered_batches(
    owner: Owner, receiver: MemoryReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with an entry of its own, before it is given."""
    monkeypatch.setattr(search_module, "BATCH_READS", 2)
    batches = open_reads(owner, receiver, Query(), MANDATE, tally=Tally())
    assert len(next(batches)) == 2
    assert [entry.count for entry in entries(owner) if entry.action is Action.OPEN] == [2]
    assert len(next(batches)) == 2
    assert next(batches, None) is None
    assert [entry.count for entry in entries(owner) if entry.action is Action.OPEN] == [2, 2]


def test_large_envelopes_make_smaller_batches(
    owner: Owner, receiver: MemoryReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch is bounded by bytes as well."""
    monkeypatch.setattr(search_module, "BATCH_BYTES", 1)
    assert [len(batch) for batch in open_reads(owner, receiver, Query(), MANDATE, tally=Tally())] == [1, 1, 1, 1]


def test_nothing_is_opened_when_the_log_cannot_be_written(owner: Owner, receiver: MemoryReceiver) -> None:
    """The store is not even read."""
    owner.layout.audit.unlink()
    owner.layout.audit.mkdir()
    with pytest.raises(CustodyError, match="audit.cose"):
        open_all(owner, receiver)
    assert receiver.reads == 0


def test_nothing_is_opened_held_or_destroyed_beside_an_altered_log(owner: Owner, receiver: MemoryReceiver) -> None:
    """Each stops with the log's fault, before it does anything."""
    owner.layout.audit.write_bytes(owner.layout.audit.read_bytes()[:-1])
    plan = plan_destruction(owner.layout, owner.keyring(), SECOND_DAY)
    with pytest.raises(AuditVerificationError):
        open_all(owner, receiver)
    with pytest.raises(AuditVerificationError):
        hold_reads(owner, receiver, Query(camera="cam-1"), MANDATE)
    with pytest.raises(AuditVerificationError):
        destroy(owner, plan, SWEEP)
    assert receiver.reads == 0
    assert len(owner.private_keys()) == 2
    assert not owner.layout.cases.exists()


@pytest.mark.parametrize(
    ("mandate", "message"),
    [
        (Mandate(who="a", reason="x"), "--case"),
        (Mandate(who="a", case="1"), "--reason"),
        (Mandate(who="a", case="1", reason="  "), "--reason"),
        (Mandate(who="a", case="1", reason="ab 12 was seen"), "leave the plate out"),
        (Mandate(who="a", case="AB12", reason="x"), "leave the plate out"),
    ],
)
def test_reads_are_touched_for_a_case_and_a_reason_only(
    owner: Owner, receiver: MemoryReceiver, mandate: Mandate, message: str
) -> None:
    """And the plate stays out of both."""
    query = Query(plate=parse_pattern("AB12"))
    with pytest.raises(UsageError, match=message):
        open_all(owner, receiver, query, mandate=mandate)
    with pytest.raises(UsageError, match=message):
        hold_reads(owner, receiver, query, mandate)
    assert len(entries(owner)) == 1


def test_what_cannot_be_opened_is_counted_by_reason(owner: Owner, camera: Camera, tmp_path: Path) -> None:
    """Damaged, forged, unknown, sealed to others; a tombstone is none of these. The rest is opened."""
    stranger = Camera(owner)
    elsewhere = Camera(make_owner(tmp_path / "other"))
    good = camera.seal("AB1").data
    forged = bytearray(camera.seal("AB2").data)
    forged[-1] ^= 1
    tombstone = sign_tombstone(
        Tombstone(reason=LossReason.OVERFLOW, count=1, first_at=NOON, last_at=NOON), camera.key, Chain().next
    )
    stored = [good[:-1], bytes(forged), stranger.seal("AB3").data, elsewhere.seal("AB4").data, tombstone.data, good]
    opened, tally = open_all(owner, MemoryReceiver(camera, elsewhere, stored=stored))
    assert texts(opened) == ["AB1"]
    assert tally.unopened == {
        Unopened.DAMAGED: 1,
        Unopened.FORGED: 1,
        Unopened.UNKNOWN_DEVICE: 1,
        Unopened.SEALED_TO_OTHERS: 1,
    }
    assert (tally.scanned, tally.tombstones, tally.opened) == (6, 1, 1)


def test_after_destruction_an_epochs_reads_open_with_nothing_left_on_the_disk(
    owner: Owner, receiver: MemoryReceiver
) -> None:
    """No file of the owner holds the raw key or its closed file any more; reads of other epochs still open."""
    before = owner.private_keys()
    plan = plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + DAY)
    (doomed,) = plan.keys
    path = owner.layout.private_key(doomed.kid)
    closed, raw = path.read_bytes(), before[doomed.kid].raw
    assert destroy(owner, plan, SWEEP) == 1
    assert not path.exists()
    for left in owner.layout.directory.rglob("*"):
        if left.is_file():
            data = left.read_bytes()
            assert raw not in data, left
            assert closed[-40:] not in data, left
    opened, tally = open_all(unlock_owner(owner.layout.directory, PASSPHRASE), receiver)
    assert texts(opened) == ["AB3", "XY4"]
    assert tally.unopened == {Unopened.KEY_DESTROYED: 2}
    assert doomed.kid not in {key.kid for key in owner.keyring().keys}


def test_held_reads_open_with_the_cases_key_after_destruction(owner: Owner, receiver: MemoryReceiver) -> None:
    """For their case, from envelope, held file and case key alone; the others are gone."""
    held = hold_reads(owner, receiver, Query(plate=parse_pattern("AB*")), MANDATE)
    assert held.new_case
    assert len(held.reads) == 2
    plan = plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + 2 * DAY)
    assert (len(plan.keys), plan.held) == (2, 2)
    assert weigh(plan, owner.layout, receiver) == Consequence(unreadable=2, held=2, readable=0, unreadable_already=0)
    assert destroy(owner, plan, SWEEP) == 2
    assert weigh(plan, owner.layout, receiver) == Consequence(unreadable=0, held=2, readable=0, unreadable_already=2)
    opened, tally = open_all(owner, receiver)
    assert texts(opened) == ["AB1", "AB3"]
    assert tally.unopened == {Unopened.KEY_DESTROYED: 2}
    other_case = Mandate(who="erika", case="another", reason="x")
    assert open_all(owner, receiver, mandate=other_case)[0] == []
    with pytest.raises(KeyFileError, match="no private key"):
        load_private_keys(owner.layout.directory, PASSPHRASE)


def test_a_held_read_is_a_cose_recipient(owner: Owner, receiver: MemoryReceiver) -> None:
    """Put into the envelope's own list of recipients, it opens the envelope like any other."""
    hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), MANDATE)
    envelope = parse_envelope(receiver.stored[0])
    slot = load_held(owner, MANDATE.case, envelope)
    case_key = load_case_key(owner, MANDATE.case)
    assert slot is not None
    assert case_key is not None
    assert slot.kid == case_key.kid
    assert open_read(envelope, {case_key.kid: case_key}, held=(slot,)).read.text == "AB1"
    with pytest.raises(OpenError, match="none of these private keys"):
        open_read(envelope, {case_key.kid: case_key})
    with pytest.raises(OpenError, match="does not open|not what was sealed"):
        open_read(parse_envelope(receiver.stored[1]), {case_key.kid: case_key}, held=(slot,))


def test_holding_again_adds_to_the_case(owner: Owner, receiver: MemoryReceiver) -> None:
    """The case's key stays; the same read may be held twice; every hold is entered."""
    first = hold_reads(owner, receiver, Query(plate=parse_pattern("AB*")), MANDATE)
    key = load_case_key(owner, MANDATE.case)
    ids = frozenset([first.reads[0], parse_envelope(receiver.stored[1]).envelope_id])
    second = hold_reads(owner, receiver, Query(ids=ids), MANDATE)
    assert (first.new_case, second.new_case) == (True, False)
    assert load_case_key(owner, MANDATE.case) == key
    assert {name: len(ids) for name, ids in held_reads(owner.layout).items()} == {"2027-0815": 3}
    assert [entry.count for entry in entries(owner) if entry.action is Action.HOLD] == [2, 2]


def test_a_read_that_is_held_already_can_be_held_on_after_destruction(owner: Owner, receiver: MemoryReceiver) -> None:
    """The case's key opens it, so the same case may hold it again; another case may not."""
    hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), MANDATE)
    destroy(owner, plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + DAY), SWEEP)
    assert len(hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), MANDATE).reads) == 1
    another = hold_reads(owner, receiver, Query(end=SECOND_DAY), Mandate(who="e", case="another", reason="x"))
    assert another.reads == ()
    assert not owner.layout.case_key("another").exists()


def test_a_hold_needs_a_filter(owner: Owner, receiver: MemoryReceiver) -> None:
    """To hold a whole store is never meant by leaving everything out."""
    with pytest.raises(UsageError, match="say which reads"):
        hold_reads(owner, receiver, Query(), MANDATE)


@pytest.mark.parametrize("case", ["2027/0815 K", "..", ".hidden", "a" * 64, "Fall Nr. 7 (Süd)"])
def test_a_cases_name_is_never_a_path(owner: Owner, receiver: MemoryReceiver, case: str) -> None:
    """Slashes and dots are quoted: the folder lies in `cases`, whatever the case is called."""
    hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), Mandate(who="e", case=case, reason="x"))
    (folder,) = owner.layout.cases.iterdir()
    assert (folder / "case.key").is_file()
    assert load_case_key(owner, case) is not None


@pytest.mark.parametrize(
    "edit",
    [
        lambda data: data[:-1],
        lambda data: data + b"\x00",
        lambda _: b"\x80",
        lambda _: cbor2.dumps([b"\xa0", {}, b""]),
    ],
)
def test_a_damaged_held_read_is_named(owner: Owner, receiver: MemoryReceiver, edit: Callable[[bytes], bytes]) -> None:
    """With its path; it is no reason to guess."""
    held = hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), MANDATE)
    path = owner.layout.held_read(MANDATE.case, held.reads[0])
    path.write_bytes(edit(path.read_bytes()))
    with pytest.raises(KeyFileError, match=held.reads[0]):
        load_keys(owner, MANDATE.case).held(parse_envelope(receiver.stored[0]))


def test_every_flipped_bit_of_a_held_read_is_refused(owner: Owner, receiver: MemoryReceiver) -> None:
    """Whatever bit: the owner's signature does not hold any more, or it does not parse."""
    held = hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), MANDATE)
    data = owner.layout.held_read(MANDATE.case, held.reads[0]).read_bytes()
    for index in range(0, len(data), 7):
        altered = bytearray(data)
        altered[index] ^= 1 << index % 8
        with pytest.raises((FormatError, VerificationError)):
            parse_held(bytes(altered), owner.signing_key.public_key())


def test_a_held_read_under_another_name_is_refused(owner: Owner, receiver: MemoryReceiver) -> None:
    """It is bound to its envelope and its case; before, a file moved to another name counted as that read's hold."""
    first, second = (parse_envelope(data) for data in receiver.stored[:2])
    hold_reads(owner, receiver, Query(ids=frozenset([first.envelope_id])), MANDATE)
    held = owner.layout.held_read(MANDATE.case, first.envelope_id)
    moved = owner.layout.held_read(MANDATE.case, second.envelope_id)
    replace_file(moved, held.read_bytes(), PRIVATE_MODE)
    with pytest.raises(KeyFileError, match=f"another envelope, {first.envelope_id}"):
        load_held(owner, MANDATE.case, second)
    with pytest.raises(KeyFileError, match=f"another envelope, {first.envelope_id}"):
        plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + DAY)
    moved.unlink()
    hold_reads(owner, receiver, Query(ids=frozenset([second.envelope_id])), Mandate(who="e", case="B", reason="x"))
    other = owner.layout.held_read("B", second.envelope_id)
    held.rename(other.with_name(held.name))
    with pytest.raises(KeyFileError, match="names another case"):
        load_held(owner, "B", first)


def test_nobody_but_the_owner_holds_a_read(owner: Owner, receiver: MemoryReceiver) -> None:
    """A hold that somebody else has signed is refused, by name."""
    hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), MANDATE)
    envelope = parse_envelope(receiver.stored[0])
    slot = load_held(owner, MANDATE.case, envelope)
    assert slot is not None
    forged = encode_held(slot, envelope.digest, MANDATE.case, Ed25519PrivateKey.generate())
    owner.layout.held_read(MANDATE.case, envelope.envelope_id).write_bytes(forged)
    with pytest.raises(KeyFileError, match="signed by key"):
        load_held(owner, MANDATE.case, envelope)


@pytest.mark.parametrize("run", [None, 0])
def test_a_hold_without_signature_is_for_version_1(owner: Owner, receiver: MemoryReceiver, run: int | None) -> None:
    """As the program before wrote it: it goes on opening its read, and none of version 2."""
    hold_reads(owner, receiver, Query(plate=parse_pattern("AB1")), MANDATE)
    envelope = parse_envelope(receiver.stored[0])
    slot = load_held(owner, MANDATE.case, envelope)
    assert slot is not None
    path = owner.layout.held_read(MANDATE.case, envelope.envelope_id)
    path.write_bytes(cbor.encode(recipient_value(slot)))
    position = replace(envelope.position, run=run)
    asked = replace(envelope, header=replace(envelope.header, position=position, commitment=None))
    if run is None:
        assert load_held(owner, MANDATE.case, asked) == slot
    else:
        with pytest.raises(KeyFileError, match="which is not signed"):
            load_held(owner, MANDATE.case, asked)


def three_epochs(directory: Path) -> Owner:
    """Make keys for a day, a gap of a day, and a day; and one key of an auditor."""
    make_owner_keys(directory, epochs=1)
    make_owner_keys(directory, epochs=1, start=MIDNIGHT + 2 * DAY)
    return make_owner(directory, epochs=1, recipients=["auditor"])


@pytest.mark.parametrize(
    ("before", "ended", "newest"),
    [
        (MIDNIGHT, 0, 0),
        (MIDNIGHT + DAY - timedelta(milliseconds=1), 0, 0),
        (MIDNIGHT + DAY, 1, 1),  # the auditor's; the agency's first is sealed to until its next begins
        (MIDNIGHT + 2 * DAY, 2, 1),
        (MIDNIGHT + 3 * DAY, 3, 2),
    ],
)
def test_an_epoch_has_ended_when_nothing_is_sealed_to_it_any_more(
    tmp_path: Path, before: datetime, ended: int, newest: int
) -> None:
    """A gap in the keyring prolongs the key before it; a recipient's newest key is pointed out."""
    owner = three_epochs(tmp_path / "owner")
    plan = plan_destruction(owner.layout, owner.keyring(), before)
    assert (len(plan.keys), len(plan.newest), plan.left) == (ended, newest, 3 - ended)


def test_destruction_is_entered_first_and_goes_on_after_a_failure(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that refuses leaves an entry and the keys; running it again destroys them."""
    plan = plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + 2 * DAY)

    def fail(_: Path) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("agent.custody.destroy.erase_file", fail)
        with pytest.raises(CustodyError, match="Input/output error"):
            destroy(owner, plan, SWEEP)
    entry = entries(owner)[-1]
    assert (entry.action, entry.count, entry.scope.before) == (Action.DESTROY, 2, plan.before)
    assert list(entry.ids) == [key.kid for key in plan.keys]
    assert len(owner.private_keys()) == 2
    assert destroy(owner, plan, SWEEP) == 2
    assert owner.private_keys() == {}


def test_a_destruction_needs_a_reason_and_something_to_destroy(owner: Owner) -> None:
    """Otherwise nothing is entered."""
    with pytest.raises(UsageError, match="no epoch ended by"):
        destroy(owner, plan_destruction(owner.layout, owner.keyring(), MIDNIGHT), SWEEP)
    with pytest.raises(UsageError, match="--reason"):
        destroy(owner, plan_destruction(owner.layout, owner.keyring(), SECOND_DAY), Mandate(who="erika"))
    assert len(entries(owner)) == 1


def test_erasing_overwrites_before_it_unlinks(tmp_path: Path) -> None:
    """Another name of the same file shows the zeros; a file that is gone is no failure; a link is not followed."""
    path, other = tmp_path / "key", tmp_path / "other"
    path.write_bytes(b"x" * 100_000)
    other.hardlink_to(path)
    erase_files([path, tmp_path / "gone"])
    assert not path.exists()
    assert other.read_bytes() == bytes(100_000)
    link, target = tmp_path / "link", tmp_path / "target"
    target.write_bytes(b"keep")
    link.symlink_to(target)
    with pytest.raises(CustodyError, match="link"):
        erase_files([link])
    assert target.read_bytes() == b"keep"


def test_a_content_that_opens_to_no_read_is_counted(owner: Owner, camera: Camera) -> None:
    """Whatever a camera sealed, a search goes on."""
    (key,) = owner.keyring().keys_at(NOON)
    position = camera.next_position
    header = Header(position, commitment=None if position.run is None else commit(bytes(32)))
    outer = encode_header(cose.ed25519_kid(camera.key.public_key()), header)
    content = seal_content(
        b"no read", (key,), cipher=ContentCipher.AES_256_GCM, content_key=bytes(32), outer_protected=outer
    )
    odd = sign_envelope(header, content, camera.key)
    opened, tally = open_all(owner, MemoryReceiver(camera, stored=[odd.data, camera.seal("AB1").data]))
    assert texts(opened) == ["AB1"]
    assert tally.unopened == {Unopened.UNREADABLE: 1}


def test_keys_that_no_keyring_names_are_left(owner: Owner) -> None:
    """A making that was cut off before the keyring was signed: its keys' epochs are not known."""
    keyring = owner.layout.keyring.read_bytes()
    make_owner_keys(owner.layout.directory, start=MIDNIGHT + 2 * DAY)
    owner.layout.keyring.write_bytes(keyring)
    plan = plan_destruction(owner.layout, owner.keyring(), datetime(2030, 1, 1, tzinfo=UTC))
    assert (len(plan.keys), plan.left, plan.not_in_keyring) == (2, 2, 2)


def test_weighing_opens_and_reads_no_key(owner: Owner, receiver: MemoryReceiver, camera: Camera) -> None:
    """It needs the names of key files only; damaged messages and tombstones count as nothing."""
    receiver.stored += [
        b"\x00",
        sign_tombstone(
            Tombstone(reason=LossReason.OVERFLOW, count=1, first_at=NOON, last_at=NOON), camera.key, Chain().next
        ).data,
    ]
    for path in owner.layout.private.iterdir():
        path.write_bytes(b"")
    plan = plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + DAY)
    assert weigh(plan, owner.layout, receiver) == Consequence(unreadable=2, held=0, readable=2, unreadable_already=0)


def test_a_plate_is_found_by_what_was_seen_and_by_what_it_was_settled_to(owner: Owner) -> None:
    """Whoever looks for a plate need not know whether a look-alike was settled."""
    camera = Camera(owner, run=0)
    sealed = camera.seal("AB123CD", seen="A8123CD", format="AR-2016")
    receiver = MemoryReceiver(camera, stored=[sealed.data])
    for pattern, found in (("AB123CD", ["AB123CD"]), ("A8123CD", ["AB123CD"]), ("A8123C0", [])):
        assert texts(open_all(owner, receiver, Query(plate=parse_pattern(pattern)))[0]) == found

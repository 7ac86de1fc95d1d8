"""The spool on disk: names, modes, bounds, and what a start mends."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.errors import EnvelopeVerificationError, SpoolError, SpoolFullError, SpoolMissingError
from agent.records import Shredded, SpoolState, Usage
from agent.spool.spool import FileSpool
from agent.wire.envelope import sign_tombstone
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import make_chain, make_envelope, next_position
from tests.fakes.files import FaultyFiles
from tests.fakes.receipts import proof

KEY = Ed25519PrivateKey.generate()
AT = datetime(2026, 3, 1, tzinfo=UTC)
ODD_NAMES = ("README", "A" * 64, "a" * 63, "a" * 64 + ".reason", "line\nbreak", "x" * 255)


def open_spool(root: Path, *, max_bytes: int = 1 << 20) -> FileSpool:
    """Open the spool below `root`."""
    return FileSpool(root / "spool", max_bytes=max_bytes, files=LocalFiles())


def test_a_file_is_named_by_its_digest_and_private(tmp_path: Path) -> None:
    """One file per envelope, mode 0600, in a directory of mode 0700."""
    envelope = make_envelope(KEY)
    open_spool(tmp_path).put(envelope)
    path = tmp_path / "spool" / "pending" / envelope.envelope_id
    assert path.read_bytes() == envelope.data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []


def test_entries_are_oldest_first(tmp_path: Path) -> None:
    """By the time they became durable."""
    spool, envelopes = open_spool(tmp_path), make_chain(KEY, 4)
    for age, envelope in enumerate(envelopes):
        spool.put(envelope)
        os.utime(tmp_path / "spool" / "pending" / envelope.envelope_id, (1000 - age, 1000 - age))
    listed = [entry.envelope_id for entry in spool.entries(SpoolState.PENDING)]
    assert listed == [envelope.envelope_id for envelope in reversed(envelopes)]


def test_a_reopened_spool_holds_what_it_held(tmp_path: Path) -> None:
    """Also its count of bytes: the limit holds across a restart."""
    envelope = make_envelope(KEY, body=bytes(1000))
    open_spool(tmp_path).put(envelope)
    again = open_spool(tmp_path, max_bytes=1500)
    assert again.get(envelope.envelope_id) == envelope
    with pytest.raises(SpoolFullError, match=f"holds {len(envelope.data)} of at most 1500 bytes in 1 envelopes"):
        again.put(make_envelope(KEY, body=bytes(1000)))


def test_room_that_another_process_made_is_seen(tmp_path: Path) -> None:
    """Capture puts, upload shreds: two objects, one directory."""
    capture, upload = open_spool(tmp_path, max_bytes=2000), open_spool(tmp_path, max_bytes=2000)
    first, second = (make_envelope(KEY, body=bytes(1000)) for _ in range(2))
    capture.put(first)
    with pytest.raises(SpoolFullError):
        capture.put(second)
    upload.shred(proof(first))
    capture.put(second)
    assert [entry.envelope_id for entry in upload.entries(SpoolState.PENDING)] == [second.envelope_id]


def test_an_interrupted_put_is_swept_away(tmp_path: Path) -> None:
    """What lies in incoming was never accepted."""
    spool = open_spool(tmp_path)
    (tmp_path / "spool" / "incoming" / ("0" * 64)).write_bytes(b"half")
    assert spool.recover_puts() == 1
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []
    assert spool.recover_puts() == 0


def test_an_interrupted_shred_is_finished(tmp_path: Path) -> None:
    """What lies in shredding was proven delivered."""
    spool = open_spool(tmp_path)
    (tmp_path / "spool" / "shredding" / ("0" * 64)).write_bytes(b"proven")
    assert spool.recover_shreds() == 1
    assert list((tmp_path / "spool" / "shredding").iterdir()) == []
    assert spool.recover_shreds() == 0


def test_shredding_overwrites_before_it_unlinks(tmp_path: Path) -> None:
    """Whoever holds the file open afterwards reads zeros, as many as there were bytes."""
    spool, envelope = open_spool(tmp_path), make_envelope(KEY, body=os.urandom(200_000))
    spool.put(envelope)
    with (tmp_path / "spool" / "pending" / envelope.envelope_id).open("rb") as held:
        spool.shred(proof(envelope))
        assert held.read() == bytes(len(envelope.data))


def test_quarantine_notes_the_reason(tmp_path: Path) -> None:
    """For the person who looks; setting aside again with another reason replaces it."""
    spool, envelope = open_spool(tmp_path), make_envelope(KEY)
    for reason in ("first", "second"):
        spool.put(envelope)
        spool.quarantine(envelope.envelope_id, reason=reason)
        note = tmp_path / "spool" / "quarantine" / f"{envelope.envelope_id}.reason"
        assert note.read_text() == reason
    assert [entry.envelope_id for entry in spool.entries(SpoolState.QUARANTINE)] == [envelope.envelope_id]


def test_other_files_are_not_taken_for_envelopes(tmp_path: Path) -> None:
    """A name that is no digest is neither listed nor counted."""
    spool = open_spool(tmp_path)
    for name in ODD_NAMES:
        (tmp_path / "spool" / "pending" / name).write_text("hello")
    assert spool.entries(SpoolState.PENDING) == []
    assert spool.usage(SpoolState.PENDING) == Usage(0, 0)


def test_odd_names_are_set_aside_at_the_start_and_never_erased(tmp_path: Path) -> None:
    """Each with a reason that says what it was called; a second one of the same name beside the first."""
    spool, envelope = open_spool(tmp_path), make_envelope(KEY)
    spool.put(envelope)
    pending, quarantine = tmp_path / "spool" / "pending", tmp_path / "spool" / "quarantine"
    for content in ("first", "second"):
        for name in ODD_NAMES:
            (pending / name).write_text(content)
        assert spool.recover_shreds() == len(ODD_NAMES)
        assert [path.name for path in pending.iterdir()] == [envelope.envelope_id]
    (pending / "folder").mkdir()
    (pending / "link").symlink_to("elsewhere")
    assert spool.recover_shreds() == 2
    notes = [path.read_text() for path in quarantine.glob("*.reason")]
    for name in (*ODD_NAMES, "folder/", "link/"):
        assert sum(note.endswith(f": {name!r}") for note in notes) == (2 if name in ODD_NAMES else 1)
    contents = [path.read_text() for path in quarantine.glob("odd-*[0-9]") if path.is_file()]
    assert sorted(contents) == ["first"] * len(ODD_NAMES) + ["second"] * len(ODD_NAMES)
    assert spool.recover_shreds() == 0
    assert spool.entries(SpoolState.QUARANTINE) == []


def test_what_is_no_file_is_no_envelope_whatever_its_name(tmp_path: Path) -> None:
    """A directory, a pipe and a link with the names of envelopes: neither listed nor counted, and set aside."""
    spool, envelope = open_spool(tmp_path), make_envelope(KEY)
    spool.put(envelope)
    pending, quarantine = tmp_path / "spool" / "pending", tmp_path / "spool" / "quarantine"
    names = [digit * 64 for digit in "abc"]
    (pending / names[0]).mkdir()
    (pending / names[0] / "inside").write_text("kept")
    os.mkfifo(pending / names[1])
    (pending / names[2]).symlink_to(pending / envelope.envelope_id)
    assert [entry.envelope_id for entry in spool.entries(SpoolState.PENDING)] == [envelope.envelope_id]
    assert spool.usage(SpoolState.PENDING).count == 1
    assert spool.recover_shreds() == 3
    assert [path.name for path in pending.iterdir()] == [envelope.envelope_id]
    (folder,) = (path for path in quarantine.iterdir() if path.is_dir())
    assert (folder / "inside").read_text() == "kept"
    assert spool.usage(SpoolState.QUARANTINE).count == 3
    assert spool.recover_shreds() == 0


def test_an_odd_name_of_something_set_aside_costs_nothing(tmp_path: Path) -> None:
    """A directory in pending with the name of an envelope in quarantine does not take that one away."""
    spool, envelope = open_spool(tmp_path), make_envelope(KEY)
    spool.put(envelope)
    spool.quarantine(envelope.envelope_id, reason="test")
    (tmp_path / "spool" / "pending" / envelope.envelope_id).mkdir()
    assert spool.recover_shreds() == 1
    spool.release(envelope.envelope_id)
    assert spool.get(envelope.envelope_id) == envelope


def test_setting_an_odd_name_aside_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    """One file, one name in quarantine, one reason; another file of the same name gets its own."""
    spool = open_spool(tmp_path)
    pending, quarantine = tmp_path / "spool" / "pending", tmp_path / "spool" / "quarantine"
    for content in ("first", "second"):
        (pending / "odd").write_text(content)
        assert spool.recover_shreds() == 1
        (path,) = (each for each in quarantine.glob("odd-*[0-9]") if each.read_text() == content)
        os.link(path, pending / "odd")
        path.with_name(f"{path.name}.reason").unlink()
        assert spool.recover_shreds() == 1
        assert not (pending / "odd").exists()
    assert sorted(path.read_text() for path in quarantine.glob("odd-*[0-9]")) == ["first", "second"]
    assert len(list(quarantine.glob("odd-*.reason"))) == 2


class BrokenOverwrites(LocalFiles):
    """A disk that cannot overwrite some files."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def overwrite(self, path: Path) -> None:
        """As the port."""
        if path.name in self._names:
            raise SpoolError("spool: cannot overwrite")
        super().overwrite(path)


@pytest.mark.parametrize("erasers", [1, 4])
def test_files_are_erased_side_by_side_and_none_is_forgotten(tmp_path: Path, erasers: int) -> None:
    """Also when the disk refuses one: it is said, and the next start finishes it."""
    envelopes = make_chain(KEY, 20)
    files = BrokenOverwrites(envelopes[3].envelope_id)
    spool = FileSpool(tmp_path / "spool", max_bytes=1 << 20, files=files, erasers=erasers)
    for envelope in envelopes:
        spool.put(envelope)
    shredded = spool.shred(*(proof(envelope) for envelope in envelopes))
    assert shredded == Shredded(unerased={envelopes[3].envelope_id: "spool: cannot overwrite"})
    assert spool.entries(SpoolState.PENDING) == []
    left = {path.name for path in (tmp_path / "spool" / "shredding").iterdir()}
    assert left == {envelopes[3].envelope_id}
    again = FileSpool(tmp_path / "spool", max_bytes=1 << 20, files=LocalFiles(), erasers=erasers)
    assert again.recover_shreds() == len(left)
    assert list((tmp_path / "spool" / "shredding").iterdir()) == []


def test_a_shred_that_a_crash_undid_in_pending_is_finished(tmp_path: Path) -> None:
    """The two names of one file: the proof was there, so both go, and the content first."""
    spool, envelope = open_spool(tmp_path), make_envelope(KEY, body=os.urandom(1000))
    spool.put(envelope)
    pending, shredding = tmp_path / "spool" / "pending", tmp_path / "spool" / "shredding"
    os.link(pending / envelope.envelope_id, shredding / envelope.envelope_id)
    with (pending / envelope.envelope_id).open("rb") as held:
        assert spool.recover_shreds() == 1
        assert held.read() == bytes(len(envelope.data))
    assert list(pending.iterdir()) == list(shredding.iterdir()) == []


def test_a_quarantine_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    """The envelope counts as pending; a reason without its envelope goes; finished ones stay."""
    spool, (done, half) = open_spool(tmp_path), make_chain(KEY, 2)
    for envelope in (done, half):
        spool.put(envelope)
    spool.quarantine(done.envelope_id, reason="test")
    pending, quarantine = tmp_path / "spool" / "pending", tmp_path / "spool" / "quarantine"
    os.link(pending / half.envelope_id, quarantine / half.envelope_id)
    (quarantine / f"{half.envelope_id}.reason").write_text("test")
    (quarantine / f"{'0' * 64}.reason").write_text("alone")
    assert spool.recover_shreds() > 0
    assert spool.recover_shreds() == 0
    assert {path.name for path in quarantine.iterdir()} == {done.envelope_id, f"{done.envelope_id}.reason"}
    assert spool.get(half.envelope_id) == half


def test_a_release_brings_a_whole_envelope_back(tmp_path: Path) -> None:
    """With its reason gone; a damaged one stays where it is."""
    spool, (whole, damaged) = open_spool(tmp_path), make_chain(KEY, 2)
    quarantine = tmp_path / "spool" / "quarantine"
    for envelope in (whole, damaged):
        spool.put(envelope)
        spool.quarantine(envelope.envelope_id, reason="test")
    (quarantine / damaged.envelope_id).write_bytes(whole.data)
    spool.release(whole.envelope_id)
    assert spool.get(whole.envelope_id) == whole
    with pytest.raises(EnvelopeVerificationError):
        spool.release(damaged.envelope_id)
    with pytest.raises(SpoolMissingError):
        spool.release(whole.envelope_id)
    assert {path.name for path in quarantine.iterdir()} == {damaged.envelope_id, f"{damaged.envelope_id}.reason"}


def test_a_release_that_was_cut_off_can_be_repeated(tmp_path: Path) -> None:
    """The envelope is in both places then."""
    spool, envelope = open_spool(tmp_path), make_envelope(KEY)
    spool.put(envelope)
    spool.quarantine(envelope.envelope_id, reason="test")
    pending, quarantine = tmp_path / "spool" / "pending", tmp_path / "spool" / "quarantine"
    os.link(quarantine / envelope.envelope_id, pending / envelope.envelope_id)
    spool.release(envelope.envelope_id)
    assert spool.get(envelope.envelope_id) == envelope
    assert list(quarantine.iterdir()) == []


def test_a_tombstone_of_an_earlier_run_still_counts(tmp_path: Path) -> None:
    """What a crash left between a tombstone and the erasure can be finished."""
    (envelope,) = make_chain(KEY, 1)
    gone = Gone(envelope.position.chain, 0, 0, envelope.digest)
    tombstone = sign_tombstone(Tombstone(LossReason.EXPIRED, 1, AT, AT, (gone,)), KEY, next_position(envelope))
    before = open_spool(tmp_path)
    before.put(envelope)
    before.put(tombstone)
    after = open_spool(tmp_path)
    after.expire(tombstone, [envelope.envelope_id])
    assert [entry.envelope_id for entry in after.entries(SpoolState.PENDING)] == [tombstone.envelope_id]


def test_room_that_an_expiry_made_is_known_at_once(tmp_path: Path) -> None:
    """The process that puts and expires needs no new look at the directory."""
    (envelope,), (other,) = make_chain(KEY, 1, body=bytes(1000)), make_chain(KEY, 1, body=bytes(1000))
    gone = Gone(envelope.position.chain, 0, 0, envelope.digest)
    tombstone = sign_tombstone(Tombstone(LossReason.EVICTED, 1, AT, AT, (gone,)), KEY, next_position(envelope))
    files = FaultyFiles()
    spool = FileSpool(tmp_path / "spool", max_bytes=3000, files=files)
    spool.put(envelope)
    spool.put(tombstone)
    with pytest.raises(SpoolFullError):
        spool.put(other)
    listings = files.listings
    spool.expire(tombstone, [envelope.envelope_id])
    spool.put(other)
    assert files.listings == listings


def test_one_process_holds_each_part(tmp_path: Path) -> None:
    """Two uploads, or two captures, would undo each other's steps; a part that is let go is free."""
    open_spool(tmp_path)
    with SpoolLock(tmp_path / "spool", SpoolPart.UPLOAD), SpoolLock(tmp_path / "spool", SpoolPart.CAPTURE):
        for part in SpoolPart:
            with pytest.raises(SpoolError, match=f"another process holds the {part.name.lower()} side"):
                SpoolLock(tmp_path / "spool", part)
    SpoolLock(tmp_path / "spool", SpoolPart.UPLOAD).close()
    with pytest.raises(SpoolError, match="cannot open"):
        SpoolLock(tmp_path / "missing", SpoolPart.UPLOAD)


@pytest.mark.parametrize("name", ["", "..", "../pending/x", "a" * 63, "a" * 65, "A" * 64, "a" * 64 + "\n"])
def test_a_name_that_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    """No path can be smuggled in."""
    with pytest.raises(SpoolError, match="64 lower-case hex"):
        open_spool(tmp_path).get(name)

"""The spool on disk: names, modes, bounds and start-up."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import SpoolError, SpoolFullError
from agent.records import SpoolState
from agent.spool.files import LocalFiles
from agent.spool.spool import FileSpool
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.receipts import proof

KEY = Ed25519PrivateKey.generate()


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
    with pytest.raises(SpoolFullError, match=f"holds {len(envelope.data)} of at most 1500 bytes"):
        again.put(make_envelope(KEY, body=bytes(1000)))


def test_room_that_another_process_made_is_seen(tmp_path: Path) -> None:
    """Capture puts, upload shreds: two objects, one directory."""
    capture, upload = open_spool(tmp_path, max_bytes=2000), open_spool(tmp_path, max_bytes=2000)
    first, second = (make_envelope(KEY, body=bytes(1000)) for _ in range(2))
    capture.put(first)
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
    """A name that is no digest is left alone."""
    spool = open_spool(tmp_path)
    (tmp_path / "spool" / "pending" / "README").write_text("hello")
    (tmp_path / "spool" / "pending" / ("A" * 64)).write_text("upper case")
    assert spool.entries(SpoolState.PENDING) == []


@pytest.mark.parametrize("name", ["", "..", "../pending/x", "a" * 63, "a" * 65, "A" * 64, "a" * 64 + "\n"])
def test_a_name_that_is_no_id_is_refused(tmp_path: Path, name: str) -> None:
    """No path can be smuggled in."""
    with pytest.raises(SpoolError, match="64 lower-case hex"):
        open_spool(tmp_path).get(name)


def test_a_spool_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    """A missing parent and a file in the way give one line each."""
    with pytest.raises(SpoolError, match="No such file or directory"):
        open_spool(tmp_path / "missing")
    (tmp_path / "spool").write_text("in the way")
    with pytest.raises(SpoolError, match="cannot make"):
        open_spool(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_read_only_spool_says_so(tmp_path: Path) -> None:
    """Found at the start, not at the first read."""
    open_spool(tmp_path)
    (tmp_path / "spool" / "incoming").chmod(0o500)
    with pytest.raises(SpoolError, match="not writable"):
        open_spool(tmp_path)

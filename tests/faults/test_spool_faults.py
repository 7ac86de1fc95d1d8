"""A failing disk and a power cut at every step of put, shred and quarantine, on a real file system.

The file system itself is not simulated here: what a step had done stays done. So these tests hold the order of the
steps and their clean-up, not what a kernel may reorder.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.errors import SpoolError, SpoolFullError
from agent.records import Envelope, SpoolState
from agent.spool.spool import FileSpool
from agent.wire.envelope import sign_tombstone
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import make_envelope, next_position
from tests.fakes.files import FaultyFiles, PowerCutError
from tests.fakes.receipts import proof

KEY = Ed25519PrivateKey.generate()
PUT = ["create incoming", "rename to pending", "sync pending"]
SHRED = [
    "rename to shredding", "sync shredding", "unlink pending", "sync pending", "overwrite",
    "unlink shredding", "sync shredding",
]  # fmt: skip
QUARANTINE = [
    "unlink quarantine", "create quarantine", "unlink quarantine", "link to quarantine", "sync quarantine",
    "unlink pending", "sync pending",
]  # fmt: skip


def open_spool(root: Path, files: FaultyFiles | LocalFiles) -> FileSpool:
    """Open the spool below `root`."""
    return FileSpool(root / "spool", max_bytes=1 << 20, files=files)


def restart(root: Path) -> FileSpool:
    """Open the spool as both daemons do after a power cut."""
    spool = open_spool(root, LocalFiles())
    spool.recover_puts()
    spool.recover_shreds()
    return spool


def states(spool: FileSpool) -> dict[str, SpoolState]:
    """Return every envelope's state."""
    return {entry.envelope_id: state for state in SpoolState for entry in spool.entries(state)}


def recorded(root: Path, act: Callable[[FileSpool, Envelope], object], *, put_first: bool) -> list[str]:
    """Return the steps that an action takes."""
    files = FaultyFiles()
    spool, envelope = open_spool(root, files), make_envelope(KEY)
    if put_first:
        spool.put(envelope)
    before = len(files.steps)
    act(spool, envelope)
    return files.steps[before:]


def test_the_steps_are_the_documented_ones(tmp_path: Path) -> None:
    """The table in the module's docstring is what happens, in that order."""
    assert recorded(tmp_path, lambda spool, envelope: spool.put(envelope), put_first=False) == PUT
    assert recorded(tmp_path, lambda spool, envelope: spool.shred(proof(envelope)), put_first=True) == SHRED
    quarantine = recorded(
        tmp_path, lambda spool, envelope: spool.quarantine(envelope.envelope_id, reason="x"), put_first=True
    )
    assert quarantine == QUARANTINE


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EROFS, None])
@pytest.mark.parametrize("step", range(len(PUT)))
def test_a_put_that_fails_is_never_a_false_accept(tmp_path: Path, step: int, error: int | None) -> None:
    """At every step: the caller is told, and a restart finds all of the envelope or nothing of it."""
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    files.fail_at(step, error)
    with pytest.raises(PowerCutError if error is None else SpoolError):
        spool.put(envelope)
    again = restart(tmp_path)
    if envelope.envelope_id in states(again):
        assert again.get(envelope.envelope_id) == envelope
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []


def test_a_full_disk_is_told_from_a_broken_one(tmp_path: Path) -> None:
    """A full disk may empty again: its own error, nothing left behind."""
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    files.fail_at(0, errno.ENOSPC)
    with pytest.raises(SpoolFullError):
        spool.put(envelope)
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []
    spool.put(envelope)
    assert spool.get(envelope.envelope_id) == envelope


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, None])
@pytest.mark.parametrize("step", range(len(SHRED)))
def test_a_shred_that_fails_is_finished_or_undone(tmp_path: Path, step: int, error: int | None) -> None:
    """At every step: afterwards the envelope is whole and pending, or gone; never a damaged one among the pending.

    One file that cannot be erased does not stop the caller, who is told of it.
    """
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    spool.put(envelope)
    files.fail_at(step, error)
    if error is not None and SHRED[step] in ("overwrite", "unlink shredding"):
        assert list(spool.shred(proof(envelope)).unerased) == [envelope.envelope_id]
    else:
        with pytest.raises(PowerCutError if error is None else SpoolError):
            spool.shred(proof(envelope))
    again = restart(tmp_path)
    if states(again):
        assert again.get(envelope.envelope_id) == envelope
    assert list((tmp_path / "spool" / "shredding").iterdir()) == []


@pytest.mark.parametrize("error", [errno.EIO, errno.EROFS, None])
@pytest.mark.parametrize("step", range(len(QUARANTINE)))
def test_a_quarantine_that_fails_keeps_the_envelope(tmp_path: Path, step: int, error: int | None) -> None:
    """At every step: pending or set aside, never lost; trying again succeeds."""
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    spool.put(envelope)
    files.fail_at(step, error)
    with pytest.raises(PowerCutError if error is None else SpoolError):
        spool.quarantine(envelope.envelope_id, reason="refused")
    again = restart(tmp_path)
    assert list(states(again)) == [envelope.envelope_id]
    if states(again)[envelope.envelope_id] is SpoolState.PENDING:
        again.quarantine(envelope.envelope_id, reason="refused")
    assert states(again) == {envelope.envelope_id: SpoolState.QUARANTINE}


def test_on_a_full_disk_an_envelope_is_set_aside_without_its_reason(tmp_path: Path) -> None:
    """It would block the way of all the others, and with them the disk would stay full."""
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    spool.put(envelope)
    files.fail_at(QUARANTINE.index("create quarantine"), errno.ENOSPC)
    spool.quarantine(envelope.envelope_id, reason="refused")
    assert states(spool) == {envelope.envelope_id: SpoolState.QUARANTINE}
    assert [(aside.name, aside.reason) for aside in spool.set_aside()] == [(envelope.envelope_id, "")]


def test_a_put_whose_name_is_not_synced_is_no_full_spool(tmp_path: Path) -> None:
    """A full spool means that nothing changed, and here something did: the caller must not go on as if not."""
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    files.fail_at(PUT.index("sync pending"), errno.ENOSPC)
    with pytest.raises(SpoolError, match="is not known") as caught:
        spool.put(envelope)
    assert not isinstance(caught.value, SpoolFullError)
    spool.put(envelope)
    assert files.steps[-3:] == PUT


def test_a_shred_that_is_refused_halfway_finishes_what_it_took(tmp_path: Path) -> None:
    """The rest is still pending; nothing waits in shredding for the next start."""
    files, envelopes = FaultyFiles(), [make_envelope(KEY) for _ in range(3)]
    spool = open_spool(tmp_path, files)
    for envelope in envelopes:
        spool.put(envelope)
    files.fail_at(1, errno.ENOSPC)
    with pytest.raises(SpoolFullError):
        spool.shred(*(proof(envelope) for envelope in envelopes))
    assert set(states(spool)) == {envelope.envelope_id for envelope in envelopes[1:]}
    assert list((tmp_path / "spool" / "shredding").iterdir()) == []


def test_room_is_measured_anew_after_an_expiry_that_was_refused(tmp_path: Path) -> None:
    """How much of it happened is not known."""
    files = FaultyFiles()
    spool = FileSpool(tmp_path / "spool", max_bytes=3000, files=files)
    read, other = make_envelope(KEY, body=bytes(1000)), make_envelope(KEY, body=bytes(1000))
    gone = Gone(read.position.chain, 0, 0, read.digest)
    at = datetime(2026, 3, 1, tzinfo=UTC)
    tombstone = sign_tombstone(Tombstone(LossReason.EVICTED, 1, at, at, (gone,)), KEY, next_position(read))
    spool.put(read)
    spool.put(tombstone)
    with pytest.raises(SpoolFullError):
        spool.put(other)
    files.fail_at(SHRED.index("sync pending"), errno.EIO)
    with pytest.raises(SpoolError):
        spool.expire(tombstone, [read.envelope_id])
    spool.put(other)
    assert set(states(spool)) == {other.envelope_id, tombstone.envelope_id}


@pytest.mark.parametrize("step", ["link to quarantine", "unlink pending"])
def test_what_stays_pending_does_not_look_set_aside(tmp_path: Path, step: str) -> None:
    """Neither a second name nor a reason is left in quarantine where the move was refused."""
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    spool.put(envelope)
    files.fail_at(QUARANTINE.index(step), errno.EPERM)
    with pytest.raises(SpoolError):
        spool.quarantine(envelope.envelope_id, reason="refused")
    assert list((tmp_path / "spool" / "quarantine").iterdir()) == []
    assert spool.get(envelope.envelope_id) == envelope

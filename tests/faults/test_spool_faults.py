"""A failing disk and a power cut at every step of put, shred and quarantine, on a real file system.

The file system itself is not simulated here: what a step had done stays done. So these tests hold the order of the
steps and their clean-up, not what a kernel may reorder.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import SpoolError, SpoolFullError
from agent.records import Envelope, SpoolState
from agent.spool.files import LocalFiles
from agent.spool.spool import FileSpool
from tests.fakes.envelopes import make_envelope
from tests.fakes.files import FaultyFiles, PowerCutError
from tests.fakes.receipts import proof

KEY = Ed25519PrivateKey.generate()
PUT = ["create incoming", "rename to pending", "sync pending"]
SHRED = ["rename to shredding", "sync pending", "overwrite", "unlink", "sync shredding"]
QUARANTINE = ["unlink", "create quarantine", "rename to quarantine", "sync quarantine", "sync pending"]


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


def recorded(root: Path, act: Callable[[FileSpool, Envelope], None], *, put_first: bool) -> list[str]:
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
    """A full disk may empty again: retryable, nothing left behind."""
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
    """At every step: afterwards the envelope is whole and pending, or gone; never a damaged one among the pending."""
    files, envelope = FaultyFiles(), make_envelope(KEY)
    spool = open_spool(tmp_path, files)
    spool.put(envelope)
    files.fail_at(step, error)
    with pytest.raises(PowerCutError if error is None else SpoolError):
        spool.shred(proof(envelope))
    again = restart(tmp_path)
    if states(again):
        assert again.get(envelope.envelope_id) == envelope
    assert list((tmp_path / "spool" / "shredding").iterdir()) == []


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, None])
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

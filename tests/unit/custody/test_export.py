"""One read for a court: what is in the folder, and that its VERIFY.md can be followed with other people's tools."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.custody.access import hold_reads
from agent.custody.audit import read_audit
from agent.custody.audit_entry import Action, Mandate
from agent.custody.destroy import destroy, plan_destruction
from agent.custody.export import Exported, export_read
from agent.custody.owner import Owner
from agent.custody.search import Query
from agent.errors import OpenError, UsageError
from agent.wire.envelope import parse_envelope, sign_tombstone
from agent.wire.suites import KeyType
from agent.wire.tombstone import LossReason, Tombstone
from tests.fakes.owner import DAY, MANDATE, MIDNIGHT, Camera, MemoryReceiver, make_owner
from tests.fakes.reads import NOON
from tests.fakes.waiting import WITHIN_S


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    """Return an owner with keys for two days."""
    return make_owner(tmp_path / "owner", key_type=KeyType.HYBRID)


@pytest.fixture(params=[None, 0], ids=["version-1", "version-2"])
def receiver(owner: Owner, request: pytest.FixtureRequest) -> MemoryReceiver:
    """Return a store with a chain of three reads, and one of another camera between them."""
    camera, other = Camera(owner, run=request.param), Camera(owner, run=request.param)
    first, second, third = (camera.seal(f"AB{index}").data for index in range(3))
    return MemoryReceiver(camera, other, stored=[first, other.seal("XX1").data, second, third])


def export(
    owner: Owner, receiver: MemoryReceiver, out: Path, *, index: int = 2, mandate: Mandate = MANDATE
) -> Exported:
    """Export the read that stands at `index` of the store."""
    envelope_id = parse_envelope(receiver.stored[index]).envelope_id
    return export_read(owner, receiver, envelope_id, mandate, out=out, receipt_keys=receiver.receipt_keys)


def follow(out: Path) -> subprocess.CompletedProcess[str]:
    """Follow VERIFY.md in its folder: its Python as one session, its commands in a shell, in their order."""
    blocks = re.findall(r"^```(python)?\n(.*?)^```$", (out / "VERIFY.md").read_text(), re.MULTILINE | re.DOTALL)
    steps = ["import subprocess"]
    for language, text in blocks:
        if text.startswith("pip install"):
            continue
        steps.append(text if language else f"subprocess.run({text!r}, shell=True, check=True)")
    return subprocess.run(
        [sys.executable, "-c", "\n".join(steps)], cwd=out, capture_output=True, text=True, check=False, timeout=WITHIN_S
    )


def test_the_folder_holds_everything_for_its_user_only(owner: Owner, receiver: MemoryReceiver, tmp_path: Path) -> None:
    """The stored bytes as they are, the read in clear, and the digests of all files; mode 0600 in 0700."""
    out = tmp_path / "out"
    exported = export(owner, receiver, out)
    assert sorted(exported.files) == sorted(path.name for path in out.iterdir())
    assert exported.missing == ()
    assert (out / "envelope.cose").read_bytes() == receiver.stored[2]
    assert (out / "previous.cose").read_bytes() == receiver.stored[0]
    assert (out / "next.cose").read_bytes() == receiver.stored[3]
    told = json.loads((out / "read.json").read_text())
    assert (told["text"], told["camera"], told["captured_at"]) == ("AB1", "cam-1", "2026-03-01T12:00:00.000Z")
    assert told["envelope"] == hashlib.sha256(receiver.stored[2]).hexdigest()
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in out.iterdir()} == {0o600}


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("index", [0, 1, 2, 3])
def test_verify_md_is_followed_to_its_end(owner: Owner, receiver: MemoryReceiver, tmp_path: Path, index: int) -> None:
    """By openssl, cwt, cbor2 and cryptography alone: first, only, middle and last read of a chain."""
    export(owner, receiver, tmp_path / "out", index=index)
    done = follow(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "the camera signed the envelope" in done.stdout
    assert "the camera read" in done.stdout
    is_version_2 = parse_envelope(receiver.stored[index]).position.version == 2
    assert ("the one key that the camera committed to" in done.stdout) is is_version_2
    assert "the receiver stored it" in done.stdout
    assert ("the message before it is linked" in done.stdout) is (index in (2, 3))
    assert ("the message after it is linked" in done.stdout) is (index in (0, 2))


def flip(name: str, offset: int) -> Callable[[Path], None]:
    """Return an edit that changes one byte of a file, and the list of digests with it."""

    def edit(out: Path) -> None:
        data = bytearray((out / name).read_bytes())
        before = hashlib.sha256(data).hexdigest()
        data[offset] ^= 1
        (out / name).write_bytes(data)
        sums = (out / "SHA256SUMS").read_text()
        (out / "SHA256SUMS").write_text(sums.replace(before, hashlib.sha256(data).hexdigest()))

    return edit


def retell(out: Path) -> None:
    """Change the plate in read.json, and the list of digests with it."""
    before = (out / "read.json").read_bytes()
    after = before.replace(b'"AB1"', b'"AB7"')
    (out / "read.json").write_bytes(after)
    sums = (out / "SHA256SUMS").read_text()
    (out / "SHA256SUMS").write_text(sums.replace(hashlib.sha256(before).hexdigest(), hashlib.sha256(after).hexdigest()))


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    "edit",
    [
        flip("envelope.cose", -1),
        flip("envelope.cose", 200),
        flip("previous.cose", -100),
        flip("next.cose", -1),
        flip("receipt.cose", -1),
        flip("crop.jpg", -1),
        flip("device.pub", 60),
        retell,
        lambda out: (out / "crop.jpg").write_bytes(b"another picture"),
    ],
    ids=["signature", "envelope", "previous", "next", "receipt", "crop", "key", "told", "sums"],
)
def test_verify_md_fails_on_whatever_was_changed(
    owner: Owner, receiver: MemoryReceiver, tmp_path: Path, edit: Callable[[Path], None]
) -> None:
    """Also where the list of digests was changed with it."""
    export(owner, receiver, tmp_path / "out")
    edit(tmp_path / "out")
    assert follow(tmp_path / "out").returncode != 0


@pytest.mark.needs("openssl")
def test_without_a_kept_receipt_none_is_made_and_the_export_says_so(
    owner: Owner, receiver: MemoryReceiver, tmp_path: Path
) -> None:
    """In the answer and in VERIFY.md, whose other steps hold."""
    bare = MemoryReceiver(stored=receiver.stored, keeps_receipts=False)
    bare.devices = receiver.devices
    exported = export(owner, bare, tmp_path / "out")
    assert any("receipt" in line for line in exported.missing)
    assert not (tmp_path / "out" / "receipt.cose").exists()
    assert "Not in this folder" in (tmp_path / "out" / "VERIFY.md").read_text()
    done = follow(tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "Step 7" not in (tmp_path / "out" / "VERIFY.md").read_text()


@pytest.mark.needs("openssl")
def test_a_neighbour_may_be_a_tombstone(owner: Owner, tmp_path: Path) -> None:
    """It stands in the chain like a read, and is exported as it is."""
    camera = Camera(owner)
    read = camera.seal("AB1")
    note = Tombstone(reason=LossReason.OVERFLOW, count=1, first_at=NOON, last_at=NOON)
    position = camera.next_position
    tombstone = sign_tombstone(note, camera.key, position)
    out = tmp_path / "out"
    export(owner, MemoryReceiver(camera, stored=[read.data, tombstone.data]), out, index=0)
    assert (out / "next.cose").read_bytes() == tombstone.data
    done = follow(out)
    assert done.returncode == 0, done.stderr


def test_the_export_is_entered_before_anything_is_written(
    owner: Owner, receiver: MemoryReceiver, tmp_path: Path
) -> None:
    """With the read's id; an export that then fails has its entry and leaves no folder."""
    destroy(owner, plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + DAY), MANDATE)
    with pytest.raises(OpenError, match="destroyed key"):
        export(owner, receiver, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    entry = read_audit(owner.layout.audit, owner.signing_key.public_key()).entries[-1]
    assert (entry.action, entry.count) == (Action.EXPORT, 1)
    assert entry.ids == (hashlib.sha256(receiver.stored[2]).digest(),)


def test_a_held_read_is_exported_after_destruction(owner: Owner, receiver: MemoryReceiver, tmp_path: Path) -> None:
    """For its case, and with the same content."""
    envelope_id = parse_envelope(receiver.stored[2]).envelope_id
    hold_reads(owner, receiver, Query(ids=frozenset([envelope_id])), MANDATE)
    destroy(owner, plan_destruction(owner.layout, owner.keyring(), MIDNIGHT + DAY), MANDATE)
    export(owner, receiver, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "read.json").read_text())["text"] == "AB1"


def test_mistakes_write_nothing_and_are_not_entered(owner: Owner, receiver: MemoryReceiver, tmp_path: Path) -> None:
    """No such envelope, no reason, and a folder that holds something."""
    out = tmp_path / "out"
    with pytest.raises(UsageError, match="no such envelope"):
        export_read(owner, receiver, "ab" * 32, MANDATE, out=out, receipt_keys={})
    with pytest.raises(UsageError, match="--reason"):
        export(owner, receiver, out, mandate=Mandate(who="a", case="1"))
    with pytest.raises(UsageError, match="not empty"):
        export(owner, receiver, tmp_path)
    with pytest.raises(UsageError, match="--out"):
        export(owner, receiver, owner.layout.owner_public)
    assert not out.exists()
    assert len(read_audit(owner.layout.audit, owner.signing_key.public_key()).entries) == 1


def test_a_tombstone_is_no_read_to_export(owner: Owner, tmp_path: Path) -> None:
    """It says so instead of writing half a folder."""
    camera = Camera(owner)
    note = Tombstone(reason=LossReason.OVERFLOW, count=1, first_at=NOON, last_at=NOON)
    stored = [sign_tombstone(note, camera.key, camera.next_position).data]
    with pytest.raises(OpenError, match="tombstone"):
        export(owner, MemoryReceiver(camera, stored=stored), tmp_path / "out", index=0)


def test_a_read_without_a_picture_has_none(owner: Owner, tmp_path: Path) -> None:
    """Cameras may leave the crop out."""
    camera = Camera(owner)
    stored = [camera.seal("AB1", crop=b"").data]
    exported = export(owner, MemoryReceiver(camera, stored=stored), tmp_path / "out", index=0)
    assert "crop.jpg" not in exported.files

"""A spool that cannot be used says so at the start: one line, what is wrong, where, and what is needed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.errors import SpoolError, SpoolFullError
from agent.records import SpoolState
from agent.spool.spool import FileSpool
from tests.fakes.envelopes import make_envelope
from tests.fakes.files import FaultyFiles
from tests.fakes.rights import without_override

KEY = Ed25519PrivateKey.generate()
MS_RDONLY, MS_REMOUNT = 1, 32
"""mount(2)."""
NOBODY = 65534


def open_spool(root: Path) -> FileSpool:
    """Open the spool below `root`."""
    return FileSpool(root / "spool", max_bytes=1 << 20, files=LocalFiles())


class SmallDisk:
    """A file system of 256 KiB in memory, as a real kernel has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._mount(0, b"size=256k")

    def make_read_only(self) -> None:
        """Refuse every write from now on."""
        self._mount(MS_REMOUNT | MS_RDONLY, b"")

    def fill(self) -> None:
        """Leave no room."""
        with (self.root / "filler").open("wb", buffering=0) as filler:
            for size in (4096, 1):
                try:
                    while filler.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def close(self) -> None:
        """Take it away."""
        assert self._libc.umount2(os.fsencode(self.root), 2) == 0

    def _mount(self, flags: int, options: bytes) -> None:
        if self._libc.mount(b"tmpfs", os.fsencode(self.root), b"tmpfs", flags, options):
            raise OSError(ctypes.get_errno(), "mounting a tmpfs")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Mount a small disk; needs the right to mount, as root has it outside most containers."""
    small = SmallDisk(tmp_path)
    yield small
    small.close()


def assert_refused(root: Path, *words: str) -> None:
    """Opening the spool fails with one line that names the place and has these words."""
    with pytest.raises(SpoolError) as caught:
        open_spool(root).recover_puts()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("spool: ")
    for word in (str(root), *words):
        assert word in message


def test_a_missing_parent(tmp_path: Path) -> None:
    """A mistyped or unmounted place is not made up."""
    assert_refused(tmp_path / "missing", "cannot make", f"{tmp_path / 'missing'} is not there")
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("name", ["spool", "spool/pending"])
def test_a_file_in_the_way(tmp_path: Path, name: str) -> None:
    """Of the spool, or of one of its directories."""
    (tmp_path / name).parent.mkdir(exist_ok=True, mode=0o700)
    (tmp_path / name).write_text("in the way")
    assert_refused(tmp_path, "is not a directory")
    assert (tmp_path / name).read_text() == "in the way"


@pytest.mark.parametrize(("name", "mode"), [("spool", 0o770), ("spool", 0o702), ("spool/pending", 0o777)])
def test_a_directory_that_others_may_write_to(tmp_path: Path, name: str, mode: int) -> None:
    """They could put names there, or take them away."""
    open_spool(tmp_path)
    (tmp_path / name).chmod(mode)
    assert_refused(tmp_path, f"mode {mode:04o}", "0700 is needed")


@pytest.mark.needs("root")
@pytest.mark.parametrize("name", ["spool", "spool/quarantine"])
def test_a_directory_of_another_user(tmp_path: Path, name: str) -> None:
    """Files in it would be neither ours to read nor to erase."""
    open_spool(tmp_path)
    os.chown(tmp_path / name, NOBODY, NOBODY)
    assert_refused(tmp_path, f"belongs to user {NOBODY}", "user 0")


def test_a_directory_without_the_right_to_write(tmp_path: Path) -> None:
    """Found at the start, not at the first read."""
    open_spool(tmp_path)
    (tmp_path / "spool" / "incoming").chmod(0o500)
    without_override(lambda: assert_refused(tmp_path, "not writable"))


@pytest.mark.needs("mounting")
def test_a_read_only_file_system(disk: SmallDisk) -> None:
    """With the directories there, and without."""
    (disk.root / "made").mkdir()
    open_spool(disk.root / "made")
    disk.make_read_only()
    assert_refused(disk.root / "made", "read-only file system")
    assert_refused(disk.root, "Read-only file system")


@pytest.mark.needs("mounting")
def test_a_full_disk(disk: SmallDisk) -> None:
    """Capture does not start; what is there can still be looked at and delivered, or it would never empty."""
    spool, envelope = open_spool(disk.root), make_envelope(KEY)
    spool.put(envelope)
    disk.fill()
    assert_refused(disk.root, "No space left on device")
    again = open_spool(disk.root)
    again.recover_shreds()
    assert again.get(envelope.envelope_id) == envelope
    (disk.root / "filler").unlink()
    again.recover_puts()
    assert list((disk.root / "spool" / "incoming").iterdir()) == []


@pytest.mark.needs("mounting")
def test_a_full_disk_leaves_no_probe_behind(tmp_path: Path) -> None:
    """And is told from a broken one: it may empty again."""
    files = FaultyFiles()
    spool = FileSpool(tmp_path / "spool", max_bytes=1 << 20, files=files)
    files.fail_at(0, 28)
    with pytest.raises(SpoolFullError):
        spool.recover_puts()
    assert list((tmp_path / "spool" / "incoming").iterdir()) == []
    assert spool.recover_puts() == 0


def test_directories_are_made_durably(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent is synced before anything is made inside, the spool always: a start may be killed in between."""
    events: list[str] = []
    real_mkdir = Path.mkdir

    def mkdir(path: Path, mode: int = 0o777) -> None:
        real_mkdir(path, mode)
        events.append(f"make {path.name}")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    monkeypatch.setattr(LocalFiles, "sync_dir", lambda _self, path: events.append(f"sync {path.name}"))
    made = [f"make {name}" for name in ("incoming", SpoolState.PENDING, "shredding", SpoolState.QUARANTINE)]
    open_spool(tmp_path)
    assert events == ["make spool", f"sync {tmp_path.name}", *made, "sync spool"]
    events.clear()
    open_spool(tmp_path)
    assert events == ["sync spool"]
    (tmp_path / "spool" / "quarantine").rmdir()
    events.clear()
    open_spool(tmp_path)
    assert events == [f"sync {tmp_path.name}", made[-1], "sync spool"]

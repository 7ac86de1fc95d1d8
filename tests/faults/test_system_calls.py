"""EIO, ENOSPC, EROFS and EDQUOT at every system call that changes a file: never a false accept, nor a second fsync.

On a real file system, of `LocalFiles` alone and of the spool on it. The same with power cuts, on the simulated disk, is
in `test_error_injection.py`.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from unittest import mock

import pytest

from agent.disk.files import LocalFiles
from agent.errors import SpoolError, SpoolFullError
from agent.spool.spool import FileSpool
from tests.fakes.system_calls import SystemCalls
from tests.faults.crash_model import ROOM, SPOOL, Unit, faults_of
from tests.faults.crash_scenarios import ACTS
from tests.faults.simulated_disk import Image, SimulatedDisk

ERRORS = (errno.EIO, errno.ENOSPC, errno.EROFS, errno.EDQUOT)
FILE_STEPS: dict[str, tuple[Callable[[LocalFiles, Path], None], list[str]]] = {
    "create": (
        lambda files, root: files.create(root / "new", bytes(9000)),
        ["open new", "write new", "fsync new", "close new"],
    ),
    "overwrite": (
        lambda files, root: files.overwrite(root / "old"),
        ["open old", "write old", "fdatasync old", "close old"],
    ),
    "rename": (lambda files, root: files.rename(root / "old", root / "moved"), ["rename old"]),
    "link": (lambda files, root: files.link(root / "old", root / "second"), ["link old"]),
    "unlink": (lambda files, root: files.unlink(root / "old"), ["unlink old"]),
    "sync_dir": (lambda files, root: files.sync_dir(root), ["open root", "fsync root", "close root"]),
    "prepare": (
        lambda files, root: files.prepare([root / "a", root / "a" / "b"]),
        ["mkdir a", "open root", "fsync root", "close root", "mkdir b", "open a", "fsync a", "close a"],
    ),
}


def local(tmp_path: Path) -> Path:
    """Make a folder with one old file."""
    root = tmp_path / "root"
    root.mkdir(parents=True)
    (root / "old").write_bytes(b"\x01" * 9000)
    return root


@pytest.mark.parametrize("name", FILE_STEPS)
def test_each_step_is_these_system_calls(tmp_path: Path, name: str) -> None:
    """What the simulated disk takes for one step is made durable by these calls, in this order."""
    act, expected = FILE_STEPS[name]
    root = local(tmp_path)
    with SystemCalls().watched() as calls:
        act(LocalFiles(), root)
    assert calls.trace == expected
    assert calls.left_open == []


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("name", FILE_STEPS)
def test_any_system_call_may_fail(tmp_path: Path, name: str, error: int) -> None:
    """The caller is told in our terms, every descriptor is closed, and no fsync is tried a second time."""
    act, expected = FILE_STEPS[name]
    assert expected
    for index in range(len(expected)):
        root = local(tmp_path / str(index))
        with SystemCalls(fail_at=index, error=error).watched() as calls:
            is_full = error in (errno.ENOSPC, errno.EDQUOT) and not expected[index].startswith("mkdir")
            kind = SpoolFullError if is_full else SpoolError
            with pytest.raises(kind):
                act(LocalFiles(), root)
        assert calls.left_open == [], expected[index]
        assert calls.synced_twice == []
        assert len([call for call in calls.trace if call == expected[index]]) == 1


@pytest.mark.parametrize("most_bytes", [1, 7, 4096])
def test_short_writes_are_gone_on_with(tmp_path: Path, most_bytes: int) -> None:
    """A file system may take less than it was given; the content is whole all the same."""
    root = local(tmp_path)
    data = os.urandom(9000)
    with SystemCalls(most_bytes=most_bytes).watched():
        LocalFiles().create(root / "new", data)
        LocalFiles().overwrite(root / "old")
    assert (root / "new").read_bytes() == data
    assert (root / "old").read_bytes() == bytes(9000)


def test_signals_interrupt_nothing(tmp_path: Path) -> None:
    """A timer of the process fires all the while (EINTR); the file is whole."""
    root = local(tmp_path)
    data = os.urandom(1 << 22)
    fired: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _frame: fired.append(number))
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        while not fired:
            LocalFiles().unlink(root / "new")
            LocalFiles().create(root / "new", data)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (root / "new").read_bytes() == data


class RealUnit(Unit):
    """Both daemons on a real file system."""

    def __init__(self, root: Path) -> None:
        """Start both below `root`."""
        super().__init__(SimulatedDisk())
        self._root = root
        self.start()

    def open_spool(self) -> FileSpool:
        """Open the spool below `root`."""
        return FileSpool(self._root, max_bytes=ROOM, files=LocalFiles())


def image_of(root: Path) -> Image:
    """Return what lies below `root` as the simulated disk has it."""
    paths = sorted(root.rglob("*"))
    inodes: dict[int, int] = {}
    return Image(
        tuple(sorted(["/", str(SPOOL), *(str(SPOOL / path.relative_to(root)) for path in paths if path.is_dir())])),
        tuple(
            (
                str(SPOOL / path.relative_to(root)),
                inodes.setdefault(path.stat().st_ino, len(inodes) + 1),
                path.read_bytes(),
            )
            for path in paths
            if path.is_file()
        ),
    )


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC, errno.EROFS])
@pytest.mark.parametrize("name", [name for name in ACTS if name != "start"])
def test_any_system_call_of_the_spool_may_fail(tmp_path: Path, name: str, error: int) -> None:
    """At every call that an act makes: after a restart everything is where it is owed, or was never accepted."""
    given, act = ACTS[name]
    index = 0
    while True:
        root = tmp_path / str(index)
        unit = RealUnit(root)
        for step in given:
            step(unit)
        with SystemCalls(fail_at=index, error=error).watched() as calls, suppress(SpoolError):  # nothing else comes out
            act(unit)
        assert calls.left_open == []
        assert calls.synced_twice == []
        if len(calls.trace) <= index:
            break
        unit.start()
        faults = [what for _, what in faults_of(image_of(root), unit.ledger)]
        if error == errno.ENOSPC:  # a full disk keeps nothing from being set aside, only the note of why
            faults = [what for what in faults if "without its reason" not in what]
        assert faults == []
        index += 1
    assert index > 0


def test_a_directory_that_this_process_may_not_use_is_refused(tmp_path: Path) -> None:
    """Whatever its owner and mode say, the kernel has the last word; a superuser it refuses nothing, so it is faked."""
    with mock.patch.object(os, "access", return_value=False), pytest.raises(SpoolError, match="not writable"):
        LocalFiles().prepare([tmp_path / "spool"])

"""The functions that make files durable: their system calls, in order, and a disk that refuses any of them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from unittest import mock

import pytest

from agent.disk import durable
from tests.fakes.system_calls import SystemCalls

OLD = b"\x01" * 9000
NEW = b"new"
_SYNC_ROOT = ["open root", "fsync root", "close root"]
_CREATE = ["open new", "write new", "fsync new", "close new", *_SYNC_ROOT]
_OVERWRITE = ["open old", "write old", "fdatasync old", "close old"]
STEPS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "create_file": (lambda root: durable.create_file(root / "new", NEW, mode=0o600), _CREATE),
    "replace_file": (
        lambda root: durable.replace_file(root / "old", NEW, mode=0o600),
        ["unlink DRAFT", *(step.replace("new", "DRAFT") for step in _CREATE), "rename DRAFT", *_SYNC_ROOT],
    ),
    "replace_unsynced": (
        lambda root: durable.replace_unsynced(root / "old", NEW),
        ["open .old.new", "write .old.new", "close .old.new", "replace .old.new"],
    ),
    "rename_durably": (
        lambda root: durable.rename_durably(root / "other", root / "old"),
        ["rename other", *_SYNC_ROOT],
    ),
    "remove_file": (lambda root: durable.remove_file(root / "old"), ["unlink old", *_SYNC_ROOT]),
    "overwrite_file": (lambda root: durable.overwrite_file(root / "old"), _OVERWRITE),
    "erase_file": (lambda root: durable.erase_file(root / "old"), [*_OVERWRITE, "unlink old", *_SYNC_ROOT]),
    "replace_secret": (
        lambda root: durable.replace_secret(root / "other", root / "old"),
        ["open old", "rename other", *_SYNC_ROOT, "write old", "fdatasync old", "close old"],
    ),
    "make_directory": (lambda root: durable.make_directory(root / "folder", mode=0o700), ["mkdir folder", *_SYNC_ROOT]),
    "sync_directory": (durable.sync_directory, _SYNC_ROOT),
}
"""Each function of one file or folder: what is done, and the calls that do it."""


def make_root(root: Path) -> Path:
    """Make a folder with two files."""
    root.mkdir(parents=True)
    (root / "old").write_bytes(OLD)
    (root / "other").write_bytes(NEW)
    return root


def steps_of(calls: SystemCalls) -> list[str]:
    """Return the trace, with one name for a draft, whose real one has this process's number in it."""
    return [step.replace(f".old.{os.getpid()}.new", "DRAFT") for step in calls.trace]


@pytest.mark.parametrize("name", STEPS)
def test_each_step_is_these_system_calls(tmp_path: Path, name: str) -> None:
    """A content is synced before its name, a name before the next one goes; nothing is left open."""
    act, expected = STEPS[name]
    root = make_root(tmp_path / "root")
    with SystemCalls().watched() as calls:
        act(root)
    assert steps_of(calls) == expected
    assert calls.left_open == []


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("name", STEPS)
def test_any_system_call_may_fail(tmp_path: Path, name: str, error: int) -> None:
    """The caller is told, no sync is tried again, no draft is left, and a file that was replaced is old or new."""
    act, expected = STEPS[name]
    assert expected
    for index in range(len(expected)):
        root = make_root(tmp_path / str(index) / "root")
        with (
            SystemCalls(fail_at=index, error=error).watched() as calls,
            pytest.raises(OSError, match=os.strerror(error)),
        ):
            act(root)
        assert calls.left_open == [], expected[index]
        assert calls.synced_twice == []
        assert {path.name for path in root.iterdir()} - ({".old.new"} if name == "replace_unsynced" else set()) <= {
            "old",
            "other",
            "folder",
        }
        if name in ("replace_file", "replace_secret", "rename_durably"):
            assert (root / "old").read_bytes() in (OLD, NEW)


def test_what_the_functions_leave(tmp_path: Path) -> None:
    """Content, mode whatever the umask is, and zeros in a secret that still has another name."""
    root = make_root(tmp_path / "root")
    (root / "second").hardlink_to(root / "old")
    before = os.umask(0o077)
    try:
        durable.create_file(root / "new", NEW, mode=0o644)
    finally:
        os.umask(before)
    assert ((root / "new").read_bytes(), stat.S_IMODE((root / "new").stat().st_mode)) == (NEW, 0o644)
    durable.replace_secret(root / "new", root / "old")
    assert ((root / "old").read_bytes(), (root / "second").read_bytes()) == (NEW, bytes(len(OLD)))
    (root / "second").write_bytes(OLD)
    (root / "third").hardlink_to(root / "second")
    durable.erase_file(root / "second")
    assert ((root / "third").read_bytes(), (root / "second").exists()) == (bytes(len(OLD)), False)
    durable.replace_unsynced(root / "old", OLD)
    assert sorted(path.name for path in root.iterdir()) == ["old", "other", "third"]
    assert (root / "old").read_bytes() == OLD


def test_links_are_not_followed(tmp_path: Path) -> None:
    """A link in a file's place is neither written through nor overwritten through."""
    root = make_root(tmp_path / "root")
    (root / "link").symlink_to(root / "old")
    (root / "dangling").symlink_to(root / "none")
    for act in (durable.overwrite_file, durable.erase_file, lambda path: durable.replace_secret(root / "other", path)):
        with pytest.raises(OSError, match="symbolic"):
            act(root / "link")
    with pytest.raises(FileExistsError):
        durable.create_file(root / "dangling", NEW, mode=0o600)
    assert (root / "old").read_bytes() == OLD
    assert not (root / "none").exists()


@pytest.mark.parametrize("most_bytes", [1, 4096])
def test_short_writes_are_gone_on_with(tmp_path: Path, most_bytes: int) -> None:
    """A file system may take less than it was given; the content is whole all the same."""
    root = make_root(tmp_path / "root")
    with SystemCalls(most_bytes=most_bytes).watched():
        durable.create_file(root / "new", OLD, mode=0o600)
        durable.overwrite_file(root / "old")
    assert (root / "new").read_bytes() == OLD
    assert (root / "old").read_bytes() == bytes(len(OLD))


@pytest.mark.parametrize(("has_mode", "is_refused"), [(0o600, False), (0o700, False), (0o640, True), (0o604, True)])
def test_a_file_system_with_one_mode_for_all_keeps_it_if_it_is_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_mode: int, is_refused: bool
) -> None:
    """As vfat, whose driver refuses to change modes."""
    path = tmp_path / "file"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.fchmod(descriptor, has_mode)
    monkeypatch.setattr(os, "fchmod", mock.Mock(side_effect=PermissionError(errno.EPERM, "not permitted")))
    with pytest.raises(PermissionError) if is_refused else nullcontext():
        durable.write_whole(descriptor, b"data", mode=0o600)
    assert path.read_bytes() == (b"" if is_refused else b"data")

"""What every clock and every durable file system promises, on the real ones and on the fakes."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC
from pathlib import Path

import pytest

from agent.app.clock import SystemClock
from agent.errors import SpoolError
from agent.ports import Clock, Files
from agent.records import ClockState
from agent.spool.files import LocalFiles
from tests.fakes.clock import FakeClock
from tests.fakes.files import FaultyFiles


@pytest.fixture(params=[SystemClock, FakeClock])
def clock(request: pytest.FixtureRequest) -> Clock:
    """Return each clock in turn."""
    made: Clock = request.param()
    return made


@pytest.fixture(params=[LocalFiles, FaultyFiles])
def files(request: pytest.FixtureRequest) -> Files:
    """Return each file system in turn, the faulty one without a fault."""
    made: Files = request.param()
    return made


def test_time_is_aware_and_utc(clock: Clock) -> None:
    """No naive time enters the system."""
    assert clock.now().tzinfo is UTC


def test_sleeping_moves_the_monotonic_clock(clock: Clock) -> None:
    """By at least what was asked for."""
    before = clock.monotonic_s()
    clock.sleep(0.01)
    assert clock.monotonic_s() >= before + 0.01


def test_the_state_is_about_this_machine(clock: Clock) -> None:
    """A clock never claims to be a recording."""
    assert clock.state() in (ClockState.SYNCHRONIZED, ClockState.UNSYNCHRONIZED)


def test_a_created_file_is_private_and_whole(files: Files, tmp_path: Path) -> None:
    """Mode 0600, all bytes; a name that exists is refused and kept."""
    path, data = tmp_path / "new", bytes(range(256)) * 1000
    files.create(path, data)
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(SpoolError, match="cannot create"):
        files.create(path, b"other")
    assert path.read_bytes() == data


def test_overwriting_keeps_the_length_and_nothing_else(files: Files, tmp_path: Path) -> None:
    """Zeros, as many as there were bytes, for empty, small and large files."""
    for size in (0, 1, 65_536, 200_001):
        path = tmp_path / f"file-{size}"
        path.write_bytes(b"\xff" * size)
        files.overwrite(path)
        assert path.read_bytes() == bytes(size)


def test_renaming_moves_the_content(files: Files, tmp_path: Path) -> None:
    """The old name is gone."""
    (tmp_path / "old").write_bytes(b"content")
    files.rename(tmp_path / "old", tmp_path / "new")
    files.sync_dir(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_unlinking_twice_is_fine(files: Files, tmp_path: Path) -> None:
    """A name that is not there is what was wanted."""
    (tmp_path / "file").touch()
    files.unlink(tmp_path / "file")
    files.unlink(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_every_failure_is_a_spool_error_that_names_the_path(files: Files, tmp_path: Path) -> None:
    """Missing files and folders, for every step."""
    missing = tmp_path / "missing"
    acts: list[Callable[[], None]] = [
        lambda: files.create(missing / "file", b""),
        lambda: files.overwrite(missing),
        lambda: files.rename(missing, tmp_path / "new"),
        lambda: files.unlink(tmp_path / ("x" * 300)),
        lambda: files.sync_dir(missing),
    ]
    for act in acts:
        with pytest.raises(SpoolError, match=str(tmp_path)):
            act()


def test_a_link_is_not_followed(files: Files, tmp_path: Path) -> None:
    """Nobody makes the spool write elsewhere."""
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError):
        files.create(tmp_path / "link", b"x")
    with pytest.raises(SpoolError):
        files.overwrite(tmp_path / "link")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"

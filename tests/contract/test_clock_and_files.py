"""What every clock and every durable file system promises, on the real ones and on the fakes."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agent.disk.files import LocalFiles
from agent.errors import SpoolError, SpoolMissingError
from agent.ports import Clock, Disk
from agent.records import ClockState
from agent.unit.process.clock import SystemClock
from agent.unit.process.clock_trust import ClockTrust
from tests.fakes.clock import FakeClock
from tests.fakes.files import FaultyFiles


@pytest.fixture(params=["system", "trusted", "fake"])
def clock(request: pytest.FixtureRequest, tmp_path: Path) -> Clock:
    """Return each clock in turn."""
    if request.param == "fake":
        return FakeClock()
    return (
        SystemClock()
        if request.param == "system"
        else ClockTrust(SystemClock(), state_dir=tmp_path, files=LocalFiles())
    )


@pytest.fixture(params=[LocalFiles, FaultyFiles])
def files(request: pytest.FixtureRequest) -> Disk:
    """Return each file system in turn, the faulty one without a fault."""
    made: Disk = request.param()
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


def test_a_created_file_is_private_and_whole(files: Disk, tmp_path: Path) -> None:
    """Mode 0600, all bytes; a name that exists is refused and kept."""
    path, data = tmp_path / "new", bytes(range(256)) * 1000
    files.create(path, data)
    assert path.read_bytes() == data
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(SpoolError, match="cannot create"):
        files.create(path, b"other")
    assert path.read_bytes() == data


def test_overwriting_keeps_the_length_and_nothing_else(files: Disk, tmp_path: Path) -> None:
    """Zeros, as many as there were bytes, for empty, small and large files."""
    for size in (0, 1, 65_536, 200_001):
        path = tmp_path / f"file-{size}"
        path.write_bytes(b"\xff" * size)
        files.overwrite(path)
        assert path.read_bytes() == bytes(size)


def test_renaming_moves_the_content(files: Disk, tmp_path: Path) -> None:
    """The old name is gone."""
    (tmp_path / "old").write_bytes(b"content")
    files.rename(tmp_path / "old", tmp_path / "new")
    files.sync_dir(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_unlinking_twice_is_fine(files: Disk, tmp_path: Path) -> None:
    """A name that is not there is what was wanted."""
    (tmp_path / "file").touch()
    files.unlink(tmp_path / "file")
    files.unlink(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_every_failure_is_a_spool_error_that_names_the_path(files: Disk, tmp_path: Path) -> None:
    """Missing files and folders, for every step."""
    missing = tmp_path / "missing"
    acts: list[Callable[[], object]] = [
        lambda: files.create(missing / "file", b""),
        lambda: files.overwrite(missing),
        lambda: files.rename(missing, tmp_path / "new"),
        lambda: files.unlink(tmp_path / ("x" * 300)),
        lambda: files.sync_dir(missing),
        lambda: files.link(missing, tmp_path / "new"),
        lambda: files.prepare([missing / "inside"]),
        lambda: list(files.names(missing)),
        lambda: list(files.statuses(missing)),
        lambda: files.status(missing),
        lambda: files.read(missing, limit_bytes=1),
    ]
    for act in acts:
        with pytest.raises(SpoolError, match=str(tmp_path)):
            act()


def test_a_link_is_not_followed(files: Disk, tmp_path: Path) -> None:
    """Nobody makes the spool write elsewhere."""
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SpoolError):
        files.create(tmp_path / "link", b"x")
    with pytest.raises(SpoolError):
        files.overwrite(tmp_path / "link")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"


def test_a_link_is_not_followed_by_a_look_either(files: Disk, tmp_path: Path) -> None:
    """A link has a status of its own, and no content."""
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert files.status(tmp_path / "link").size_bytes == len(str(tmp_path / "elsewhere"))
    with pytest.raises(SpoolError):
        files.read(tmp_path / "link", limit_bytes=100)


def test_a_second_name_is_the_same_file(files: Disk, tmp_path: Path) -> None:
    """It lives on when the first is gone; a name that is taken is refused and kept."""
    (tmp_path / "first").write_bytes(b"content")
    (tmp_path / "taken").write_bytes(b"other")
    files.link(tmp_path / "first", tmp_path / "second")
    files.unlink(tmp_path / "first")
    assert (tmp_path / "second").read_bytes() == b"content"
    with pytest.raises(SpoolError):
        files.link(tmp_path / "second", tmp_path / "taken")
    assert (tmp_path / "taken").read_bytes() == b"other"


def test_a_read_stops_just_behind_its_limit(files: Disk, tmp_path: Path) -> None:
    """So that a file that is too long shows as such, and takes no memory."""
    (tmp_path / "file").write_bytes(bytes(range(100)))
    assert files.read(tmp_path / "file", limit_bytes=200) == bytes(range(100))
    assert files.read(tmp_path / "file", limit_bytes=100) == bytes(range(100))
    assert files.read(tmp_path / "file", limit_bytes=9) == bytes(range(10))


def test_names_are_all_names_while_some_are_taken_away(files: Disk, tmp_path: Path) -> None:
    """More than one reading of the directory takes; removing as one goes is how a start clears one."""
    expected = {f"name-{index:04d}" for index in range(3000)}
    for name in expected:
        (tmp_path / name).touch()
    seen = set()
    for name in files.names(tmp_path):
        seen.add(name)
        files.unlink(tmp_path / name)
    assert seen == expected
    assert list(files.names(tmp_path)) == []


def test_a_status_tells_length_and_time(files: Disk, tmp_path: Path) -> None:
    """Of the last write, aware; a file that is not there is told from a disk that refuses."""
    before = datetime.now(UTC) - timedelta(seconds=1)
    files.create(tmp_path / "file", bytes(77))
    status = files.status(tmp_path / "file")
    after = datetime.now(UTC) + timedelta(seconds=1)
    assert status.size_bytes == 77
    assert before < status.modified_at < after
    with pytest.raises(SpoolMissingError):
        files.status(tmp_path / "missing")


def test_statuses_are_those_of_each_name(files: Disk, tmp_path: Path) -> None:
    """All of them, and no others; what goes while they are read is left out or was read before."""
    expected = {}
    for size in range(500):
        (tmp_path / f"{size:03d}").write_bytes(bytes(size))
        expected[f"{size:03d}"] = files.status(tmp_path / f"{size:03d}")
    assert dict(files.statuses(tmp_path)) == expected
    seen = {}
    for name, status in files.statuses(tmp_path):
        seen[name] = status
        files.unlink(tmp_path / "499")
    assert seen in (expected, {name: status for name, status in expected.items() if name != "499"})


def test_files_made_in_turn_have_times_in_turn(files: Disk, tmp_path: Path) -> None:
    """Oldest first is an order by time, also of envelopes that came in one millisecond."""
    paths = [tmp_path / f"{index:02d}" for index in range(20)]
    for path in paths:
        files.create(path, b"")
    times = [files.status(path).modified_at for path in paths]
    assert times == sorted(set(times))


def test_prepared_directories_are_there_and_private(files: Disk, tmp_path: Path) -> None:
    """Mode 0700; preparing them again changes nothing."""
    directories = [tmp_path / "spool", tmp_path / "spool" / "pending"]
    for _ in range(2):
        files.prepare(directories)
        assert [stat.S_IMODE(path.stat().st_mode) for path in directories] == [0o700, 0o700]

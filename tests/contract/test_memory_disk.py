"""The disk in memory does what the real one does, as far as the port shows."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from agent.disk.files import LocalFiles
from agent.errors import SpoolError, SpoolFullError, SpoolMissingError
from agent.ports import Disk
from tests.fakes.memory_disk import MemoryDisk


@pytest.fixture(params=[LocalFiles, MemoryDisk])
def disk(request: pytest.FixtureRequest) -> Disk:
    """Return the real one and the fake."""
    made: Disk = request.param()
    return made


@pytest.fixture
def places(disk: Disk, tmp_path: Path) -> tuple[Path, Path]:
    """Return two directories on it."""
    places = tmp_path / "a", tmp_path / "b"
    disk.prepare(places)
    disk.prepare(places)
    return places


def test_a_file_goes_from_name_to_name(disk: Disk, places: tuple[Path, Path]) -> None:
    """Create, rename, link, overwrite, unlink: content and length follow, and nothing is left."""
    here, there = places
    disk.create(here / "x", b"content")
    disk.create(here / "y", b"in the way")
    disk.rename(here / "x", here / "y")
    disk.link(here / "y", there / "z")
    for directory in places:
        disk.sync_dir(directory)
    assert (list(disk.names(here)), list(disk.names(there))) == (["y"], ["z"])
    assert disk.read(there / "z", limit_bytes=3) == b"cont"
    disk.unlink(here / "y")
    disk.unlink(here / "y")
    disk.overwrite(there / "z")
    assert disk.read(there / "z", limit_bytes=100) == bytes(7)
    assert disk.status(there / "z").size_bytes == 7
    disk.unlink(there / "z")
    assert [*disk.names(here), *disk.names(there)] == []


def test_files_made_in_turn_have_times_in_turn(disk: Disk, places: tuple[Path, Path]) -> None:
    """A rename changes none of them."""
    times: list[datetime] = []
    for number in range(5):
        disk.create(places[0] / str(number), b"")
        disk.rename(places[0] / str(number), places[1] / str(number))
        times.append(disk.status(places[1] / str(number)).modified_at)
    assert times == sorted(times)


@pytest.mark.parametrize(
    "look",
    [
        lambda disk, path: disk.status(path),
        lambda disk, path: disk.read(path, limit_bytes=1),
        lambda disk, path: disk.overwrite(path),
        lambda disk, path: disk.rename(path, path.with_name("other")),
        lambda disk, path: disk.link(path, path.with_name("other")),
    ],
    ids=["status", "read", "overwrite", "rename", "link"],
)
def test_what_is_not_there_is_missing(
    disk: Disk, places: tuple[Path, Path], look: Callable[[Disk, Path], object]
) -> None:
    """And stays so."""
    with pytest.raises(SpoolMissingError):
        look(disk, places[0] / "nothing")
    assert list(disk.names(places[0])) == []


def test_a_name_is_given_once(disk: Disk, places: tuple[Path, Path]) -> None:
    """Neither a new file nor a second name takes the place of a file."""
    disk.create(places[0] / "x", b"1")
    disk.create(places[0] / "y", b"2")
    with pytest.raises(SpoolError):
        disk.create(places[0] / "x", b"3")
    with pytest.raises(SpoolError):
        disk.link(places[0] / "y", places[0] / "x")
    assert disk.read(places[0] / "x", limit_bytes=9) == b"1"


def test_a_directory_that_was_not_prepared_is_refused(disk: Disk, tmp_path: Path) -> None:
    """There is nothing to list or to sync."""
    with pytest.raises(SpoolError):
        list(disk.names(tmp_path / "c"))
    with pytest.raises(SpoolError):
        disk.sync_dir(tmp_path / "c")


def test_the_fake_counts_every_byte_once_and_can_be_full() -> None:
    """Two names of one file are one file; what does not fit leaves nothing behind."""
    disk, place = MemoryDisk(max_bytes=10), Path("/a")
    disk.prepare([place])
    disk.create(place / "x", b"1234567")
    disk.link(place / "x", place / "y")
    assert (disk.size_bytes, len(disk)) == (7, 2)
    with pytest.raises(SpoolFullError):
        disk.create(place / "z", b"1234")
    disk.unlink(place / "x")
    assert (disk.size_bytes, len(disk)) == (7, 1)
    disk.unlink(place / "y")
    disk.create(place / "z", b"1234567890")
    assert disk.size_bytes == 10

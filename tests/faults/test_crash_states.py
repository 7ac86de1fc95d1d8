"""A share of the crash states that `make torture` enumerates in full: nothing lost, falsely accepted or stuck.

And the model itself: that it takes every liberty it says, and that it sees what it looks for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from agent.errors import SpoolError, SpoolFullError, SpoolMissingError
from agent.spool.spool import FileSpool
from tests.faults.crash_model import READS, SPOOL, Act, Census, Scenario
from tests.faults.crash_scenarios import put, quarantine, share, shred
from tests.faults.simulated_disk import Image, SimulatedDisk

HERE = Path("/here")
THERE = Path("/there")
SHARE = share()
LONGEST = ("put again while shredding", "put while shredding, after 10", "expire killed after 13")
"""Three scenarios of the share, and two thirds of its time."""


@pytest.fixture(scope="module")
def census() -> Census:
    """Count over all scenarios, so that no state is tried twice."""
    return Census()


@pytest.mark.parametrize(
    "scenario",
    [
        pytest.param(one, id=one.name, marks=[pytest.mark.needs("campaigns")] if one.name.startswith(LONGEST) else [])
        for one in SHARE
    ],
)
def test_nothing_is_lost_and_nothing_is_stuck(census: Census, scenario: Scenario) -> None:
    """Whatever a power cut leaves, at any moment of an act and of the recoveries after it."""
    census.run(scenario)
    assert list(census.violations.values()) == []
    assert census.states > 0


def disk_with(*paths: Path) -> SimulatedDisk:
    """Return a disk with two directories, and files in them."""
    disk = SimulatedDisk()
    disk.prepare([HERE, THERE])
    for path in paths:
        disk.create(path, b"old")
        disk.sync_dir(path.parent)
    return disk


def cuts(disk: SimulatedDisk) -> set[frozenset[tuple[str, bytes]]]:
    """Return what may be left, as names with contents."""
    return {frozenset((path, content) for path, _, content in image.files) for image in disk.power_cuts()}


def test_a_new_name_may_be_missing_until_its_directory_is_synced() -> None:
    """Whatever was synced of its content."""
    disk = disk_with()
    disk.create(HERE / "new", b"data")
    assert cuts(disk) == {frozenset(), frozenset({("/here/new", b"data")})}
    disk.sync_dir(THERE)
    assert frozenset() in cuts(disk)
    disk.sync_dir(HERE)
    assert cuts(disk) == {frozenset({("/here/new", b"data")})}


def test_content_may_be_torn_until_it_is_synced() -> None:
    """Nothing, pieces, zeros or all of it; the sync fails here, and no later step makes up for it."""
    disk = disk_with()

    def refuse(step: str, done: bool) -> None:
        if step.startswith("sync content") and not done:
            raise OSError(5, "refused")

    disk.watch = refuse
    with pytest.raises(SpoolError, match="refused"):
        disk.create(HERE / "new", b"data")
    disk.sync_dir(HERE)
    left = {content for files in cuts(disk) for _, content in files}
    assert left == {b"", b"d", b"da", b"dat", b"data", bytes(4)}


def test_the_two_names_of_a_rename_are_kept_or_lost_each_for_itself() -> None:
    """Both, one, or none, until each directory is synced."""
    disk = disk_with(HERE / "file")
    disk.rename(HERE / "file", THERE / "file")
    old, new = ("/here/file", b"old"), ("/there/file", b"old")
    assert cuts(disk) == {frozenset(), frozenset({old}), frozenset({new}), frozenset({old, new})}
    disk.sync_dir(THERE)
    assert cuts(disk) == {frozenset({new}), frozenset({old, new})}
    disk.sync_dir(HERE)
    assert cuts(disk) == {frozenset({new})}


def test_two_names_left_by_a_cut_share_one_content() -> None:
    """Overwriting one of them shows in the other."""
    disk = disk_with(HERE / "file")
    disk.link(HERE / "file", THERE / "file")
    after = SimulatedDisk(disk.shown())
    after.overwrite(THERE / "file")
    assert after.read(HERE / "file", limit_bytes=9) == bytes(3)


def test_an_unlinked_name_may_come_back() -> None:
    """With the content it had."""
    disk = disk_with(HERE / "file")
    disk.unlink(HERE / "file")
    assert cuts(disk) == {frozenset(), frozenset({("/here/file", b"old")})}
    assert [content for _, content in disk.abandoned] == [b"old"]


def test_an_overwrite_may_be_half_done_until_it_is_synced() -> None:
    """The first half, the last half, all or nothing."""
    disk = disk_with(HERE / "file")
    seen: set[bytes] = set()

    def look(step: str, done: bool) -> None:
        if step.startswith("overwrite") and done:
            seen.update(content for files in cuts(disk) for _, content in files)

    disk.watch = look
    disk.overwrite(HERE / "file")
    assert seen == {b"old", b"\0ld", b"o\0\0", bytes(3)}
    assert cuts(disk) == {frozenset({("/here/file", bytes(3))})}


def test_a_directory_may_be_missing_with_all_that_is_in_it() -> None:
    """Until its parent is synced."""
    disk = SimulatedDisk()
    left: list[Image] = []
    disk.watch = lambda step, done: left.extend(disk.power_cuts()) if done else None
    disk.prepare([HERE])
    assert {image.directories for image in left} == {("/",), ("/", "/here")}
    assert {image.directories for image in disk.power_cuts()} == {("/", "/here")}


def test_the_disk_refuses_as_a_real_one_does() -> None:
    """In our terms."""
    disk = disk_with(HERE / "file")
    with pytest.raises(SpoolError, match="exists"):
        disk.create(HERE / "file", b"")
    with pytest.raises(SpoolError, match="exists"):
        disk.link(HERE / "file", HERE / "file")
    for act in (
        lambda: disk.rename(HERE / "none", THERE / "none"),
        lambda: disk.overwrite(HERE / "none"),
        lambda: disk.read(HERE / "none", limit_bytes=1),
        lambda: disk.status(HERE / "none"),
        lambda: disk.sync_dir(Path("/nowhere")),
        lambda: disk.create(Path("/nowhere/file"), b""),
    ):
        with pytest.raises(SpoolMissingError):
            act()
    disk.watch = lambda _step, _done: (_ for _ in ()).throw(OSError(28, "full"))
    with pytest.raises(SpoolFullError):
        disk.create(HERE / "more", b"")


def without(method: str, directory: str = "") -> Callable[[Act], Act]:
    """Leave a step of the disk out of an act, for one directory or all."""

    def wrap(act: Act) -> Act:
        def lacking(unit: object) -> None:
            real = getattr(SimulatedDisk, method)

            def skip(self: SimulatedDisk, path: Path, *rest: object) -> None:
                if directory and path.name != directory:
                    real(self, path, *rest)

            with mock.patch.object(SimulatedDisk, method, skip):
                act(unit)  # type: ignore[arg-type]

        return lacking

    return wrap


@pytest.mark.parametrize(
    ("kind", "given", "act"),
    [
        ("lost", (), without("sync_dir", "pending")(put(READS[0]))),
        ("stuck", (READS[0],), without("sync_dir", "pending")(shred(READS[0]))),
        ("not erased", (READS[0],), without("overwrite")(shred(READS[0]))),
        ("lost", (READS[0],), without("sync_dir", "quarantine")(quarantine(READS[0]))),
    ],
    ids=["put without sync", "shred without sync", "shred without overwrite", "quarantine without sync"],
)
def test_the_census_sees_a_missing_step(kind: str, given: tuple[object, ...], act: Act) -> None:
    """A power cut shows it."""
    census = Census()
    census.run(Scenario("lacking", (put(*given),), (act,)))  # type: ignore[arg-type]
    assert kind in {violation.kind for violation in census.violations.values()}


def test_the_census_sees_a_recovery_that_forgets() -> None:
    """What an interrupted shred left stays, and shows."""
    census = Census()
    with mock.patch.object(FileSpool, "recover_shreds", return_value=0):
        census.run(Scenario("lacking", (put(READS[0]),), (shred(READS[0]),)))
    assert {violation.kind for violation in census.violations.values()} == {"stuck"}
    assert str(SPOOL) in next(iter(census.violations.values())).what

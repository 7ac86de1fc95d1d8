"""A pytest plugin: the suite in several processes, longest parts first, because most tests wait more than they work.

    python -m pytest -p tests.side_by_side --numprocesses auto

Owns: how many processes, which tests stay together, and the order. Leaves the rest to pytest-xdist.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Generator
from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["tests.warm_starts"]

PROCESSES_A_CORE: Final = 3
MOST_PROCESSES: Final = 8
"""Each imports all tests, which takes about 3 s of processor time and 330 MB."""
WAITING: Final = tuple(f"tests/e2e/test_{name}.py" for name in ("whole_way", "live_rtsp", "rotation", "renewal"))
"""What plays at a clip's own pace, or waits for a stall: it takes as long on a fast machine."""
ALONE: Final = ("tests/torture/", "tests/bench/")
"""Where each test is a row of a table, and has nothing in common with the next one."""
LONG: Final = (
    "tests/unit/cli/aim/test_session.py",
    "tests/unit/wire/test_vectors.py",
    "tests/unit/unit/doctor/test_confinement.py",
    "tests/unit/unit/process/test_child.py",
    "tests/test_skips.py",
    "tests/test_architecture.py",
    "tests/faults/",
    "tests/unit/receiver/intake/test_forks.py",
    "tests/unit/custody/test_export.py",
)
"""What takes several seconds in one process; late in a run, all others would wait for it."""
FIRST: Final = (*WAITING, *ALONE, "tests/e2e/", *LONG)
"""What takes longest; the others follow in their own order."""


class SideBySide(LoadFileScheduling):
    """Tests of one file stay in one process, in their order; each row of a table is on its own."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(ALONE) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide:
    """Keep the order below: xdist's own puts files with many tests first."""
    config.option.loadscopereorder = False
    return SideBySide(config, log)


@pytest.hookimpl(tryfirst=True)  # xdist's own answers otherwise: one for each core
def pytest_xdist_auto_num_workers() -> int:
    """Return what `--numprocesses auto` means."""
    return min(PROCESSES_A_CORE * (os.cpu_count() or 1), MOST_PROCESSES)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage while the tests are imported, and never again among what that made: a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest parts first; tables name short rows first."""
    rows = [item for item in items if item.nodeid.startswith(ALONE)]
    others = [item for item in items if not item.nodeid.startswith(ALONE)]
    items[:] = sorted([*reversed(rows), *others], key=_rank)


def _rank(item: pytest.Item) -> int:
    return next((place for place, folder in enumerate(FIRST) if item.nodeid.startswith(folder)), len(FIRST))

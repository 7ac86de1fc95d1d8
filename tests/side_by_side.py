"""A pytest plugin: the suite in several processes, longest parts first, because most tests wait more than they work.

    python -m pytest -p tests.side_by_side --numprocesses auto

Owns: how many processes, which tests stay together, and the order. Leaves the rest to pytest-xdist.
"""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Final

import pytest
from xdist.scheduler import LoadFileScheduling

PROCESSES_A_CORE: Final = 2
MOST_PROCESSES: Final = 8
"""Each imports all tests, which takes about 5 s and 300 MB."""
ROWS: Final = "tests/torture/test_rows.py"
LONGEST_FIRST: Final = ("torture", "e2e")
"""Folders of `tests`; the others follow in their own order."""


class SideBySide(LoadFileScheduling):
    """Tests of one file stay in one process, in their order; each campaign of `make torture` is on its own."""

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if nodeid.startswith(ROWS) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config) -> SideBySide:
    """Keep the order below: xdist's own puts files with many tests first."""
    config.option.loadscopereorder = False
    return SideBySide(config)


def pytest_xdist_auto_num_workers() -> int:
    """Return what `--numprocesses auto` means."""
    return min(PROCESSES_A_CORE * (os.cpu_count() or 1), MOST_PROCESSES)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest parts first; `tests.torture` names its rows with short ones first."""
    rows = [item for item in items if item.nodeid.startswith(ROWS)]
    others = [item for item in items if not item.nodeid.startswith(ROWS)]
    items[:] = [*reversed(rows), *sorted(others, key=_rank)]


def _rank(item: pytest.Item) -> int:
    folder = PurePath(item.nodeid).parts[1]
    return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

"""A pytest plugin: the suite in several processes, because the longest tests wait more than they work.

    python -m pytest -p tests.side_by_side --processes auto

All tests are collected once. Each process is a fork of the one that did, and is given one part after the other: the
tests of a file, in their order, or a row of a table. Every other process begins with what waits for clips and stalls,
and the rest with what works longest, so that the cores are busy from the first minute; short parts come last. With
pytest-xdist each process collects all tests for itself, which takes 4 s of processor time each, and sends each step of
a test: together an eighth of what the suite costs.

Owns: how many processes, which tests stay together, the order, and what becomes of a process that dies. Leaves to
others: what such a process does (`tests/part_by_part.py`).
"""

from __future__ import annotations

import gc
import mmap
import os
import signal
import warnings
from collections import deque
from collections.abc import Generator, Sequence
from itertools import groupby
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from select import select
from typing import Final

import pytest

from tests.part_by_part import Done, Part, Stop, work

PROCESSES_A_CORE: Final = 3
MOST_PROCESSES: Final = 8
"""Each may have some hundred megabytes of its own."""
END_WITHIN_S: Final = 10.0
"""For what its fixtures began."""
WAITING: Final = (
    *(f"tests/e2e/test_{name}.py" for name in ("whole_way", "live_rtsp", "rotation", "renewal")),
    "tests/unit/capture/test_live.py",
)
"""What plays at a clip's own pace, or waits for a stall: it takes as long on a fast machine."""
ALONE: Final = ("tests/torture/", "tests/bench/")
"""Where each test is a row of a table, and has nothing in common with the next one."""
WORKING: Final = (
    "tests/unit/cli/aim/test_session.py",
    "tests/unit/wire/test_vectors.py",
    "tests/e2e/test_upgrade.py",
    "tests/unit/unit/process/test_child.py",
    "tests/e2e/test_video_cases.py",
    "tests/unit/unit/doctor/test_confinement.py",
    "tests/test_skips.py",
    "tests/test_architecture.py",
    "tests/faults/",
    "tests/test_rules_of_tests.py",
    "tests/test_side_by_side.py",
    "tests/test_warm_starts.py",
    "tests/unit/capture/test_kinds_of_video.py",
    "tests/unit/cli/test_custody.py",
    "tests/unit/cli/test_read.py",
    "tests/unit/custody/",
    "tests/unit/receiver/intake/test_forks.py",
    "tests/unit/vision/",
)
"""What works for more than two seconds in one process; late in a run, all others would wait for it."""
FIRST: Final = (*WAITING, *ALONE, "tests/e2e/")
"""What waits longest. The others follow in their own order, and `WORKING` at the end, from which it is begun too."""


class Process:
    """One process of tests, seen from the one that collected them.

    Attributes:
        line: What is said to it, and what it says.
        number: Its own, from 1 on.
        part: The tests of which it has not said yet that they are done, by their places.
    """

    def __init__(self, session: pytest.Session, number: int, stop: Stop) -> None:
        """Fork it."""
        self.number = number
        self.part: deque[int] = deque()
        self.line, theirs = Pipe()
        self._id = _fork()
        if not self._id:
            self.line.close()
            work(session, number, theirs, stop)
        theirs.close()

    def give(self, part: Part) -> None:
        """Give it tests to run; none: it ends."""
        self.part.extend(part)
        self.line.send(part)

    def end(self) -> int:
        """Wait for its end; return its status, as `os.waitstatus_to_exitcode` has it."""
        self.line.close()
        return os.waitstatus_to_exitcode(os.waitpid(self._id, 0)[1])

    def interrupt(self) -> None:
        """End it before it is through, within some seconds."""
        os.kill(self._id, signal.SIGINT)
        ended, _, _ = select([os.pidfd_open(self._id)], [], [], END_WITHIN_S)
        if not ended:
            os.kill(self._id, signal.SIGKILL)
        self.end()


class SideBySide:
    """Runs collected tests in several processes, and passes on what these report."""

    def __init__(self, session: pytest.Session, processes: int) -> None:
        self._session = session
        self._parts = deque(parts_of([item.nodeid for item in session.items]))
        self._stop: Stop = mmap.mmap(-1, 1)
        self._processes: dict[Connection, Process] = {}
        self._begun = 0
        self._count = min(processes, len(self._parts))

    def run(self) -> None:
        """Run all, or until a test's failure ends the run.

        Raises:
            pytest.Session.Failed: So many tests failed that no more are wanted.
            pytest.Session.Interrupted: A plugin wants no more.
        """
        try:
            for _ in range(self._count):
                self._begin()
            while self._processes:
                for line in wait(list(self._processes)):
                    assert isinstance(line, Connection)
                    self._hear(self._processes[line])
        finally:
            for process in self._processes.values():
                process.interrupt()
        if self._session.shouldfail:
            raise self._session.Failed(self._session.shouldfail)
        if self._session.shouldstop:
            raise self._session.Interrupted(self._session.shouldstop)

    def _begin(self) -> None:
        self._begun += 1
        process = Process(self._session, self._begun, self._stop)
        self._processes[process.line] = process

    def _hear(self, process: Process) -> None:
        try:
            said: Done | None = process.line.recv()
        except (EOFError, ConnectionResetError):
            self._bury(process)
            return
        if said is not None:
            process.part.remove(said.place)
            self._pass_on(said)
        elif self._parts and not self._stop[0]:
            process.give(self._parts.popleft() if process.number % 2 else self._parts.pop())
        else:
            process.give([])

    def _bury(self, process: Process) -> None:
        """Take leave of a process: of one that died, its test has failed, and another one goes on with the rest."""
        del self._processes[process.line]
        status = process.end()
        if self._stop[0]:
            return
        if not process.part:
            assert not status, f"a process of tests ended with status {status}"
            return
        place = process.part.popleft()
        item = self._session.items[place]
        why = f"its process ended in this test, with status {status}"
        report = pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call")
        to_serializable = self._session.config.hook.pytest_report_to_serializable
        self._pass_on(Done(place, [to_serializable(config=self._session.config, report=report)]))
        self._parts.appendleft(list(process.part))
        self._begin()

    def _pass_on(self, done: Done) -> None:
        item, hook = self._session.items[done.place], self._session.config.hook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for data in done.reports:
            report = hook.pytest_report_from_serializable(config=self._session.config, data=data)
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        if self._session.shouldfail or self._session.shouldstop:
            self._stop[0] = 1


def parts_of(tests: Sequence[str]) -> list[Part]:
    """Return which tests stay together, by their places among all: those of a file, but for rows of a table."""
    groups = groupby(
        enumerate(tests), lambda each: each[1] if each[1].startswith(ALONE) else each[1].partition("::")[0]
    )
    return [[place for place, _ in group] for _, group in groups]


def _fork() -> int:
    """Fork without Python's warning of threads: NumPy ends its own before, and starts them again where needed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take how many processes are wanted."""
    parser.addoption("--processes", default="1", metavar="N", help="processes that run tests; auto: by the cores")


@pytest.hookimpl(trylast=True)  # the reporter is made meanwhile
def pytest_configure(config: pytest.Config) -> None:
    """Refuse what is no number of processes, and have a line of dots be one: files come in no order."""
    processes_of(config)
    if reporter := config.pluginmanager.get_plugin("terminalreporter"):
        reporter.showfspath = False


def processes_of(config: pytest.Config) -> int:
    """Return how many processes are wanted.

    Raises:
        pytest.UsageError: It is neither a number from 1 on, nor `auto`.
    """
    wanted: str = config.getoption("processes")
    if wanted == "auto":
        return min(PROCESSES_A_CORE * (os.cpu_count() or 1), MOST_PROCESSES)
    if not wanted.isascii() or not wanted.isdecimal() or not int(wanted):
        raise pytest.UsageError(f"--processes: a number from 1 on, or auto, not {wanted!r}")
    return int(wanted)


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
    """Put the longest parts at both ends; tables name short rows first."""
    rows = [item for item in items if item.nodeid.startswith(ALONE)]
    others = [item for item in items if not item.nodeid.startswith(ALONE)]
    items[:] = sorted([*reversed(rows), *others], key=_rank)


def _rank(item: pytest.Item) -> int:
    for place, folder in enumerate(WORKING):
        if item.nodeid.startswith(folder):
            return len(FIRST) + len(WORKING) - place
    return next((place for place, folder in enumerate(FIRST) if item.nodeid.startswith(folder)), len(FIRST))


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in several processes, where several are wanted, and nothing else than running is."""
    config = session.config
    processes = processes_of(config)
    if processes == 1 or config.option.collectonly or config.option.usepdb or session.testsfailed or not session.items:
        return None
    SideBySide(session, processes).run()
    return True

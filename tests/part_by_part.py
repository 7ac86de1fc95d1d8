"""What a process of tests does, which was forked from the one that collected them: it runs one part after the other.

Owns: what such a process must have of its own, and its end. Leaves to others: who runs what (`tests/side_by_side.py`).
"""

from __future__ import annotations

import mmap
import os
import sys
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, NoReturn

import pytest

from tests.warm_starts import WarmStarts, may_be_warm

Part = list[int]
"""Tests that one process runs, by their places among all collected ones."""
Stop = mmap.mmap
"""One byte that all processes share; not zero where no further test is to begin."""


class Done(NamedTuple):
    """A test that came to its end.

    Attributes:
        place: Its place among all collected ones.
        reports: Of its setup, call and teardown, as `pytest_report_to_serializable` makes them.
    """

    place: int
    reports: list[dict[str, Any]]


class Reports:
    """Keeps what pytest reports of a test, until somebody takes it."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._kept: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep a report."""
        self._kept.append(self._config.hook.pytest_report_to_serializable(config=self._config, report=report))

    def taken(self) -> list[dict[str, Any]]:
        """Return what was kept since the last call."""
        kept, self._kept = self._kept, []
        return kept


def work(session: pytest.Session, number: int, line: Connection, stop: Stop) -> NoReturn:
    """Be a process of tests, from its fork to its end.

    Args:
        session: With all tests.
        number: The process's own, from 1 on.
        line: Where parts come from, and what was done goes to.
        stop: Looked at before each test.
    """
    status = 1
    try:
        _run_parts(session, number, line, stop)
        status = 0
    except (KeyboardInterrupt, EOFError, BrokenPipeError):
        _plugin(session.config, "runner").pytest_sessionfinish(session)  # ends what fixtures began
    except BaseException:  # noqa: BLE001  nothing may return into the process that was forked
        _plugin(session.config, "capturemanager").stop_global_capturing()
        traceback.print_exc()
    finally:
        _keep_coverage()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)


def _run_parts(session: pytest.Session, number: int, line: Connection, stop: Stop) -> None:
    config = session.config
    _have_own(config, number)
    reports, starts = Reports(config), WarmStarts()
    config.pluginmanager.register(reports, "plateseal reports")
    if may_be_warm():
        config.pluginmanager.register(starts, "plateseal warm starts")
        starts.start_parent()
    while part := _next_part(line):
        for place, following in zip(part, [*part[1:], None], strict=True):
            if stop[0]:
                return
            item = session.items[place]
            nextitem = None if following is None else session.items[following]
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=nextitem)
            line.send(Done(place, reports.taken()))
    if may_be_warm():
        starts.end_parent()


def _next_part(line: Connection) -> Part:
    line.send(None)
    part: Part = line.recv()
    return part


def _have_own(config: pytest.Config, number: int) -> None:
    """Have what processes cannot share: the folder of `tmp_path`, and the files that what is printed is kept in."""
    config.pluginmanager.unregister(name="terminalreporter")
    captured = _plugin(config, "capturemanager")
    captured.stop_global_capturing()
    captured.start_global_capturing()
    every = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    config.option.basetemp = str(every / f"process-{number}")
    _plugin(config, "tmpdir").pytest_configure(config)


def _plugin(config: pytest.Config, name: str) -> Any:
    return config.pluginmanager.get_plugin(name) or pytest.fail(f"pytest has no {name}")


def _keep_coverage() -> None:
    """Write down what was covered, if that is measured: no exit handler does, since what they end is another's."""
    if "coverage" in sys.modules and (measured := sys.modules["coverage"].Coverage.current()) is not None:
        measured.stop()
        measured.save()

"""Skips a test where something that it needs is missing, and ends the run with one table of what was missing.

A plugin of pytest, loaded by `tests/conftest.py`. With `PLATESEAL_NO_SKIPS` set, any skip fails the run, but for those
of `tests/allowed_skips.toml`; so does an entry there whose tests run without what they are said to need.

Owns: the marker `needs`, the table, the verdict. Leaves to others: how each need is looked for (`tests/needs.py`). It
works in one process and, under pytest-xdist, in the process that all reports come together in.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final

import pytest

from tests.needs import NEEDS, apt_line, is_here

STRICT_VARIABLE: Final = "PLATESEAL_NO_SKIPS"
ALLOWED: Final = Path("tests") / "allowed_skips.toml"
"""Below the root of the run."""
_PROPERTY: Final = "missing"


@dataclass(frozen=True, slots=True)
class Allowed:
    """A skip that is no fault.

    Attributes:
        tests: Patterns of test ids, as `fnmatch` has them.
        needs: What these tests may lack, of `tests/needs.py`.
        reason: Why nothing is lost by it.
        unless: A variable that ends the permission where it is set; empty for none.
    """

    tests: tuple[str, ...]
    needs: tuple[str, ...]
    reason: str
    unless: str = ""

    def covers(self, test: str) -> bool:
        """Tell whether this is about a test, here."""
        is_over = bool(self.unless and os.environ.get(self.unless))
        return not is_over and any(fnmatchcase(test, pattern) for pattern in self.tests)

    @property
    def is_used(self) -> bool:
        """Whether these tests must be skipped here: all that they may lack is missing."""
        return not any(map(is_here, self.needs))


@dataclass(frozen=True, slots=True)
class Skip:
    """A test that was skipped: for want of needs of the table, or for a reason of its own."""

    missing: tuple[str, ...]
    reason: str


def load_allowed(path: Path) -> tuple[Allowed, ...]:
    """Return the list of skips that are no fault; in a wrong entry Python's own error names the key."""
    table = tomllib.loads(path.read_text()) if path.exists() else {}
    lists = ("tests", "needs")
    return tuple(Allowed(**entry | {name: tuple(entry[name]) for name in lists}) for entry in table.get("allowed", []))


@dataclass(slots=True, eq=False)
class SkipReport:
    """Gathers what was skipped, tells it, and judges it where no skip is allowed."""

    allowed: tuple[Allowed, ...]
    is_strict: bool
    skipped: dict[str, Skip] = field(default_factory=dict)
    ran: set[str] = field(default_factory=set)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a test that was skipped, or that ran."""
        if report.skipped and not hasattr(report, "wasxfail"):
            missing = (str(value) for name, value in report.user_properties if name == _PROPERTY)
            self.skipped[report.nodeid] = Skip(tuple(missing), _reason(report))
        elif report.when == "call":
            self.ran.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a whole file that was skipped while it was loaded."""
        if report.skipped:
            self.skipped[report.nodeid] = Skip((), _reason(report))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail a run that is all right but for its skips."""
        if session.exitstatus == pytest.ExitCode.OK and any(self.faults()):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def faults(self) -> Iterator[str]:
        """Yield a line for each skip that is not allowed, and for each permission that is not needed."""
        if not self.is_strict:
            return
        for test, skip in sorted(self.skipped.items()):
            permitted = {need for entry in self.allowed if entry.covers(test) for need in entry.needs}
            if not skip.missing or not permitted.issuperset(skip.missing):
                yield f"{test}: skipped ({skip.reason})"
        for entry in filter(lambda entry: entry.is_used, self.allowed):
            ran = sorted(test for test in self.ran - self.skipped.keys() if entry.covers(test))
            if ran:
                yield f"{ALLOWED}: {ran[0]} is listed, and ran without {', '.join(entry.needs)}: take it out"

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table, and what is wrong with it."""
        if self.skipped:
            terminalreporter.write_sep("=", f"{_tests(len(self.skipped))} skipped: what was missing")
            for line in self.table():
                terminalreporter.write_line(line)
        faults = list(self.faults())
        if faults:
            terminalreporter.write_sep("=", f"no skip is allowed here ({STRICT_VARIABLE} is set)", red=True)
            for line in faults:
                terminalreporter.write_line(f"FAILED {line}")

    def table(self) -> Iterator[str]:
        """Yield a row for each thing that was missing, then the command that installs what can be installed."""
        missing = Counter(name for skip in self.skipped.values() for name in skip.missing)
        for name, count in sorted(missing.items(), key=lambda row: (-row[1], row[0])):
            yield f"{count:5}  {NEEDS[name].what:36} {'' if NEEDS[name].packages else NEEDS[name].otherwise}".rstrip()
        for reason, count in sorted(Counter(s.reason for s in self.skipped.values() if not s.missing).items()):
            yield f"{count:5}  {reason}"
        if line := apt_line(missing):
            yield f"To run more of them: {line}"


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return why: the third part of pytest's (path, line, reason), in one line."""
    told = report.longrepr[2] if isinstance(report.longrepr, tuple | list) else str(report.longrepr)
    return " ".join(told.removeprefix("Skipped: ").split())


def _tests(count: int) -> str:
    return "1 test" if count == 1 else f"{count} tests"


def _needs_of(item: pytest.Item) -> list[str]:
    return [name for marker in item.iter_markers("needs") for name in marker.args]


def pytest_configure(config: pytest.Config) -> None:
    """Begin to gather, in the process that prints."""
    if not hasattr(config, "workerinput"):
        report = SkipReport(load_allowed(config.rootpath / ALLOWED), bool(os.environ.get(STRICT_VARIABLE)))
        config.pluginmanager.register(report, "plateseal skips")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a marker that names what the table does not have."""
    unknown = {f"{item.nodeid}: {name!r}" for item in items for name in _needs_of(item) if name not in NEEDS}
    if unknown:
        raise pytest.UsageError(f"no such need in tests/needs.py: {', '.join(sorted(unknown))}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test, before its fixtures, for want of what it needs."""
    missing = [name for name in dict.fromkeys(_needs_of(item)) if not is_here(name)]
    if missing:
        item.user_properties.extend((_PROPERTY, name) for name in missing)
        pytest.skip("; ".join(f"needs {NEEDS[name].what}: {NEEDS[name].cure}" for name in missing))

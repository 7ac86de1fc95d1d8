"""Tries the newest version of every library, and names the libraries whose newest version fails.

python -m tests.newest [--folder DIR] [--only NAME] [--only NAME] ... [TESTS ...]

First all at once, in an environment as a plain pip makes it. If the tests pass there, only libraries that another one
holds back are left to try, against that one's word. If not, each library is tried alone, as its newest version among
the pins of `constraints.txt`; what only fails together is then not in the table, and a line says so.

TESTS are pytest's arguments; left out: the whole suite but the long campaigns, about ten minutes for each row. Stop it
as you like: what was found is kept in DIR, and the next run goes on from there for a week.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from packaging.utils import canonicalize_name
from rich.console import Console
from rich.table import Table

from tests.lowest import ROOT

SUITE: Final = ("tests", "--ignore=tests/torture", "--ignore=tests/system", "--ignore=tests/bench")
KEPT_S: Final = 7 * 24 * 3600.0
"""After a week the newest versions are others, and the environments are made anew."""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment, and the file with what its commands printed."""

    directory: Path
    log: Path

    def pip(self, *arguments: str) -> str:
        """Run pip and return what it printed.

        Raises:
            subprocess.CalledProcessError: It failed; the log says why.
        """
        command = [str(self.directory / "bin/python"), "-m", "pip", "--disable-pip-version-check", *arguments]
        with self.log.open("a") as log:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT)
        return str(done.stdout)

    def passes(self, tests: list[str]) -> bool:
        """Whether the tests pass; the log says which does not.

        Raises:
            SystemExit: There are no such tests.
        """
        command = [str(self.directory / "bin/python"), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        with self.log.open("a") as log:
            code = subprocess.run(command, check=False, stdout=log, stderr=log, cwd=ROOT).returncode
        if code in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
            raise SystemExit(f"{' '.join(tests)}: pytest finds no tests there ({self.log})")
        return code == 0

    def frozen(self) -> set[str]:
        """Return what is installed, as `name==version`, but for plateseal itself."""
        listed = json.loads(self.pip("list", "--format=json", "--exclude-editable"))
        return {f"{entry['name']}=={entry['version']}" for entry in listed}

    @contextmanager
    def with_newest(self, name: str, version: str) -> Iterator[str]:
        """Have one library as this version, with what it needs, until the block ends; yields what pip minds in that."""
        before = self.frozen()
        try:
            self.pip("install", "--quiet", f"{name}=={version}")
            yield self._complaints()
        finally:
            self.restore(before)

    def restore(self, frozen: set[str]) -> None:
        """Install what was there at another time and is not now."""
        if changed := frozen - self.frozen():
            self.pip("install", "--quiet", "--no-deps", *sorted(changed))

    def _complaints(self) -> str:
        try:
            self.pip("check")
        except subprocess.CalledProcessError as error:
            return "; ".join(str(error.stdout).strip().splitlines())
        return ""


@dataclass(frozen=True, slots=True)
class Row:
    """One library's newest version, tried."""

    name: str
    had: str
    newest: str
    verdict: str


def make(folder: Path, name: str, *options: str) -> Environment:
    """Make an environment with plateseal and what its tests need, or take that of an earlier run."""
    environment = Environment(folder / name, folder / f"{name}.log")
    made = folder / f"{name}.made"
    if not made.exists() or time.time() - made.stat().st_mtime > KEPT_S:
        environment.log.unlink(missing_ok=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment.directory], check=True)
        environment.pip("install", "--quiet", *options, "-e", f"{ROOT}[dev]")
        made.write_text("\n".join(environment.frozen()))
    environment.restore(set(made.read_text().split()))  # an earlier run may have been killed over one library
    return environment


class Kept:
    """What was found, in a file, for runs that are cut off."""

    def __init__(self, path: Path) -> None:
        fresh = path.exists() and time.time() - path.stat().st_mtime < KEPT_S
        self._path = path
        self._found: dict[str, str] = json.loads(path.read_text()) if fresh else {}

    def verdict(self, environment: Environment, what: str, tests: list[str]) -> str:
        """Return "passes" or "fails", from an earlier run of the same tests if there was one."""
        key = " ".join([environment.directory.name, what, *tests])
        if key not in self._found:
            self._found[key] = "passes" if environment.passes(tests) else "fails"
            self._path.write_text(json.dumps(self._found, indent=1))
        return self._found[key]


def rows(environment: Environment, kept: Kept, only: list[str], tests: list[str]) -> Iterator[Row]:
    """Try each library that has a newer version than the environment's, alone."""
    wanted = {canonicalize_name(name) for name in only}
    for entry in json.loads(environment.pip("list", "--outdated", "--format=json", "--exclude-editable")):
        name, had, newest = entry["name"], entry["version"], entry["latest_version"]
        if name in ("pip", "setuptools") or (wanted and canonicalize_name(name) not in wanted):
            continue
        with environment.with_newest(name, newest) as complaints:
            verdict = kept.verdict(environment, f"{name}=={newest}", tests)
        yield Row(name, had, newest, f"{verdict}; held back: {complaints}" if complaints else verdict)


def show(found: list[Row], console: Console) -> None:
    """Print the table."""
    table = Table("library", "had", "newest", "tests", title="Each newest version alone")
    for row in found:
        table.add_row(row.name, row.had, row.newest, row.verdict)
    console.print(table if found else "no library has a newer version than those that were tried")


def main() -> int:
    """Print the table, and return 1 if a newest version fails that pip takes, 2 if the pins fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "newest")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a library; may be given again")
    arguments, tests = parser.parse_known_args()
    tests = tests or list(SUITE)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    console, kept = Console(), Kept(arguments.folder / "found.json")

    environment = make(arguments.folder, "newest")
    together = kept.verdict(environment, "as pip takes it", tests)
    console.print(f"the newest of everything at once, as pip takes it: {together} ({environment.log})")
    if together == "fails":
        environment = make(arguments.folder, "pins", "-c", str(ROOT / "constraints.txt"))
        if kept.verdict(environment, "the pins", tests) == "fails":
            console.print(f"the pinned versions fail as well, so nothing is said about newer ones ({environment.log})")
            return 2
    found: list[Row] = []
    try:
        for row in rows(environment, kept, arguments.only, tests):
            found.append(row)  # noqa: PERF402  what was found before it is cut off counts
    except KeyboardInterrupt:
        console.print("cut off; the next run goes on from here")
    show(found, console)
    failing = [row.name for row in found if row.verdict == "fails"]  # and nothing holds it back: pip takes it
    if together == "fails" and not failing and not arguments.only:
        console.print(f"no library fails alone: some fail together ({arguments.folder / 'newest.log'})")
    return int(together == "fails" or bool(failing))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("cut off; the next run goes on from here")

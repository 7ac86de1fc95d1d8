"""The program at two commits: this one, and the last one that knew version 1 of the formats only.

The old one is taken from git's history and runs with the same Python and the same libraries, as processes of its own.
Nothing of it is imported here.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from agent.unit.process.child import own_module
from deb.compiling import extract
from tests.fakes.waiting import WITHIN_S
from tests.needs import ROOT, VERSION_1_COMMIT


@dataclass(frozen=True, slots=True)
class Program:
    """A plateseal that can be run.

    Attributes:
        source: The folder that holds its package `agent`; None for the one that is installed here.
    """

    source: Path | None = None

    def run(self, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a folder, as a program does: no terminal."""
        return subprocess.run(
            own_module("agent.cli.main", *map(str, arguments)),
            cwd=cwd,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )

    def start(self, *arguments: str | Path, cwd: Path, log: Path) -> subprocess.Popen[bytes]:
        """Start a command in a folder; what it prints is added to `log`."""
        with log.open("ab") as stream:
            return subprocess.Popen(
                own_module("agent.cli.main", *map(str, arguments)),
                cwd=cwd,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
            )

    def _environment(self) -> dict[str, str]:
        if self.source is None:
            return dict(os.environ)
        # Coverage would count the old package's lines as this one's.
        kept = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
        return kept | {"PYTHONPATH": str(self.source)}


NEW = Program()


def program_of_version_1(folder: Path) -> Program:
    """Take the last program of version 1 out of git's history into an empty folder.

    Its models are not taken: a unit's configuration names others.
    """
    command = ["git", "-C", str(ROOT), "archive", VERSION_1_COMMIT, "agent"]
    archive = subprocess.run(command, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        extract(tar, folder)
    return Program(folder)

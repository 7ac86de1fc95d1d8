"""docs/BENCH-BY-HAND.md, run step by step: every command works, on any day, and prints what is shown."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.waiting import WITHIN_S, wait_until

pytestmark = pytest.mark.e2e

ROOT: Final = Path(__file__).parents[2]
SHOWN_PORT: Final = "8443"
SECOND_TERMINAL: Final = "<!-- second terminal -->\n"
VARIES: Final = (
    (r"\b[0-9a-f]{8,64}\b(?:\.\.\.)?", "ID"),
    (r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z?)?", "TIME"),
    (r"\b0\.\d\d+", "SHARE"),
)
"""What differs from run to run: ids, dates and times, confidences. Counts, names and texts of plates do not."""


@dataclass(frozen=True, slots=True)
class Step:
    """One command of the document.

    Attributes:
        command: As typed, with the lines of a here-document.
        shown: The output that the document shows; `...` stands for what it leaves out.
        in_background: Whether it is for the second terminal, where it goes on running.
    """

    command: str
    shown: str
    in_background: bool


def steps(document: str, port: int) -> Iterator[Step]:
    """Yield the document's commands in order, with `port` in place of the one it names."""
    block = re.compile(f"({SECOND_TERMINAL})?```console\n(.*?)```", re.DOTALL)
    for match in block.finditer(document.replace(SHOWN_PORT, str(port))):
        for text in re.split(r"^\$ ", match[2], flags=re.MULTILINE)[1:]:
            command = re.match(r"(?:.*\\\n)*.*<<END\n(?:.*\n)*?END\n|(?:.*\\\n)*.*\n", text)
            assert command is not None
            yield Step(command[0], text[command.end() :], in_background=match[1] is not None)


def plain(text: str) -> str:
    """Return a text with names in place of what differs from run to run, and without the blanks that fill columns."""
    for pattern, name in VARIES:
        text = re.sub(pattern, name, text)
    return re.sub(r"(?<=\S) +$", "", re.sub(r"(?<=\S) {2,}", "  ", text), flags=re.MULTILINE)


def is_as_shown(output: str, shown: str) -> bool:
    """Whether a command printed what the document shows, apart from what differs and from what `...` leaves out."""
    lines = [
        "(?:.*\n)*" if line == "..." else re.escape(line).replace(re.escape("..."), ".*") + "\n"
        for line in plain(shown).splitlines()
    ]
    return re.fullmatch("".join(lines), plain(output)) is not None


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Terminal:
    """Runs commands as a reader of the document does, in one folder; ends what it left running."""

    def __init__(self, folder: Path) -> None:
        """Prepare; `folder` is empty."""
        self._folder = folder
        self._running: list[subprocess.Popen[bytes]] = []
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = {**os.environ, "CHECKOUT": str(ROOT), "PATH": path}

    def run(self, command: str) -> str:
        """Return all that a command printed; it must succeed."""
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )
        assert done.returncode == 0, f"{command}{done.stdout}"
        return done.stdout

    def leave_running(self, step: Step) -> None:
        """Start a command and return once it has printed what the document shows."""
        log = self._folder / "second-terminal.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                ["bash", "-c", f"exec {step.command}"],
                cwd=self._folder,
                env=self._environment,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self._running.append(process)
        wait_until(lambda: is_as_shown(log.read_text(), step.shown), otherwise=log.read_text)

    def interrupt(self) -> list[int]:
        """Press Ctrl-C in the second terminal and return the exit status of what ran there."""
        for process in self._running:
            process.send_signal(signal.SIGINT)
        return [process.wait(WITHIN_S) for process in self._running]

    def kill(self) -> None:
        """Leave nothing behind."""
        for process in self._running:
            process.kill()
            process.wait(WITHIN_S)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Return a terminal in an empty folder."""
    opened = Terminal(tmp_path)
    yield opened
    opened.kill()


@pytest.mark.needs("campaigns")
def test_every_step_prints_what_the_document_shows(terminal: Terminal) -> None:
    """From an empty folder to opened reads, a renewed key and a second chain."""
    walk = list(steps((ROOT / "docs" / "BENCH-BY-HAND.md").read_text(), free_port()))
    assert len(walk) > 20
    for step in walk:
        if step.in_background:
            terminal.leave_running(step)
        else:
            output = terminal.run(step.command)
            assert is_as_shown(output, step.shown), f"{step.command}shown:\n{step.shown}printed:\n{output}"
    assert terminal.interrupt() == [0]


@pytest.mark.parametrize(
    ("output", "holds"),
    [
        ("12 reads of 2027-01-02 by 0123456789abcdef\nmore\nend\n", True),
        ("13 reads of 2027-01-02 by 0123456789abcdef\nmore\nend\n", False),
        ("12 reads of 2027-01-02 by 0123456789abcdef\nmore\n", False),
        ("", False),
    ],
)
def test_only_what_may_differ_is_let_pass(output: str, holds: bool) -> None:
    """Another id or date is as shown; another count, a missing line or nothing at all is not."""
    assert is_as_shown(output, "12 reads of 2026-11-30 by fedcba9876543210\n...\nend\n") is holds

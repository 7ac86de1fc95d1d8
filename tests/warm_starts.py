"""Starts of our own programs that need not import everything again.

A start costs 0.3 to 0.6 s of processor time, nearly all of it for imports. Where tests run in several processes, each
of these keeps a parent of programs (`tests/fakes/warm_parent.py`), which has imported them and forks one for each
start. A test notices nothing of it: `subprocess` is used as ever, and what it starts is a child with its own number,
streams and end.

A start is a real one, the interpreter's own, in a test with the marker `real_start`, where a variable that may be read
during an import is not as in the test's own process, where `subprocess` is asked for more than files, folder,
environment and session, and everywhere if the long tests run (`PLATESEAL_CAMPAIGNS`), coverage is measured, or tests
run in one process.

Owns: in which tests starts are warm. Leaves to others: the fork and its child, and which starts can be asked for.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

from tests.fakes.warm_parent import INTERPRETER, ROOM_BYTES, Starts
from tests.needs import CAMPAIGNS

_PARENT: Final = Path(__file__).parent / "fakes" / "warm_parent.py"


class WarmStarts:
    """Serves the starts of one process of tests, from its first test to its last."""

    starts: Starts

    def start_parent(self) -> None:
        """Start the parent of programs, which imports nothing before it must, and stand in for `subprocess`."""
        given = dict(os.environ)
        line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._parent = subprocess.Popen(
            [INTERPRETER, "-P", str(_PARENT), str(theirs.fileno()), " " * ROOM_BYTES],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=given, pass_fds=(theirs.fileno(),),
        )  # fmt: skip
        theirs.close()
        self.starts = Starts(line, given)

    def end_parent(self) -> None:
        """Leave starts to `subprocess` again, and end the parent."""
        self.starts.end()
        self._parent.wait()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Have the starts of a test be real ones where it says so."""
        self.starts.is_on = item.get_closest_marker("real_start") is None
        try:
            return (yield)
        finally:
            self.starts.is_on = False


def may_be_warm() -> bool:
    """Tell whether starts may be warm at all: not where the long tests run, nor where coverage is measured."""
    return not os.environ.get(CAMPAIGNS) and not any(name.startswith("COVERAGE_") for name in os.environ)

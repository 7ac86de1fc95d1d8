"""Starts of our own programs that need not import everything again.

A start costs 0.3 to 0.6 s of processor time, nearly all of it for imports. Where tests run in several processes, each
of these keeps a parent of programs (`tests/fakes/warm_parent.py`), which has imported them and forks one for each
start. A test notices nothing of it: `subprocess` is used as ever, and what it starts is a child with its own number,
streams and end.

A start is a real one, the interpreter's own, in a test with the marker `real_start`, where a variable that may be read
during an import is not as in the test's own process, where `subprocess` is asked for more than files, folder,
environment and session, and everywhere if the long tests run (`PLATESEAL_CAMPAIGNS`), coverage is measured, or tests
run in one process.

Owns: which starts are warm. Leaves to others: the fork and its child.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.fakes.warm_parent import MOST_BYTES, Request
from tests.needs import CAMPAIGNS

INTERPRETER: Final = sys.executable
"""Of the parent; a test may have replaced `sys.executable`."""
PROGRAMS: Final = ("agent.cli.main", "agent.bench.contestant", "tests.fakes.rtsp_plain_server")
MAY_DIFFER: Final = ("HOME", "PATH", "PYTEST_", "TMPDIR", "TZ", "XDG_")
"""How variables begin that nothing reads while it is imported."""
AS_EVER: Final = {
    "executable": None, "preexec_fn": None, "close_fds": True, "pass_fds": (), "shell": False, "restore_signals": True,
    "gid": None, "gids": None, "uid": None, "umask": -1, "process_group": -1,
}  # fmt: skip
"""What a warm start may not ask for, by the names that `subprocess` gives it, with the values that ask for nothing."""
PIPES: Final = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
ROOM_BYTES: Final = 8192
"""For the words of a program."""
_PARENT: Final = Path(__file__).parent / "fakes" / "warm_parent.py"
_PR_SET_CHILD_SUBREAPER: Final = 36


def request_of(asked: Mapping[str, Any], given: Mapping[str, str]) -> Request | None:
    """Return how to ask for a start by its parent; None where it must be a real one.

    Args:
        asked: What `subprocess` was asked for, by its own names.
        given: The parent's environment.
    """
    words = [os.fsdecode(word) for word in asked["args"]] if isinstance(asked["args"], list | tuple) else []
    interpreter, *options = words or [""]
    is_safe = options[:1] == ["-P"]
    dash, module, *arguments = [*options[is_safe:], "", ""]
    folder = os.path.abspath(os.fsdecode(asked["cwd"] or "."))  # noqa: PTH100  links stay as they are
    environment = {os.fsdecode(name): os.fsdecode(value) for name, value in (asked["env"] or os.environ).items()}
    differing = dict(environment.items() ^ given.items())
    if (
        (interpreter, dash) != (INTERPRETER, "-m")
        or module not in PROGRAMS
        or any(asked[name] != value for name, value in AS_EVER.items())
        or not all(name.startswith(MAY_DIFFER) for name in differing)
        or not os.access(folder, os.X_OK)
        or sum(len(word) for word in words) > ROOM_BYTES // 2
    ):
        return None
    return Request(
        words=words, module=module, arguments=arguments[:-2], is_safe=is_safe, folder=folder,
        environment=environment, umask=_umask(), is_session=bool(asked["start_new_session"]),
    )  # fmt: skip


def _umask() -> int:
    umask = os.umask(0o077)
    os.umask(umask)
    return umask


class WarmStarts:
    """Serves the starts of one process of tests, from its first test to its last.

    Attributes:
        is_on: Whether starts may be warm now.
        count: How many were.
    """

    def __init__(self) -> None:
        self.is_on = False
        self.count = 0
        self._lock = threading.Lock()

    def start_parent(self) -> None:
        """Start the parent of programs, which imports nothing before it must, and stand in for `subprocess`."""
        self._given = dict(os.environ)
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._parent = subprocess.Popen(
            [INTERPRETER, "-P", str(_PARENT), str(theirs.fileno()), " " * ROOM_BYTES],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=self._given, pass_fds=(theirs.fileno(),),
        )  # fmt: skip
        theirs.close()
        self._real = subprocess.Popen._execute_child  # type: ignore[attr-defined]  # where every start comes through
        self._signature = inspect.signature(self._real)

        def execute_child(process: subprocess.Popen[Any], *args: Any, **keywords: Any) -> None:
            self._execute_child(process, *args, **keywords)

        execute_child.__signature__ = self._signature  # type: ignore[attr-defined]  # what inspect looks for
        subprocess.Popen._execute_child = execute_child  # type: ignore[attr-defined]  # as above

    def end_parent(self) -> None:
        """Leave starts to `subprocess` again, and end the parent."""
        subprocess.Popen._execute_child = self._real  # type: ignore[attr-defined]  # as above
        self._line.close()
        self._parent.wait()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Have the starts of a test be real ones where it says so."""
        self.is_on = item.get_closest_marker("real_start") is None
        try:
            return (yield)
        finally:
            self.is_on = False

    def _execute_child(self, process: subprocess.Popen[Any], *args: Any, **keywords: Any) -> None:
        """Stand in for the start of a process."""
        asked = self._signature.bind(process, *args, **keywords).arguments
        request = request_of(asked, self._given) if self.is_on else None
        if request is None:
            self._real(process, *args, **keywords)
            return
        ends = [asked[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        self.count += 1
        process.pid = self._start(request, [number if end == -1 else end for number, end in enumerate(ends)])
        process._child_created = True  # type: ignore[attr-defined]  # or else nobody waits for it
        process._close_pipe_fds(*(asked[name] for name in PIPES))  # type: ignore[attr-defined]  # ours keep theirs open

    def _start(self, request: Request, streams: Sequence[int]) -> int:
        """Ask for a start, and return the number of the process, which is a child of this one."""
        with self._lock:
            _adopt_orphans(wanted=True)
            try:
                socket.send_fds(self._line, [json.dumps(request).encode()], streams)
                number = int(self._line.recv(MOST_BYTES))
                self._line.recv(MOST_BYTES)  # the process between has ended
            finally:
                _adopt_orphans(wanted=False)
        return number


def _adopt_orphans(*, wanted: bool) -> None:
    """Say whether a descendant whose parent ends becomes a child of this process, or of the system's first, as ever."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def may_be_warm() -> bool:
    """Tell whether starts may be warm at all: not where the long tests run, nor where coverage is measured."""
    return not os.environ.get(CAMPAIGNS) and not any(name.startswith("COVERAGE_") for name in os.environ)

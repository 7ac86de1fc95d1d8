"""What programs do to their own process: no core dumps, private files, orderly stop, quiet libraries."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from agent.unit.process.journal import log_to
from agent.unit.process.lifecycle import Lifecycle
from agent.unit.process.watchdog import ServiceManager

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4
"""Numbers of operations of prctl(2)."""
_CHATTY: Final = ("httpx", "httpcore", "open_image_models", "fast_plate_ocr")


def prepare_daemon() -> Lifecycle:
    """Harden the process, set up logs, and return an event that SIGTERM or SIGINT sets and systemd is told by."""
    forbid_dumps()
    os.umask(0o077)
    log_to(sys.stderr)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    stop = Lifecycle(ServiceManager.of_this_process())

    def ask_to_stop(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, ask_to_stop)
    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until `agent.unit.reload.trial` follows it
    return stop


@contextmanager
def signals_noted() -> Iterator[Callable[[], bool]]:
    """Take note of SIGTERM, SIGINT and SIGHUP inside the block, and let the first of them take effect at its end.

    Between two steps the block can then stop its children and remove its files, and whoever started this process
    still sees which signal ended it. A signal that was ignored before, as under `nohup`, stays ignored.

    Yields:
        A function that says whether a signal has come.
    """
    came: list[int] = []

    def note(signum: int, _frame: FrameType | None) -> None:
        came.append(signum)  # and no more: to set an event here can lock up against a wait for the same event

    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    heeded = {one: handler for one, handler in before.items() if handler is not signal.SIG_IGN}
    for one in heeded:
        signal.signal(one, note)
    try:
        yield lambda: bool(came)
    finally:
        for one, handler in heeded.items():
            signal.signal(one, handler)
        if came:
            signal.raise_signal(came[0])


def end_with_parent() -> None:
    """Let the kernel kill this process when the thread that started it ends, however it ends (Linux only)."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def forbid_dumps() -> None:
    """Keep this process's memory out of core dumps and away from other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _prctl(_PR_SET_DUMPABLE, 0)


def _prctl(operation: int, argument: int) -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(operation, argument, 0, 0, 0)

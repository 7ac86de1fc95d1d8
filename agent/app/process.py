"""What every daemon does to its own process: no core dumps, private files, orderly stop, quiet libraries."""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import sys
from types import FrameType
from typing import Final

from agent.app.journal import log_to
from agent.app.lifecycle import Lifecycle
from agent.app.notify import ServiceManager

_PR_SET_DUMPABLE: Final = 4
"""prctl(2)."""
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
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until `agent.app.reload` follows it
    return stop


def forbid_dumps() -> None:
    """Keep this process's memory out of core dumps and away from other processes of the same user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    libc = ctypes.CDLL(None)
    if hasattr(libc, "prctl"):
        libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)

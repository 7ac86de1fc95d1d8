"""`plateseal run`: capture and upload side by side, for a bench or a unit without systemd."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Final

from agent.config.load import load_config
from agent.config.models import SpoolConfig
from agent.disk.files import LocalFiles
from agent.errors import DaemonError
from agent.records import SpoolState
from agent.spool.spool import FileSpool
from agent.unit.process.child import own_environment, own_module
from agent.unit.process.prepare import prepare_daemon

LOOK_EVERY_S: Final = 0.2
LOOK_SPACING: Final = 20
"""A look at the spool's backlog comes this many times its own cost after the one before."""
STOP_WITHIN_S: Final = 30.0
"""A daemon that was told to stop finishes its passage or its batch first; more than this is a hang."""

_log = logging.getLogger(__name__)


def run_unit(config_path: Path) -> None:
    """Run both daemons until a signal says stop, or the recording has been played and delivered.

    Raises:
        ConfigError: The configuration is wrong; nothing was started.
        DaemonError: One of the daemons failed; the other was stopped in order.
    """
    config = load_config(config_path)  # complain once, before two processes do
    stop = prepare_daemon()
    with ExitStack() as stack:
        upload = start_daemon("upload", config_path)
        stack.callback(stop_daemon, upload)
        capture = start_daemon("capture", config_path)
        stack.callback(stop_daemon, capture)
        _watch(capture, upload, stop)
        if not stop.is_set():
            _log.info("the recording is through; delivering what is left")
            _drain(config.spool, upload, stop)


def start_daemon(name: str, config_path: Path, *options: str, log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
    """Start one daemon as a process of its own; it logs to `log`, or where this process does."""
    command = own_module("agent.cli.main", name, "--config", str(config_path), *options)
    return subprocess.Popen(  # noqa: S603  our own module
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=own_environment()
    )


def stop_daemon(process: subprocess.Popen[bytes]) -> None:
    """Ask a daemon to stop, and kill it if it hangs."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _watch(capture: subprocess.Popen[bytes], upload: subprocess.Popen[bytes], stop: threading.Event) -> None:
    while not stop.wait(LOOK_EVERY_S):
        _require_running(upload, stop)
        if capture.poll() is not None:
            if capture.returncode:
                raise DaemonError(f"capture ended with status {capture.returncode}")
            return


def _drain(config: SpoolConfig, upload: subprocess.Popen[bytes], stop: threading.Event) -> None:
    spool = FileSpool(config.directory, max_bytes=config.max_bytes, files=LocalFiles())
    look_every_s = LOOK_EVERY_S
    while not stop.wait(look_every_s):
        _require_running(upload, stop)
        began_s = time.monotonic()
        if not spool.usage(SpoolState.PENDING).count:
            return
        # A look reads the whole directory: with a large backlog it must not keep upload from its work.
        look_every_s = max(LOOK_EVERY_S, (time.monotonic() - began_s) * LOOK_SPACING)


def _require_running(upload: subprocess.Popen[bytes], stop: threading.Event) -> None:
    """A Ctrl-C reaches both daemons too: then it is right that upload has ended."""
    if upload.poll() is not None and not stop.is_set():
        raise DaemonError(f"upload ended with status {upload.returncode}")

"""`plateseal run`: the two daemons' parent."""

from __future__ import annotations

import subprocess
import threading
from pathlib import Path

import pytest

from agent.errors import DaemonError
from agent.unit.process import run


def test_a_daemon_is_stopped_when_the_other_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """No memory for the second process: the first is not left alone."""
    with subprocess.Popen(["sleep", "1000"]) as upload:

        def start(name: str, config_path: Path) -> subprocess.Popen[bytes]:
            if name == "upload":
                return upload
            raise BlockingIOError("no more processes")

        monkeypatch.setattr(run, "load_config", lambda path: None)
        monkeypatch.setattr(run, "prepare_daemon", threading.Event)
        monkeypatch.setattr(run, "start_daemon", start)
        with pytest.raises(BlockingIOError):
            run.run_unit(Path("unit.toml"))
        assert upload.returncode is not None


def test_an_upload_that_a_signal_ended_too_is_no_failure() -> None:
    """Ctrl-C reaches parent and daemons at once; without it an ended upload is an error."""
    stop = threading.Event()
    with subprocess.Popen(["true"]) as upload:
        upload.wait()
        with pytest.raises(DaemonError, match="upload ended with status 0"):
            run._require_running(upload, stop)
        stop.set()
        run._require_running(upload, stop)

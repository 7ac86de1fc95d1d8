"""What systemd is told, by whom, and how log lines reach the journal; over real sockets and files."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.unit.process import lifecycle
from agent.unit.process.journal import JournalFormatter, goes_to_journal, with_priority
from agent.unit.process.lifecycle import Lifecycle, PulsedEvent
from agent.unit.process.watchdog import MAX_STATUS_CHARS, ServiceManager
from agent.unit.status.last_error import last_error


class Listener:
    """systemd's end of the socket."""

    def __init__(self, path: Path) -> None:
        """Listen at `path`."""
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        """Return what came since the last call."""
        found: list[str] = []
        try:
            while True:
                found.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return found

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """Return a listening service manager."""
    found = Listener(tmp_path / "notify")
    yield found
    found.close()


@pytest.fixture
def beating(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every question be heard, not only one a second."""
    monkeypatch.setattr(lifecycle, "PULSE_EVERY_S", 0.01)


def test_the_manager_is_the_one_that_the_environment_names(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its socket; every message in the form of sd_notify(3)."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(listener.path))
    manager = ServiceManager.of_this_process()
    manager.ready()
    manager.alive()
    manager.status("two\nlines " + "x" * 500)
    ready, alive, status = listener.heard()
    assert (ready, alive) == ("READY=1", "WATCHDOG=1")
    assert status.startswith("STATUS=two lines xxx")
    assert len(status) == len("STATUS=") + MAX_STATUS_CHARS


def test_an_abstract_socket_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """`@name` is what systemd writes for one."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(f"\0plateseal-test-{os.getpid()}")
        monkeypatch.setenv("NOTIFY_SOCKET", f"@plateseal-test-{os.getpid()}")
        ServiceManager.of_this_process().ready()
        assert end.recv(64) == b"READY=1"


@pytest.mark.parametrize("address", ["", "relative", "/no/such/socket"])
def test_nobody_to_tell_is_no_failure(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside systemd, and with a manager that is gone, the same calls do nothing."""
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    manager = ServiceManager.of_this_process()
    calls = (manager.ready, manager.alive, lambda: manager.status("at work"))
    assert [call() for call in calls] == [None] * 3


def test_who_waits_whether_to_stop_is_alive(listener: Listener, beating: None) -> None:
    """A wait of no time and a long one beat, a question does not; status and readiness come with `ready`."""
    stop = Lifecycle(ServiceManager(str(listener.path)))
    assert not stop.is_set()
    assert listener.heard() == []
    assert not stop.wait(0.0)
    assert listener.heard() == ["WATCHDOG=1"]
    assert not stop.wait(0.1)
    assert listener.heard().count("WATCHDOG=1") >= 2
    stop.ready(lambda: "at work")
    stop.wait(0.02)
    heard = listener.heard()
    assert heard[0] == "READY=1"
    assert heard.count("STATUS=at work") == 1


def test_another_thread_does_not_beat(listener: Listener, beating: None) -> None:
    """A thread that asks on beside a main loop that hangs must not keep the watchdog quiet."""
    stop = Lifecycle(ServiceManager(str(listener.path)))
    thread = threading.Thread(target=lambda: (stop.wait(0.0), stop.wait(0.05)))
    thread.start()
    thread.join()
    assert listener.heard() == []


def test_a_second_event_keeps_the_same_pulse(listener: Listener, beating: None) -> None:
    """A loop that ends for a reason of its own beats for the daemon, and its event is its own."""
    stop = Lifecycle(ServiceManager(str(listener.path)))
    halt = PulsedEvent(lambda: stop.wait(0.0))
    assert not halt.wait(0.05)
    assert "WATCHDOG=1" in listener.heard()
    halt.set()
    assert halt.is_set()
    assert not stop.is_set()


def test_a_wait_ends_at_once_when_it_is_set() -> None:
    """From a signal or from another thread, in the middle of a long wait."""
    stop = Lifecycle(ServiceManager(None))
    threading.Timer(0.05, stop.set).start()
    assert stop.wait(600.0)


@pytest.mark.parametrize(
    ("level", "priority"),
    [(logging.DEBUG, 7), (logging.INFO, 6), (logging.WARNING, 4), (logging.ERROR, 3), (logging.CRITICAL, 2)],
)
def test_every_line_carries_its_priority(level: int, priority: int) -> None:
    """RFC 5424's numbers, before each line of a message, so that no line loses its level."""
    record = logging.LogRecord("agent.unit", level, __file__, 1, "first %d\nsecond", (7,), None)
    lines = JournalFormatter("%(name)s: %(message)s").format(record).splitlines()
    assert lines == [f"<{priority}>agent.unit: first 7", f"<{priority}>second"]
    assert with_priority("", level) == ""


def test_the_journal_is_told_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JOURNAL_STREAM names device and inode: a service whose output was sent elsewhere writes plain lines."""
    with (tmp_path / "journal").open("w") as journal, (tmp_path / "other").open("w") as other:
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert goes_to_journal(journal)
        assert not goes_to_journal(other)
        monkeypatch.delenv("JOURNAL_STREAM")
        assert not goes_to_journal(journal)


@pytest.mark.parametrize("is_journal", [False, True])
def test_a_daemon_logs_although_its_errors_are_noted_too(tmp_path: Path, *, is_journal: bool) -> None:
    """As the commands start them: each line once, on standard error, with its level or its priority."""
    program = (
        "import logging, pathlib, sys\n"
        "from agent.unit.status.last_error import noted_errors\n"
        "from agent.unit.process.prepare import prepare_daemon\n"
        "with noted_errors(pathlib.Path(sys.argv[1]), 'capture'):\n"
        "    prepare_daemon(); prepare_daemon()\n"
        "    logging.getLogger('agent.x').info('begins')\n"
        "    logging.getLogger('agent.x').error('fails')\n"
    )
    with (tmp_path / "stderr").open("w") as stderr:
        status = os.fstat(stderr.fileno())
        env = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}" if is_journal else "0:0"}
        subprocess.run([sys.executable, "-c", program, tmp_path], stderr=stderr, env=env, check=True)
    lines = (tmp_path / "stderr").read_text().splitlines()
    plain, marked = ["INFO agent.x: begins", "ERROR agent.x: fails"], ["<6>agent.x: begins", "<3>agent.x: fails"]
    assert lines == (marked if is_journal else plain)
    noted = last_error(tmp_path)
    assert noted is not None
    assert noted.line == "fails"

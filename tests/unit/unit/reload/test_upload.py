"""How upload takes up a new configuration: between two batches, and by what it is judged."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import KeyFileError, TransportError
from agent.unit.reload import trial as reload_module
from agent.unit.reload import upload as reload_upload
from agent.unit.reload.trial import Reload
from agent.unit.reload.upload import UploadChange, UploadReload
from agent.upload.worker import UploadStats
from tests.fakes.bundles import changed, put_bundle
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.unit.unit.reload.test_trial import OWNER, Unit


class Daemon:
    """The upload daemon without its worker."""

    def __init__(self, unit: Unit) -> None:
        """Start on the unit's own file."""
        self.unit = unit
        self.stats = UploadStats()
        self.reload: Reload[UploadChange] = Reload(unit.base, "upload", files=unit.files, clock=unit.clock)
        self.answers = True
        self.changes = UploadReload(self.reload, self.stats, ask=self._ask, clock=unit.clock, stop=unit.stop)

    def _ask(self) -> int:
        if not self.answers:
            raise TransportError("nobody there")
        return 204

    def put(self, **settings: object) -> None:
        """Put a bundle with other settings of `[upload]`."""
        table = changed(self.unit.table, {f"upload.{key}": value for key, value in settings.items()})
        put_bundle(self.unit.incoming, table, serial=1, key=OWNER)

    def begin(self) -> None:
        """Be told to halt, and take up what is new."""
        self.put(poll_s=3.0)
        self.changes.watch()
        assert self.changes.halt.wait(WITHIN_S)
        assert self.changes.take_up()
        assert (self.reload.config.upload.poll_s, self.reload.serial) == (3.0, 1)

    def begin_unanswered(self) -> None:
        """The same, and from the change on nobody answers."""
        self.put(poll_s=3.0)
        self.changes.watch()
        assert self.changes.halt.wait(WITHIN_S)
        self.answers = False
        assert self.changes.take_up()


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """Make a unit whose TLS files are taken as good; its threads end with the test."""
    monkeypatch.setattr(reload_module, "LOOK_EVERY_S", 0.005)
    monkeypatch.setattr(reload_upload, "LOOK_EVERY_S", 0.005)
    monkeypatch.setattr(reload_upload, "ASK_EVERY_S", 0.005)
    monkeypatch.setattr(reload_upload, "TlsFiles", lambda *_, **__: None)
    monkeypatch.setattr(reload_upload, "load_pinned", lambda _: None)
    unit = Unit(tmp_path)
    yield Daemon(unit)
    unit.stop.set()


def test_it_is_good_as_soon_as_the_receiver_answers(daemon: Daemon) -> None:
    """Under the new settings: what was before the switch does not count."""
    daemon.stats.link_up, daemon.answers = True, False
    daemon.begin()
    before: list[object] = [daemon.stats.link_up]
    daemon.stats.link_up = True
    assert before == [None]
    wait_until(lambda: not daemon.reload.on_trial)
    assert (daemon.reload.serial, daemon.unit.note.rejected) == (1, None)


def test_a_receiver_that_is_not_reached_any_more_takes_it_back(daemon: Daemon) -> None:
    """And the worker is told to halt once more, for the settings before."""
    daemon.stats.link_up = True
    daemon.begin_unanswered()
    daemon.stats.link_up = False
    daemon.unit.clock.advance(61.0)
    assert daemon.changes.halt.wait(WITHIN_S)
    assert daemon.changes.take_up()
    assert daemon.reload.config == daemon.unit.base
    assert "was not reached" in str(daemon.unit.note.rejected)


@pytest.mark.parametrize("before", [True, None])
def test_with_nothing_to_send_the_receiver_is_asked(daemon: Daemon, before: bool | None) -> None:
    """It answered before the change and not after it: a wrong address is found without a read."""
    daemon.stats.link_up = before
    daemon.begin_unanswered()
    daemon.unit.clock.advance(61.0)
    assert daemon.changes.halt.wait(WITHIN_S)
    assert daemon.changes.take_up()
    assert (daemon.reload.config, daemon.reload.serial) == (daemon.unit.base, 0)
    assert "was not reached" in str(daemon.unit.note.rejected)


def test_with_nothing_to_send_an_answer_is_enough(daemon: Daemon) -> None:
    """Long before the time is up."""
    daemon.begin()
    wait_until(lambda: not daemon.reload.on_trial)
    assert (daemon.reload.serial, daemon.unit.note.rejected) == (1, None)


@pytest.mark.parametrize(("before", "after"), [(False, False), (None, None), (None, False)])
def test_what_cannot_be_told_is_not_held_against_it(daemon: Daemon, before: bool | None, after: bool | None) -> None:
    """A network that was down before, whether something was sent or not."""
    daemon.stats.link_up, daemon.answers = before, False
    daemon.begin()
    daemon.stats.link_up = after
    daemon.unit.clock.advance(61.0)
    wait_until(lambda: not daemon.reload.on_trial)
    assert (daemon.reload.serial, daemon.unit.note.rejected) == (1, None)


def test_a_bundle_without_news_for_upload_halts_nobody(daemon: Daemon) -> None:
    """It is good at once."""
    daemon.put()
    daemon.changes.watch()
    wait_until(lambda: daemon.reload.serial == 1)
    assert (daemon.changes.halt.is_set(), daemon.reload.on_trial) == (False, False)


def test_files_that_cannot_be_used_are_found_beforehand(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker goes on, and the note says why."""

    def fail(*_: object, **__: object) -> None:
        raise KeyFileError("tls.pem: no such file")

    monkeypatch.setattr(reload_upload, "TlsFiles", fail)
    daemon.put(poll_s=3.0)
    daemon.changes.watch()
    wait_until(lambda: daemon.unit.note.rejected == "tls.pem: no such file")
    assert not daemon.changes.halt.is_set()


def test_a_stop_ends_the_worker_and_takes_nothing_up(daemon: Daemon) -> None:
    """Also one that comes while a bundle waits."""
    daemon.put(poll_s=3.0)
    daemon.changes.watch()
    assert daemon.changes.halt.wait(WITHIN_S)
    daemon.unit.stop.set()
    assert not daemon.changes.take_up()
    assert daemon.reload.serial == 0


def test_without_bundles_the_worker_has_the_daemons_own_stop(daemon: Daemon) -> None:
    """Nothing stands between a signal and the worker."""
    stop = threading.Event()
    base = daemon.unit.base.model_copy(update={"bundle": daemon.unit.base.bundle.model_copy(update={"incoming": None})})
    alone: Reload[UploadChange] = Reload(base, "upload", files=daemon.unit.files, clock=daemon.unit.clock)
    assert UploadReload(alone, UploadStats(), ask=lambda: 204, clock=daemon.unit.clock, stop=stop).halt is stop

"""Which configuration a daemon runs on: the newest good one, whatever is put there and whenever it dies."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.config.bundle import Bundle, sign_bundle
from agent.config.document import Table
from agent.config.load import load_config
from agent.config.models import UnitConfig
from agent.disk.files import LocalFiles
from agent.errors import ModelMissingError, SpoolError
from agent.keys.keyfiles import write_public
from agent.unit.reload import trial as reload_module
from agent.unit.reload.bundles import read_bundle
from agent.unit.reload.states import MAX_REASON_CHARS, ConfigNote, ConfigNoteFile, read_note
from agent.unit.reload.trial import MAX_STARTS, Reload, config_states, newest_serial
from tests.fakes.bundles import CAMERA, changed, put_bundle, put_bytes, unit_table
from tests.fakes.clock import FakeClock
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.unit.config.test_load import GOOD

OWNER = Ed25519PrivateKey.generate()


class Unit:
    """A unit's folder, and its upload daemon's configuration as it would start now."""

    def __init__(self, folder: Path) -> None:
        """Write its own file and the owner's public key."""
        self.folder = folder
        self.clock = FakeClock()
        self.files = LocalFiles()
        text = GOOD + '[bundle]\nincoming = "unit.bundle"\n'
        (folder / "unit.toml").write_text(text)
        (folder / "state").mkdir()
        write_public(folder / "owner.pub", OWNER.public_key())
        self.base = load_config(folder / "unit.toml")
        self.table: Table = changed(unit_table(text, folder), {"bundle.incoming": str(self.incoming)})
        self.stop = threading.Event()
        self.prepared: list[UnitConfig] = []

    @property
    def incoming(self) -> Path:
        """Where bundles are put."""
        return self.folder / "unit.bundle"

    @property
    def note(self) -> ConfigNote:
        """What the daemon has noted."""
        return read_note(self.folder / "state" / "config-upload.json", self.files)

    def put(self, serial: int, **settings: object) -> None:
        """Put a bundle with other settings of `[vision]`."""
        table = changed(self.table, {f"vision.{key}": value for key, value in settings.items()})
        put_bundle(self.incoming, table, serial=serial, key=OWNER)

    def start(self, *, fails: Callable[[UnitConfig], None] = lambda _: None) -> Reload[UnitConfig]:
        """Start as the daemon does; `fails` may refuse what is prepared."""
        daemon: Reload[UnitConfig] = Reload(self.base, "upload", files=self.files, clock=self.clock)

        def prepare(_: UnitConfig, unit: UnitConfig) -> UnitConfig:
            fails(unit)
            self.prepared.append(unit)
            return unit

        daemon.watch(prepare, self.stop)
        return daemon


@pytest.fixture
def unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Unit]:
    """Make a unit; its threads end with the test."""
    monkeypatch.setattr(reload_module, "LOOK_EVERY_S", 0.005)
    made = Unit(tmp_path)
    yield made
    made.stop.set()


def wait_ready(daemon: Reload[UnitConfig]) -> None:
    """Wait for what was put to be prepared."""
    wait_until(lambda: daemon.ready() is not None)


def wait_ready_in_time(unit: Unit, daemon: Reload[UnitConfig]) -> None:
    """As `wait_ready`, while time passes."""

    def is_ready() -> bool:
        unit.clock.advance(1.1)
        return daemon.ready() is not None

    wait_until(is_ready)


def refused(unit: Unit, word: str) -> None:
    """Wait until the daemon says why it refuses."""
    wait_until(lambda: unit.note.rejected is not None and word in unit.note.rejected)


def test_a_good_bundle_is_on_trial_until_it_works(unit: Unit) -> None:
    """Offered, taken up, and good; then it is what every start begins with."""
    unit.put(3, min_votes=4)
    daemon = unit.start()
    assert daemon.config == unit.base
    wait_ready(daemon)
    assert daemon.begin()
    assert (daemon.serial, daemon.on_trial, daemon.config.vision.min_votes) == (3, True, 4)
    daemon.works()
    assert (daemon.on_trial, unit.note.rejected, unit.note.newest) == (False, None, 3)
    assert unit.start().config.vision.min_votes == 4


def test_a_trial_that_is_taken_back_leaves_the_last_good_one(unit: Unit) -> None:
    """And its serial is used up."""
    unit.put(3, min_votes=4)
    daemon = unit.start()
    wait_ready(daemon)
    daemon.begin(works=True)
    unit.put(5, min_votes=9)
    unit.clock.advance(2.0)
    wait_ready(daemon)
    daemon.begin()
    overdue = [daemon.is_overdue]
    unit.clock.advance(61.0)
    assert [*overdue, daemon.is_overdue] == [False, True]
    daemon.reject("no frame came")
    assert daemon.config.vision.min_votes == 4
    state = config_states(unit.folder / "state", OWNER.public_key(), unit.files)[1]
    assert (state.daemon, state.serial, state.newest) == ("upload", 3, 5)
    assert (state.rejected_serial, state.rejected) == (5, "no frame came")
    again = unit.start()
    assert (again.serial, again.on_trial) == (3, False)
    assert newest_serial(unit.folder / "state", unit.files) == 5


def test_a_start_in_the_middle_of_a_trial_goes_on_with_it(unit: Unit) -> None:
    """A power cut is not the bundle's fault; but one that never works is taken back after some starts."""
    unit.put(3, min_votes=4)
    daemon = unit.start()
    wait_ready(daemon)
    daemon.begin()
    for _ in range(MAX_STARTS):
        daemon = unit.start()
        assert (daemon.serial, daemon.on_trial) == (3, True)
    daemon = unit.start()
    assert (daemon.serial, daemon.on_trial) == (0, False)
    assert "never worked" in str(unit.note.rejected)


def test_a_slow_start_is_not_the_bundles_fault(unit: Unit) -> None:
    """The time of a trial counts from where the daemon works."""
    unit.put(3, min_votes=4)
    daemon = unit.start()
    wait_ready(daemon)
    daemon.begin()
    again: Reload[UnitConfig] = Reload(unit.base, "upload", files=unit.files, clock=unit.clock)
    overdue = []
    unit.clock.advance(500.0)
    overdue.append(again.is_overdue)
    again.watch(lambda _, new: new, unit.stop)
    overdue.append(again.is_overdue)
    unit.clock.advance(61.0)
    assert [*overdue, again.is_overdue] == [False, False, True]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"vision.min_votes": 0}, "vision.min_votes: is 0"),
        ({"vision.models": "models"}, "vision.models: is a relative path; a unit's must be absolute"),
        ({"state_dir": "/elsewhere"}, "state_dir is"),
        ({"spool.directory": "/elsewhere"}, "spool.directory is"),
        ({"camera_id": "other"}, "these change only with the unit's own file"),
        ({"seal.owner_key": "/etc/other.pub"}, "seal.owner_key is"),
        ({"bundle.incoming": "/etc/other"}, "bundle.incoming is"),
    ],
)
def test_wrong_content_is_refused_and_told(unit: Unit, settings: dict[str, object], word: str) -> None:
    """What is wrong, and what no bundle may change; the daemon goes on."""
    put_bundle(unit.incoming, changed(unit.table, settings), serial=1, key=OWNER)
    daemon = unit.start()
    refused(unit, word)
    assert daemon.ready() is None
    assert (unit.note.rejected_serial, unit.note.newest, unit.note.trial) == (1, 0, None)
    assert daemon.samples()['config_rejected{daemon="upload"}'] == 1.0


def test_wrong_envelopes_are_refused_and_told(unit: Unit) -> None:
    """Another owner's, another camera's, an older one, a changed one, rubbish, nothing."""
    unit.put(5, min_votes=4)
    daemon = unit.start()
    wait_ready(daemon)
    daemon.begin(works=True)
    good = sign_bundle(unit.table, camera=CAMERA, serial=6, key=OWNER)
    for data, word in (
        (sign_bundle(unit.table, camera=CAMERA, serial=6, key=Ed25519PrivateKey.generate()), "signed by key"),
        (sign_bundle(unit.table, camera="other", serial=6, key=OWNER), "is for other"),
        (sign_bundle(unit.table, camera=CAMERA, serial=4, key=OWNER), "serial 4 is not above 5"),
        (sign_bundle(unit.table, camera=CAMERA, serial=5, key=OWNER), "serial 5 is not above 5"),
        (good.replace(b"serial = 6", b"serial = 9"), "wrong signature"),
        (b"rubbish", "no bundle"),
        (b"", "no bundle"),
    ):
        put_bytes(unit.incoming, data)
        unit.clock.advance(2.0)
        refused(unit, word)
        assert (daemon.serial, daemon.ready()) == (5, None)
    put_bytes(unit.incoming, good)
    unit.clock.advance(2.0)
    wait_ready(daemon)
    daemon.begin(works=True)
    assert (daemon.serial, unit.note.rejected) == (6, None)


def test_what_is_not_there_yet_is_tried_again(unit: Unit) -> None:
    """A bundle may come before the model that it names."""
    is_missing = threading.Event()
    is_missing.set()

    def fails(_: UnitConfig) -> None:
        if is_missing.is_set():
            raise ModelMissingError("no such model")

    unit.put(1, min_votes=4)
    daemon = unit.start(fails=fails)
    refused(unit, "no such model")
    is_missing.clear()
    unit.clock.advance(61.0)
    wait_ready_in_time(unit, daemon)
    assert daemon.begin(works=True)


def test_an_unforeseen_error_does_not_end_the_thread(unit: Unit) -> None:
    """A bundle that trips a library is refused like any other, and the next one is taken."""
    calls: list[int] = []

    def fails(_: UnitConfig) -> None:
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError

    unit.put(1, min_votes=4)
    daemon = unit.start(fails=fails)
    refused(unit, "ZeroDivisionError")
    unit.put(2, min_votes=4)
    unit.clock.advance(2.0)
    wait_ready(daemon)
    assert daemon.begin(works=True)


def test_the_bundle_in_use_is_no_news(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """It lies in the incoming path at every start: it is read there and passed over, unlike the one after it."""
    unit.put(1, min_votes=4)
    daemon = unit.start()
    wait_ready(daemon)
    daemon.begin(works=True)
    unit.stop.set()
    for thread in threading.enumerate():
        if thread.name == "configuration":
            thread.join(WITHIN_S)  # the first daemon's: it must not look at what is put for the second
    unit.stop = threading.Event()
    looked_at: list[int] = []

    def read(path: Path, owner_key: Ed25519PublicKey) -> Bundle:
        bundle = read_bundle(path, owner_key)
        looked_at.append(bundle.serial)
        return bundle

    monkeypatch.setattr(reload_module, "read_bundle", read)
    again = unit.start()
    wait_until(lambda: looked_at)
    unit.put(2, min_votes=5)
    unit.clock.advance(2.0)
    wait_ready(again)
    assert (looked_at[0], looked_at[-1], unit.note.rejected) == (1, 2, None)
    assert [made.vision.min_votes for made in unit.prepared] == [4, 5]


def test_a_disk_that_refuses_the_note_leaves_everything_as_it_was(unit: Unit, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not noted durably is not taken up."""
    unit.put(1, min_votes=4)
    daemon = unit.start()
    wait_ready(daemon)

    def refuse(_: ConfigNoteFile, __: ConfigNote) -> None:
        raise SpoolError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(ConfigNoteFile, "replace", refuse)
        assert not daemon.begin()
    assert (daemon.serial, daemon.on_trial, daemon.config) == (0, False, unit.base)
    assert unit.note == ConfigNote()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"newest": "1"}', '{"newest": -1}', '{"good": 1}', '{"no": 1}', '{"good": "x"}', "[" * 9999],
)
def test_a_damaged_note_leaves_the_unit_running(unit: Unit, content: str) -> None:
    """With its own file, and open for the next bundle."""
    (unit.folder / "state" / "config-upload.json").write_text(content)
    daemon = unit.start()
    assert daemon.config == unit.base
    unit.put(1, min_votes=4)
    wait_ready_in_time(unit, daemon)
    assert daemon.begin(works=True)


def test_a_reason_of_any_length_is_cut(unit: Unit) -> None:
    """A health report has room for a line."""

    def fails(_: UnitConfig) -> None:
        raise ModelMissingError("x" * 10_000)

    unit.put(1, min_votes=4)
    unit.start(fails=fails)
    refused(unit, "xxx")
    assert len(str(unit.note.rejected)) == MAX_REASON_CHARS


def test_without_an_incoming_path_nothing_is_taken(unit: Unit) -> None:
    """A unit that is told nothing of bundles has its own file, and no note."""
    (unit.folder / "state" / "config-upload.json").write_text('{"good": "x", "newest": 9}')
    base = load_config(_without_bundles(unit.folder))
    daemon: Reload[UnitConfig] = Reload(base, "upload", files=unit.files, clock=unit.clock)
    assert (daemon.config, daemon.samples(), daemon.is_on) == (base, {}, False)


def _without_bundles(folder: Path) -> Path:
    path = folder / "alone.toml"
    path.write_text(GOOD)
    return path

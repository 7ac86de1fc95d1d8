"""New configurations while a daemon runs: which one is in use, which is on trial, and which was refused.

A bundle is put into the incoming path by renaming it there. A thread looks once a second, and at once on SIGHUP. It
checks a bundle in full: signature, serial, camera, every setting, and whatever the daemon builds from it (`prepare`).
Only then the daemon is offered it, and takes it up between two frames, or two batches. From that moment it is on trial;
it is good once the daemon works with it, and is taken back if that is not so within `bundle.healthy_within_s`.

Owns: that order. Leaves to others: what a bundle must be (`bundles`), what remembers it (`states`), what is built
(`agent.unit.reload.capture`, `agent.unit.upload.daemon`).

Invariants: a bundle is in use only if the pinned owner signed it for this camera, with a serial above all that were
tried. Nothing that is wrong with one ends the daemon.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Generic, NoReturn, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.config.bundle import Bundle, verify_bundle
from agent.config.models import UnitConfig
from agent.disk.watch import FileWatch
from agent.errors import ConfigError, PlatesealError, SpoolError
from agent.keys.keyfiles import load_ed25519_public
from agent.ports import Clock, Disk
from agent.unit.process.child import own_environment
from agent.unit.reload.bundles import read_bundle, require_for, require_same_fixed
from agent.unit.reload.states import DAEMONS, MAX_REASON_CHARS, ConfigNote, ConfigNoteFile, note_name, read_note
from agent.unit.status.samples import Sample

LOOK_EVERY_S: Final = 0.5
MAX_STARTS: Final = 5
"""A bundle that has been on trial at so many starts is rejected at the next. Kills and power cuts come alone; a bundle
that ends the daemon does so at each start."""

_log = logging.getLogger(__name__)
Prepared = TypeVar("Prepared")


@dataclass(frozen=True, slots=True)
class ConfigState:
    """What a daemon runs on, for health reports and `plateseal status`.

    Attributes:
        daemon: `capture` or `upload`.
        serial: Of the bundle that is good; 0 while the unit's own file rules.
        newest: The highest serial that was ever tried.
        rejected_serial, rejected: The last bundle that was refused, and why; None once a newer one is good.
        file: Where this is noted.
    """

    daemon: str
    serial: int
    newest: int
    rejected_serial: int | None
    rejected: str | None
    file: Path


def config_states(state_dir: Path, owner_key: Ed25519PublicKey, files: Disk) -> tuple[ConfigState, ...]:
    """Return what each daemon of a unit runs on, as far as it has noted. Changes nothing; may run in any process."""
    found: list[ConfigState] = []
    for daemon in DAEMONS:
        path = state_dir / note_name(daemon)
        note = read_note(path, files)
        serial = _serial(note.good, owner_key) or 0
        found.append(ConfigState(daemon, serial, note.newest, note.rejected_serial, note.rejected, path))
    return tuple(found)


def newest_serial(state_dir: Path, files: Disk) -> int:
    """Return the highest serial that a unit has tried; 0 before the first."""
    return max(read_note(state_dir / note_name(daemon), files).newest for daemon in DAEMONS)


def _serial(text: str | None, owner_key: Ed25519PublicKey) -> int | None:
    if text is None:
        return None
    try:
        return verify_bundle(text.encode(), owner_key).serial
    except PlatesealError:
        return None


class Reload(Generic[Prepared]):
    """The configuration of one daemon, now and next. Its own thread prepares; safe for threads.

    Attributes:
        config: The configuration that is in use.
        serial: Its bundle's; 0 for the unit's own file.
        is_on: Whether this unit takes bundles at all.
    """

    def __init__(self, base: UnitConfig, daemon: str, *, files: Disk, clock: Clock) -> None:
        """Choose what the daemon starts with: the bundle on trial, the last good one, or the unit's own file.

        Args:
            base: The unit's own file.
            daemon: `capture` or `upload`.
            files: For the note.
            clock: For the looks and the time that a trial has.

        Raises:
            KeyFileError: Bundles are taken, and the owner's public key cannot be read.
        """
        self._base = base
        self._daemon = daemon
        self._clock = clock
        self.is_on = base.bundle.incoming is not None
        self._lock = threading.RLock()
        self._ready: tuple[Bundle, UnitConfig, Prepared] | None = None
        self._trial: Bundle | None = None
        self._deadline_s = float("inf")
        self._hurry = threading.Event()
        self._hurry.set()  # what lies there at the start has not been looked at
        self.config, self.serial = base, 0
        if self.is_on:
            self._owner_key = load_ed25519_public(base.seal.owner_key)
            self._file = ConfigNoteFile(base.state_dir, daemon, files)
            self._choose()

    @property
    def on_trial(self) -> bool:
        """Whether the configuration in use has yet to work."""
        return self._trial is not None

    @property
    def is_overdue(self) -> bool:
        """Whether it has had all the time there is for that."""
        return self.on_trial and self._clock.monotonic_s() >= self._deadline_s

    def watch(self, prepare: Callable[[UnitConfig, UnitConfig], Prepared], stop: threading.Event) -> None:
        """Start the thread that looks for bundles, and follow SIGHUP.

        Args:
            prepare: Builds what the daemon needs for a new configuration beside the one in use, from both; on the
                thread. Raises a `PlatesealError` where it cannot.
            stop: Ends the thread.
        """
        if not self.is_on:
            return
        self._give_time()  # a slow start is not the configuration's fault
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGHUP, lambda *_: self._hurry.set())
        threading.Thread(target=self._watch, args=(prepare, stop), name="configuration", daemon=True).start()

    def ready(self) -> Prepared | None:
        """Return what is prepared, if anything is; take it up with `begin`, or leave it for later."""
        with self._lock:
            return None if self._ready is None else self._ready[2]

    def begin(self, *, works: bool = False) -> bool:
        """Note the prepared configuration as the one in use from now on, on trial or good at once.

        Returns:
            Whether it is noted; False where the disk refused, and the one before goes on.
        """
        with self._lock:
            assert self._ready is not None, "only what is ready is taken up"
            bundle, unit, _ = self._ready
            self._ready = None
            text = bundle.data.decode()
            try:
                if works:
                    self._file.replace(ConfigNote(newest=bundle.serial, good=text))
                else:
                    self._file.replace(replace(self._file.note, newest=bundle.serial, trial=text, starts=0))
            except SpoolError as error:
                self._refuse(bundle.serial, f"cannot be noted: {error}")
                return False
            self.config, self.serial = unit, bundle.serial
            self._trial = None if works else bundle
            self._give_time()
            _log.info("configuration serial %d %s", bundle.serial, "in use" if works else "on trial")
            return True

    def works(self) -> None:
        """Note that the daemon works with the configuration on trial: it is good."""
        with self._lock:
            if self._trial is None:
                return
            try:
                self._file.replace(ConfigNote(newest=self._file.note.newest, good=self._trial.data.decode()))
            except SpoolError as error:
                _log.error("configuration serial %d works and cannot be noted: %s", self.serial, error)
                return  # asked again with the next frame or batch
            self._trial = None
            _log.info("configuration serial %d works and is in use", self.serial)

    def reject(self, reason: str) -> None:
        """Take the configuration on trial back: the last good one is in use again, as far as this object goes."""
        with self._lock:
            assert self._trial is not None, "only a trial is rejected"
            self._reject(self._trial.serial, reason)
            self._trial = None
            self._use_good()

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics now; none where no configuration can come."""
        if self.is_on:
            daemon, rejected = (self._daemon,), self._file.note.rejected
            yield Sample("config_serial", self.serial, daemon)
            yield Sample("config_on_trial", float(self.on_trial), daemon)
            yield Sample("config_rejected", float(rejected is not None), daemon)

    def _choose(self) -> None:
        note = self._file.note
        if note.trial is None:
            self._use_good()
            return
        try:
            if note.starts >= MAX_STARTS:
                raise ConfigError(f"the daemon was started {note.starts} times with it and never worked")
            self._file.replace(replace(note, starts=note.starts + 1))
            bundle = verify_bundle(note.trial.encode(), self._owner_key)
            self.config, self.serial = self._unit(bundle), bundle.serial
        except PlatesealError as error:
            self._reject(note.newest, str(error))
            self._use_good()
            return
        self._trial = bundle
        _log.info("starting with configuration serial %d, on trial", bundle.serial)

    def _give_time(self) -> None:
        self._deadline_s = self._clock.monotonic_s() + self.config.bundle.healthy_within_s

    def _use_good(self) -> None:
        self.config, self.serial = self._base, 0
        good = self._file.note.good
        if good is None:
            return
        try:
            bundle = verify_bundle(good.encode(), self._owner_key)
            self.config, self.serial = self._unit(bundle), bundle.serial
        except PlatesealError as error:
            _log.error("the last good configuration cannot be used, so the unit's own file rules: %s", error)

    def _unit(self, bundle: Bundle) -> UnitConfig:
        unit = bundle.unit()
        require_same_fixed(self._base, unit)
        return unit

    def _watch(self, prepare: Callable[[UnitConfig, UnitConfig], Prepared], stop: threading.Event) -> None:
        path = self._base.bundle.incoming
        assert path is not None, "there is no thread without it"
        watch = FileWatch(path, clock=self._clock)
        while not stop.wait(LOOK_EVERY_S):
            with self._lock:
                is_busy = self.on_trial or self._ready is not None
            if is_busy or not (watch.take_change() or self._hurry.is_set()):
                continue
            self._hurry.clear()
            if _is_there(path) and not self._look(path, prepare):
                watch.refused()

    def _look(self, path: Path, prepare: Callable[[UnitConfig, UnitConfig], Prepared]) -> bool:
        """Check what lies in the incoming path; return False if it was refused."""
        serial: int | None = None
        try:
            bundle = read_bundle(path, self._owner_key)
            serial = bundle.serial
            if self._is_known(bundle):
                return True
            require_for(bundle, camera=self._base.camera_id, newest=self._file.note.newest)
            unit = self._unit(bundle)
            prepared = prepare(self.config, unit)
        except PlatesealError as error:
            self._refuse(serial, str(error))
            return False
        except Exception as error:  # noqa: BLE001  whatever a bundle does to a library, the daemon goes on and says so
            self._refuse(serial, f"{type(error).__name__} while it was prepared")
            return False
        with self._lock:
            self._ready = bundle, unit, prepared
        return True

    def _is_known(self, bundle: Bundle) -> bool:
        """Whether it is the very bundle that is in use, or one that had its trial and says so already."""
        note = self._file.note
        return bundle.data.decode() == note.good or (
            bundle.serial == note.rejected_serial == note.newest and bundle.camera == self._base.camera_id
        )

    def _refuse(self, serial: int | None, reason: str) -> None:
        """Note, once, that a bundle is not taken up."""
        with self._lock:
            note = self._file.note
            refused = replace(note, rejected_serial=serial, rejected=reason[:MAX_REASON_CHARS])
            if refused != note:
                _log.error("a configuration is refused, serial %d stays in use: %s", self.serial, reason)
                self._note(refused)

    def _reject(self, serial: int, reason: str) -> None:
        _log.error("configuration serial %d is taken back: %s", serial, reason)
        note = replace(self._file.note, trial=None, starts=0)
        self._note(replace(note, rejected_serial=serial, rejected=reason[:MAX_REASON_CHARS]))

    def _note(self, note: ConfigNote) -> None:
        try:
            self._file.replace(note)
        except SpoolError as error:
            _log.error("that cannot be noted: %s", error)


def _is_there(path: Path) -> bool:
    """Whether there is anything to read; what keeps it from being read is told by reading it."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True


def restart_process() -> NoReturn:
    """Begin this process anew with the same arguments, under the same id, so that no service manager counts a restart.

    Everything it holds is given up before: drivers may have opened files that would stay open.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os.closerange(3, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") > 0 else 65_536)
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], own_environment())  # noqa: S606  our own arguments

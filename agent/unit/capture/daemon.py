"""The capture daemon: frames in, sealed reads in the spool. It sees pixels and has no network."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from typing import Final

from agent.capture import RoundRobin, SourceEnd, source_name
from agent.config.models import SpoolConfig, UnitConfig
from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.errors import KeyringEndedError, PlatesealError, SourceError, SpoolError, SpoolFullError
from agent.keys.keyfiles import load_ed25519_public
from agent.keys.keyring import KeyringFile
from agent.keys.keyring_serial import SerialNote
from agent.keys.known_keys import KnownKeys
from agent.keys.renewal import RenewalRequests
from agent.keys.signing_key import SigningKeyFile
from agent.records import Frame, Passage
from agent.seal.cipher import choose_cipher
from agent.seal.last_link import LastLink
from agent.seal.sealer import Sealer
from agent.seal.selftest import CAPTURE_CHECKS, run_self_test
from agent.spool.spool import FileSpool
from agent.unit.capture.cameras import Camera, open_cameras
from agent.unit.capture.eviction import Bounds, require_room
from agent.unit.capture.keys import KeyWatcher
from agent.unit.capture.recorder import Recorder
from agent.unit.process.clock import SystemClock
from agent.unit.process.clock_trust import ClockTrust
from agent.unit.process.lifecycle import Lifecycle
from agent.unit.process.prepare import prepare_daemon
from agent.unit.process.state import make_state_dir
from agent.unit.reload.capture import CaptureChange, CaptureReload
from agent.unit.reload.trial import Reload, restart_process
from agent.unit.status.metrics import MetricsFiles
from agent.unit.status.samples import Sample

LOOK_EVERY_S: Final = 0.1
"""How often the loop looks at what has nothing to do with frames, while frames come: a tenth of the second within which
anything of it must be noticed. At each frame it would be a tenth of what an empty road costs."""

_log = logging.getLogger(__name__)


class CaptureLoop:
    """Takes frames from the cameras, has them read, and hands the reads to the recorder, until the end."""

    def __init__(
        self,
        cameras: Sequence[Camera],
        *,
        recorder: Recorder,
        stop: threading.Event,
        keys: KeyWatcher | None = None,
        changes: CaptureReload | None = None,
        follow_clock: Callable[[], None] = lambda: None,
    ) -> None:
        """Wire the parts together; nothing is read yet.

        Args:
            cameras: Where frames come from, and what reads them.
            recorder: Where reads go.
            stop: Set from outside to end the loop between two frames.
            keys: Follows the key files; without it, no key changes while the loop runs.
            changes: Follows the configuration; without it, no setting changes.
            follow_clock: Called before a read is kept, a few times a second, and once a second while no frame comes.
        """
        self._cameras = tuple(cameras)
        self._recorder = recorder
        self._keys = keys
        self._changes = changes
        self._stop = stop
        self._follow_clock = follow_clock
        self._lost: set[str] = set()
        self._look_again_s = float("-inf")

    def run(self) -> None:
        """Play the sources to their end, or until told to stop; passages in view are finished, not forgotten.

        Of several cameras one that fails is left out and the others go on; the failure is raised when all have ended.

        Raises:
            SourceError, InferenceError: A source or a model failed; what was read before is sealed.
            SpoolFullError: The spool is full, and the unit is told to stop then; the reads that did not fit are noted.
            SpoolError: The disk refused.
            KeyringEndedError: The keyring has run out and the unit is told to stop then; that read is not sealed.
        """
        try:
            self._play()
        except SpoolError:
            raise  # what that put left behind is not known; another one at the same place could fork the chain
        except PlatesealError:
            self._end()
            raise
        self._end()
        if self._recorder.full is not None:
            raise self._recorder.full

    def on_idle(self) -> None:
        """Do what must not wait for the next frame: called about once a second while no camera delivers one."""
        self._look_around()
        if self._recorder.full is not None:
            self._stop.set()

    def status(self) -> str:
        """Say in one line what the daemon does."""
        lost = sum(camera.is_lost for camera in self._cameras)
        cameras = f"{len(self._cameras)} camera{'s' if len(self._cameras) > 1 else ''}"
        return f"{cameras}{f', {lost} lost' if lost else ''}; {self._recorder.stats.sealed} reads sealed"

    def samples(self) -> Iterator[Sample]:
        """Yield the daemon's metrics now."""
        for camera in self._cameras:
            yield from camera.samples()
        recorded = self._recorder.stats
        yield Sample("sealed", recorded.sealed)
        yield Sample("dropped", recorded.dropped)
        yield Sample("evicted", recorded.evicted)
        yield Sample("expired", recorded.expired)
        yield Sample("crops_left_out", recorded.crops_left_out)
        if self._keys is not None:
            yield from self._keys.samples()

    def _play(self) -> None:
        with closing(self._frames()) as frames:
            for camera, frame in frames:
                passages = camera.pipeline.process(frame)
                self._keep_all(camera, passages)
                if passages or time.monotonic() >= self._look_again_s:
                    self._look_again_s = time.monotonic() + LOOK_EVERY_S
                    self._look_around()
                if self._stop.wait(0.0) or self._recorder.full is not None:
                    break

    def _look_around(self) -> None:
        """Look at all that changes by itself: clock, keys, lost cameras, old reads, the configuration."""
        self._follow_keys()
        self._look_for_lost()
        self._recorder.expire()
        self._follow_changes()

    def _follow_keys(self) -> None:
        """Follow the clock and the keys."""
        self._follow_clock()
        if self._keys is not None:
            self._keys.poll()

    def _frames(self) -> Generator[tuple[Camera, Frame]]:
        if len(self._cameras) == 1:  # nobody to take turns with, and no thread to do it
            yield from ((self._cameras[0], frame) for frame in self._cameras[0].source.frames())
            self._cameras[0].tell_sparse()  # not of one that was stopped, or failed
        else:
            yield from self._frames_in_turn()

    def _frames_in_turn(self) -> Generator[tuple[Camera, Frame]]:
        failures: list[SourceError] = []
        sources = RoundRobin([one.source for one in self._cameras], [one.live for one in self._cameras])
        with closing(sources.frames()) as events:
            for event in events:
                if event is None:
                    self.on_idle()
                elif isinstance(event.what, Frame):
                    yield self._cameras[event.place], event.what
                else:
                    failures += self._end_one(self._cameras[event.place], event.what)
                if self._stop.wait(0.0):
                    return
        if failures:
            raise failures[0]

    def _end_one(self, camera: Camera, end: SourceEnd) -> list[SourceError]:
        self._keep_all(camera, camera.pipeline.flush())
        if end.failure is None:
            camera.tell_sparse()
            _log.info("%s has ended", camera.config.camera_id)
            return []
        _log.error("%s has ended, others go on: %s", camera.config.camera_id, end.failure)
        return [end.failure]

    def _follow_changes(self) -> None:
        if self._changes is not None:
            self._cameras = self._changes.step(self._cameras, keep=self._keep_all, on_idle=self.on_idle)

    def _look_for_lost(self) -> None:
        """Finish the passages of a camera that is lost: whoever was in view is gone when it is back."""
        for camera in self._cameras:
            name = camera.config.camera_id
            if not camera.is_lost:
                self._lost.discard(name)
            elif name not in self._lost:
                self._lost.add(name)
                self._keep_all(camera, camera.pipeline.flush())

    def _end(self) -> None:
        for camera in self._cameras:
            self._keep_all(camera, camera.pipeline.flush())
        self._recorder.finish()

    def _keep_all(self, camera: Camera, passages: list[Passage]) -> None:
        if passages:
            self._follow_keys()
        for passage in passages:
            self._recorder.keep(camera.describe(passage))


def spool_bounds(config: SpoolConfig) -> Bounds:
    """Return what the spool may hold."""
    return Bounds(
        max_bytes=config.max_bytes,
        max_count=config.max_count,
        max_age=None if config.max_age_hours is None else timedelta(hours=config.max_age_hours),
        on_full=config.on_full,
    )


def run_capture(config: UnitConfig) -> None:
    """Capture until the source ends or a signal says stop, with the newest configuration that works.

    Args:
        config: The unit's own file.

    Raises:
        PlatesealError: Anything that keeps the daemon from running, in one line.
    """
    stop = prepare_daemon()
    run_self_test(CAPTURE_CHECKS)
    make_state_dir(config.state_dir)
    files = LocalFiles()
    FileSpool(config.spool.directory, max_bytes=config.spool.max_bytes, files=files)  # which makes its directories
    with SpoolLock(config.spool.directory, SpoolPart.CAPTURE):  # before anything of the unit's is changed
        reload: Reload[CaptureChange] = Reload(config, "capture", files=files, clock=SystemClock())
        changes = CaptureReload(reload, clock=SystemClock(), stop=stop)
        try:
            _capture(reload, changes, files, stop)
        except PlatesealError as error:
            if not reload.on_trial:
                raise
            reload.reject(str(error))
            changes.wants_restart = True
    if changes.wants_restart:
        restart_process()


def _capture(reload: Reload[CaptureChange], changes: CaptureReload, files: LocalFiles, stop: Lifecycle) -> None:
    """Build every adapter, and capture.

    Raises:
        PlatesealError: As `run_capture`.
    """
    config = reload.config
    bounds = spool_bounds(config.spool)
    clock = ClockTrust(SystemClock(), state_dir=config.state_dir, files=files, max_age=bounds.max_age)
    signing_key = SigningKeyFile(config.seal.signing_key, clock, known=KnownKeys(config.state_dir))
    book = KeyringFile(
        config.seal.keyring,
        load_ed25519_public(config.seal.owner_key),
        note=SerialNote(config.state_dir, files),
        clock=clock,
        stop_at_end=config.seal.on_keyring_end == "stop",
    )
    spool = FileSpool(config.spool.directory, max_bytes=bounds.max_bytes, max_count=bounds.max_count, files=files)
    spool.recover_puts()
    require_room(spool, bounds)
    cameras = open_cameras(config.cameras, clock=clock, stop=stop, on_idle=lambda: loop.on_idle())  # noqa: PLW0108  see below
    link = LastLink(config.state_dir, files)
    chain = link.begin(spool.newest)
    sealer = Sealer(signing_key=signing_key.key, book=book, cipher=choose_cipher(config.seal.cipher), seen=clock.seen)
    recorder = Recorder(
        sealer=sealer,
        spool=spool,
        chain=chain,
        clock=clock,
        bounds=bounds,
        may_expire=clock.judge_age,
    )
    renewal = RenewalRequests(config.upload.certificate, config.state_dir, clock)
    keys = KeyWatcher(keyring=book, signing_key=signing_key, sealer=sealer, chain=chain, renewal=renewal)
    loop = CaptureLoop(
        cameras, recorder=recorder, stop=stop, keys=keys, changes=changes, follow_clock=clock.follow
    )  # which `on_idle` above calls
    for camera in cameras:
        _log.info("capturing from %s as %s", source_name(camera.config.source.uri), camera.config.camera_id)
    try:
        with MetricsFiles(config.metrics_dir, "capture", lambda: (*loop.samples(), *reload.samples())):
            recorder.recover()
            changes.watch()
            stop.ready(loop.status)
            loop.run()
    except (SourceError, KeyringEndedError, SpoolFullError):
        link.leave(chain)
        raise
    except SpoolError:
        raise  # what the last put left behind is not known: the next start looks, as after a crash
    finally:
        for camera in cameras:
            camera.source.close()
    link.leave(chain)
    _log.info("capture ended: %d reads sealed, %d dropped", recorder.stats.sealed, recorder.stats.dropped)

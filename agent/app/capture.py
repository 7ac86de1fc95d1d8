"""The capture daemon: frames in, sealed reads in the spool. It sees pixels and has no network."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Final

from agent.app.bounds import Bounds, require_room
from agent.app.clock import SystemClock
from agent.app.clock_trust import ClockTrust
from agent.app.describe import describe
from agent.app.keys import UnitKeys
from agent.app.metrics import CAPTURE_FILE, MetricsFile, Samples
from agent.app.process import prepare_daemon
from agent.app.recorder import Recorder
from agent.app.state import make_state_dir
from agent.capture import LiveHooks, LiveStats, open_source, source_name
from agent.config.models import SpoolConfig, UnitConfig
from agent.errors import KeyringEndedError, PlatesealError, SourceError, SpoolError, SpoolFullError
from agent.ports import FrameSource
from agent.records import Passage
from agent.seal.chain import Chain
from agent.seal.cipher import choose_cipher
from agent.seal.keyfiles import load_ed25519_public, read_private_file
from agent.seal.keyring import KeyringFile
from agent.seal.keyring_serial import SerialNote
from agent.seal.known_keys import KnownKeys
from agent.seal.last_link import LastLink
from agent.seal.sealer import Sealer
from agent.seal.selftest import CAPTURE_CHECKS, run_self_test
from agent.seal.signing_key import SigningKeyFile
from agent.spool.files import LocalFiles
from agent.spool.lock import SpoolLock, SpoolPart
from agent.spool.spool import FileSpool
from agent.vision import PlatePipeline, build_vision

_log = logging.getLogger(__name__)


class CaptureLoop:
    """Everything after the adapters are built."""

    def __init__(
        self,
        config: UnitConfig,
        *,
        source: FrameSource,
        pipeline: PlatePipeline,
        recorder: Recorder,
        stop: threading.Event,
        keys: UnitKeys | None = None,
        live: LiveStats | None = None,
    ) -> None:
        """Wire the parts together; nothing is read yet. Without `keys`, no key changes while it runs.

        `live` is where a live source counts.
        """
        self._config = config
        self._source = source
        self._pipeline = pipeline
        self._recorder = recorder
        self._keys = keys
        self._live = live or LiveStats()
        self._stop = stop

    def run(self) -> None:
        """Play the source to its end, or until told to stop; passages in view are finished, not forgotten.

        Raises:
            SourceError, InferenceError: The source or a model failed; what was read before is sealed.
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

    def rest(self) -> None:
        """Do what must not wait for the next frame: called about once a second while a camera delivers none."""
        if self._keys is not None:
            self._keys.look()
        if self._live.is_up is False:
            self._keep_all(self._pipeline.flush())  # whoever was in view is gone when the camera is back
        self._recorder.expire()
        if self._recorder.full is not None:
            self._stop.set()

    def samples(self) -> Samples:
        """Return the daemon's metrics now."""
        vision, recorded = self._pipeline.stats, self._recorder.stats
        return {
            "frames": vision.frames,
            "frames_expected": self._source.frame_count or 0,
            "detections": vision.detections,
            "looks": vision.looks,
            "passages": vision.passages,
            "rejected_passages": sum(vision.rejected.values()),
            "sealed": recorded.sealed,
            "dropped": recorded.dropped,
            "evicted": recorded.evicted,
            "expired": recorded.expired,
            "crops_left_out": recorded.crops_left_out,
            "camera_frames": self._live.frames_received,
            "camera_frames_dropped": self._live.frames_dropped_stale,
            "camera_reconnects": self._live.reconnects,
            "camera_frozen": self._live.frozen,
            "camera_lag_seconds": self._live.lag_s,
            "camera_up": float(self._live.is_up is True),
            **(self._keys.samples() if self._keys is not None else {}),
        }

    def _play(self) -> None:
        for frame in self._source.frames():
            if self._keys is not None:
                self._keys.look()
            self._keep_all(self._pipeline.process(frame))
            self._recorder.expire()
            if self._stop.is_set() or self._recorder.full is not None:
                break

    def _end(self) -> None:
        self._keep_all(self._pipeline.flush())
        self._recorder.finish()

    def _keep_all(self, passages: list[Passage]) -> None:
        for passage in passages:
            read = describe(
                passage,
                self._config,
                clock_state=self._source.clock_state,
                detector_digest=self._pipeline.detector_digest,
                reader_digest=self._pipeline.reader_digest,
            )
            self._recorder.keep(read)


CAPTURE_COUNTERS: Final = frozenset(
    {
        "frames",
        "detections",
        "looks",
        "passages",
        "rejected_passages",
        "sealed",
        "dropped",
        "evicted",
        "expired",
        "crops_left_out",
        "camera_frames",
        "camera_frames_dropped",
        "camera_reconnects",
        "camera_frozen",
    }
)


def spool_bounds(config: SpoolConfig) -> Bounds:
    """Return what the spool may hold."""
    return Bounds(
        max_bytes=config.max_bytes,
        max_count=config.max_count,
        max_age=None if config.max_age_hours is None else timedelta(hours=config.max_age_hours),
        on_full=config.on_full,
    )


def run_capture(config: UnitConfig) -> None:
    """Build every adapter, then capture until the source ends or a signal says stop.

    Raises:
        PlatesealError: Anything that keeps the daemon from running, in one line.
    """
    stop = prepare_daemon()
    run_self_test(CAPTURE_CHECKS)
    make_state_dir(config.state_dir)
    files, bounds = LocalFiles(), spool_bounds(config.spool)
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
    lock = SpoolLock(config.spool.directory, SpoolPart.CAPTURE)
    spool.recover_puts()
    require_room(spool, bounds)
    pipeline = build_vision(config.vision)
    login = config.source.credential
    hooks = LiveHooks(stop=stop, on_idle=lambda: loop.rest())  # noqa: PLW0108  the loop is built from the source
    source = open_source(
        config.source,
        camera_id=config.camera_id,
        clock=clock,
        credential=None if login is None else read_private_file(login),
        hooks=hooks,
    )
    link = LastLink(config.state_dir, files)
    chain = Chain(last=link.take())
    sealer = Sealer(signing_key=signing_key.key, book=book, cipher=choose_cipher(config.seal.cipher))
    recorder = Recorder(
        sealer=sealer,
        spool=spool,
        chain=chain,
        clock=clock,
        bounds=bounds,
        may_expire=clock.may_expire,
    )
    keys = UnitKeys(keyring=book, signing_key=signing_key, sealer=sealer, chain=chain)
    loop = CaptureLoop(
        config, source=source, pipeline=pipeline, recorder=recorder, stop=stop, keys=keys, live=hooks.stats
    )
    _log.info("capturing from %s as %s", source_name(config.source.uri), config.camera_id)
    try:
        with MetricsFile(config.state_dir / CAPTURE_FILE, loop.samples, counters=CAPTURE_COUNTERS):
            recorder.recover()
            loop.run()
    except (SourceError, KeyringEndedError, SpoolFullError):
        link.leave(chain)
        raise
    except SpoolError:
        raise  # what the last put left behind is not known, and no note is better than a wrong one
    finally:
        source.close()
    link.leave(chain)
    lock.close()
    _log.info("capture ended: %d reads sealed, %d dropped", recorder.stats.sealed, recorder.stats.dropped)

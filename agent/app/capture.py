"""The capture daemon: frames in, sealed reads in the spool. It sees pixels and has no network."""

from __future__ import annotations

import logging
import threading
from datetime import timedelta
from typing import Final

from agent.app.clock import SystemClock
from agent.app.describe import describe
from agent.app.keys import UnitKeys
from agent.app.metrics import CAPTURE_FILE, MetricsFile, Samples
from agent.app.process import prepare_daemon
from agent.app.recorder import Recorder
from agent.app.state import make_state_dir
from agent.capture import open_source
from agent.config.models import UnitConfig
from agent.errors import KeyringEndedError, PlatesealError, SourceError, SpoolError
from agent.ports import FrameSource
from agent.records import Passage
from agent.seal.chain import Chain
from agent.seal.cipher import choose_cipher
from agent.seal.keyfiles import load_ed25519_public
from agent.seal.keyring import KeyringFile
from agent.seal.keyring_serial import SerialNote
from agent.seal.last_link import LastLink
from agent.seal.sealer import Sealer
from agent.seal.selftest import CAPTURE_CHECKS, run_self_test
from agent.seal.signing_key import SigningKeyFile
from agent.spool.files import LocalFiles
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
    ) -> None:
        """Wire the parts together; nothing is read yet. Without `keys`, no key changes while it runs."""
        self._config = config
        self._source = source
        self._pipeline = pipeline
        self._recorder = recorder
        self._keys = keys
        self._stop = stop

    def run(self) -> None:
        """Play the source to its end, or until told to stop; passages in view are finished, not forgotten.

        Raises:
            SourceError, InferenceError: The source or a model failed; what was read before is sealed.
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
            "expired": recorded.expired,
            **(self._keys.samples() if self._keys is not None else {}),
        }

    def _play(self) -> None:
        for frame in self._source.frames():
            if self._keys is not None:
                self._keys.look()
            self._keep_all(self._pipeline.process(frame))
            self._recorder.expire()
            if self._stop.is_set():
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
    {"frames", "detections", "looks", "passages", "rejected_passages", "sealed", "dropped", "expired"}
)


def run_capture(config: UnitConfig) -> None:
    """Build every adapter, then capture until the source ends or a signal says stop.

    Raises:
        PlatesealError: Anything that keeps the daemon from running, in one line.
    """
    stop = prepare_daemon()
    run_self_test(CAPTURE_CHECKS)
    make_state_dir(config.state_dir)
    files, clock = LocalFiles(), SystemClock()
    signing_key = SigningKeyFile(config.seal.signing_key, clock)
    book = KeyringFile(
        config.seal.keyring,
        load_ed25519_public(config.seal.owner_key),
        note=SerialNote(config.state_dir, files),
        clock=clock,
        stop_at_end=config.seal.on_keyring_end == "stop",
    )
    spool = FileSpool(config.spool.directory, max_bytes=config.spool.max_bytes, files=files)
    spool.recover_puts()
    pipeline = build_vision(config.vision)
    source = open_source(config.source, camera_id=config.camera_id, clock=clock)
    link = LastLink(config.state_dir, files)
    chain = Chain(last=link.take())
    sealer = Sealer(signing_key=signing_key.key, book=book, cipher=choose_cipher(config.seal.cipher))
    recorder = Recorder(
        sealer=sealer,
        spool=spool,
        chain=chain,
        clock=clock,
        max_age=None if config.spool.max_age_hours is None else timedelta(hours=config.spool.max_age_hours),
    )
    keys = UnitKeys(keyring=book, signing_key=signing_key, sealer=sealer, chain=chain)
    loop = CaptureLoop(config, source=source, pipeline=pipeline, recorder=recorder, stop=stop, keys=keys)
    _log.info("capturing from %s as %s", config.source.uri, config.camera_id)
    try:
        with MetricsFile(config.state_dir / CAPTURE_FILE, loop.samples, counters=CAPTURE_COUNTERS):
            loop.run()
    except SpoolError:
        raise  # what the last put left behind is not known, and no note is better than a wrong one
    except (SourceError, KeyringEndedError):
        link.leave(chain)
        raise
    finally:
        source.close()
    link.leave(chain)
    _log.info("capture ended: %d reads sealed, %d dropped", recorder.stats.sealed, recorder.stats.dropped)

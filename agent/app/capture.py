"""The capture daemon: frames in, sealed reads in the spool. It sees pixels and has no network."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from agent.app.clock import SystemClock
from agent.app.describe import describe
from agent.app.metrics import CAPTURE_FILE, MetricsFile, Samples
from agent.app.process import prepare_daemon
from agent.app.state import make_state_dir
from agent.capture import open_source
from agent.config.models import UnitConfig
from agent.errors import SourceError, SpoolError, SpoolFullError
from agent.ports import FrameSource, Spool
from agent.records import Passage
from agent.seal.chain import Chain
from agent.seal.keyfiles import load_ed25519_private, load_ed25519_public
from agent.seal.keyring import KeyringBook
from agent.seal.last_link import LastLink
from agent.seal.sealer import Sealer
from agent.spool.files import LocalFiles
from agent.spool.spool import FileSpool
from agent.vision import PlatePipeline, build_vision

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class CaptureStats:
    """Counts since the start.

    Attributes:
        sealed: Reads accepted by the spool.
        dropped: Reads that the full spool refused.
    """

    sealed: int = 0
    dropped: int = 0


class CaptureLoop:
    """Everything after the adapters are built."""

    def __init__(
        self,
        config: UnitConfig,
        *,
        source: FrameSource,
        pipeline: PlatePipeline,
        sealer: Sealer,
        spool: Spool,
        chain: Chain,
        stop: threading.Event,
    ) -> None:
        """Wire the parts together; nothing is read yet."""
        self.stats = CaptureStats()
        self._config = config
        self._source = source
        self._pipeline = pipeline
        self._sealer = sealer
        self._spool = spool
        self._chain = chain
        self._stop = stop
        self._full = False

    def run(self) -> None:
        """Play the source to its end, or until told to stop; passages in view are finished, not forgotten.

        Raises:
            SourceError: The source failed; what was read before is sealed.
            SpoolError: The disk refused.
        """
        try:
            for frame in self._source.frames():
                self._keep_all(self._pipeline.process(frame))
                if self._stop.is_set():
                    break
        finally:
            self._keep_all(self._pipeline.flush())

    def samples(self) -> Samples:
        """Return the daemon's metrics now."""
        vision = self._pipeline.stats
        return {
            "frames": vision.frames,
            "frames_expected": self._source.frame_count or 0,
            "detections": vision.detections,
            "looks": vision.looks,
            "passages": vision.passages,
            "rejected_passages": sum(vision.rejected.values()),
            "sealed": self.stats.sealed,
            "dropped": self.stats.dropped,
        }

    def _keep_all(self, passages: list[Passage]) -> None:
        for passage in passages:
            self._keep(passage)

    def _keep(self, passage: Passage) -> None:
        read = describe(
            passage,
            self._config,
            clock_state=self._source.clock_state,
            detector_digest=self._pipeline.detector_digest,
            reader_digest=self._pipeline.reader_digest,
        )
        envelope = self._sealer.seal(read, self._chain.next)
        try:
            self._spool.put(envelope)
        except SpoolFullError as error:
            self.stats.dropped += 1
            if not self._full:
                _log.error("reads are dropped until there is room: %s", error)
            self._full = True
            return
        if self._full:
            _log.info("the spool has room again; %d reads were dropped so far", self.stats.dropped)
        self._full = False
        self._chain.advance(envelope)
        self.stats.sealed += 1


CAPTURE_COUNTERS = frozenset({"frames", "detections", "looks", "passages", "rejected_passages", "sealed", "dropped"})


def run_capture(config: UnitConfig) -> None:
    """Build every adapter, then capture until the source ends or a signal says stop.

    Raises:
        PlatesealError: Anything that keeps the daemon from running, in one line.
    """
    stop = prepare_daemon()
    make_state_dir(config.state_dir)
    signing_key = load_ed25519_private(config.seal.signing_key)
    book = KeyringBook.load(config.seal.keyring, load_ed25519_public(config.seal.owner_key))
    files = LocalFiles()
    spool = FileSpool(config.spool.directory, max_bytes=config.spool.max_bytes, files=files)
    spool.recover_puts()
    pipeline = build_vision(config.vision)
    source = open_source(config.source, camera_id=config.camera_id, clock=SystemClock())
    link = LastLink(config.state_dir, files)
    chain = Chain(last=link.take())
    loop = CaptureLoop(
        config,
        source=source,
        pipeline=pipeline,
        sealer=Sealer(signing_key=signing_key, book=book, cipher=config.seal.cipher),
        spool=spool,
        chain=chain,
        stop=stop,
    )
    _log.info("capturing from %s as %s", config.source.uri, config.camera_id)
    try:
        with MetricsFile(config.state_dir / CAPTURE_FILE, loop.samples, counters=CAPTURE_COUNTERS):
            loop.run()
    except SpoolError:
        raise  # what the last put left behind is not known, and no note is better than a wrong one
    except SourceError:
        link.leave(chain)
        raise
    finally:
        source.close()
    link.leave(chain)
    _log.info("capture ended: %d reads sealed, %d dropped", loop.stats.sealed, loop.stats.dropped)

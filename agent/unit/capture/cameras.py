"""The cameras of a unit: each with its source, its pipeline and its counts.

Owns: building them, models loaded once, and what their metrics are called. Leaves to others: whose frame is looked at
(`agent.unit.capture.daemon`), and everything about one source or one pipeline.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from agent.capture import LiveHooks, LiveStats, open_source, source_name
from agent.capture.replaceable import ReplaceableSource
from agent.config.models import CameraConfig
from agent.keys.keyfiles import read_private_file
from agent.ports import Clock, FrameSource
from agent.records import ClockState, Passage, Plaintext
from agent.unit.capture.describe import describe
from agent.unit.status.samples import Sample
from agent.vision import Models, PlatePipeline
from agent.vision.sparse import sparse_words

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Camera:
    """One camera at work.

    Attributes:
        config: Its settings, those of the unit included.
        source: Where its frames come from.
        pipeline: Turns them into passages.
        live: Where a live source counts.
    """

    config: CameraConfig
    source: FrameSource
    pipeline: PlatePipeline
    live: LiveStats = field(default_factory=LiveStats)

    @property
    def is_lost(self) -> bool:
        """Whether it is a camera that is known not to deliver."""
        return self.live.is_up is False

    def describe(self, passage: Passage) -> Plaintext:
        """Write down one of its passages as the owner will read it.

        Raises:
            InferenceError: The crop cannot be encoded, or the text is longer than any plate's.
        """
        return describe(
            passage,
            self.config,
            clock_state=self.source.clock_state,
            detector_digest=self.pipeline.detector_digest,
            reader_digest=self.pipeline.reader_digest,
        )

    def tell_sparse(self) -> None:
        """Log why hardly anything can be read from its recording, if that is so; a live camera's frames never end."""
        words = sparse_words(
            self.pipeline.stats.frames, length_s=self.pipeline.length_s, min_votes=self.config.vision.min_votes
        )
        if words and self.source.clock_state is ClockState.RECORDED:
            _log.warning("%s: %s %s", self.config.camera_id, source_name(self.config.source.uri), words)

    def samples(self) -> Iterator[Sample]:
        """Yield its metrics now, each labelled with its name."""
        vision, live, name = self.pipeline.stats, self.live, self.config.camera_id
        values = {
            "frames": vision.frames,
            "frames_expected": self.source.frame_count or 0,
            "frames_lost": self.source.frames_lost,
            "frames_moving": vision.moving,
            "frames_searched": vision.searched,
            "detections": vision.detections,
            "looks": vision.looks,
            "passages": vision.passages,
            "camera_frames": live.frames_received,
            "camera_frames_dropped": live.frames_dropped_stale + live.frames_dropped_waiting,
            "camera_reconnects": live.reconnects,
            "camera_frozen": live.frozen,
            "camera_lag_seconds": live.lag_s,
            "camera_login_refused": live.refuses_login,
            "camera_up": live.is_up is True,
        }
        if live.clock is not None:
            values |= {
                "camera_clock_offset_seconds": live.clock.offset_s,
                "camera_clock_watched_seconds": live.clock.watched_s,
                "camera_clock_dates": live.clock.dates,
            }
            if live.clock.drift is not None:
                values["camera_clock_drift_ratio"] = live.clock.drift
        yield from (Sample(metric, float(value), (name,)) for metric, value in values.items())
        for metric, counts in (("rejected_passages", vision.rejected), ("unvoted_looks", vision.unvoted)):
            yield from (Sample(metric, count, (name, reason)) for reason, count in counts.items())


def open_cameras(
    configs: Sequence[CameraConfig], *, clock: Clock, stop: threading.Event, on_idle: Callable[[], None]
) -> tuple[Camera, ...]:
    """Load the models and open the source of each camera; live ones are connected when their frames are asked for.

    Args:
        configs: The cameras' settings, complete.
        clock: Dates live frames.
        stop: Ends live sources when set.
        on_idle: What the source of an only camera calls about once a second while no frame comes. Several are waited
            for together, and not by their sources.

    Raises:
        ModelError: A model cannot be used.
        SourceError: A source cannot be opened.
        KeyFileError: A camera's credential is missing or open to others.
    """
    hooks = [LiveHooks(stop=stop, on_idle=on_idle) if len(configs) == 1 else LiveHooks(stop=stop) for _ in configs]
    models = Models()
    pipelines = [models.pipeline(config.vision) for config in configs]
    return tuple(
        Camera(config, ReplaceableSource(open_camera(config, clock=clock, hooks=hook)), pipeline, hook.stats)
        for config, pipeline, hook in zip(configs, pipelines, hooks, strict=True)
    )


def open_camera(config: CameraConfig, *, clock: Clock, hooks: LiveHooks) -> FrameSource:
    """Open the source of one camera; a live one is connected when its frames are asked for.

    Raises:
        SourceError: It cannot be opened.
        KeyFileError: Its credential is missing or open to others.
    """
    login = config.source.credential
    return open_source(
        config.source,
        camera_id=config.camera_id,
        clock=clock,
        credential=None if login is None else read_private_file(login, what="a camera's login"),
        hooks=hooks,
    )

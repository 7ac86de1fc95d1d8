"""A new configuration of the capture daemon, taken up between two frames.

| what changed | how |
|---|---|
| nothing of capture's | good at once |
| site, position, crop, JPEG quality | with the next passage |
| models, thresholds, masks | a new pipeline is built beside the one at work and takes its place |
| a network camera, a recording | the new source is connected beside the old one; its first frame switches |
| a device or pipeline of this machine, the set of cameras, `[seal]`, `[spool]` | an orderly restart of the process |

A pipeline gives way when no plate in view is still being read, or after `WAIT_FOR_GAP_S`; then what is in view is
settled with the looks it has. So no read is lost, and a parked car is not reported twice. Drivers open a device once
only, and what seals and spools is wired together at the start: those restart, which takes a few seconds without a
frame.

Owns: the choice, the switch and what "works" means: every camera delivered `HEALTHY_FRAMES` frames that went through.
A camera that was lost before, and whose source is the same, is not waited for. Leaves to others: which bundle, and the
note of it (`agent.unit.reload.trial`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from agent.capture import LiveHooks, LiveStats
from agent.capture.cameras import V4L2_PREFIXES
from agent.capture.replaceable import ReplaceableSource
from agent.config.models import GSTREAMER_PREFIX, CameraConfig, UnitConfig
from agent.errors import SourceError, SourceLostError
from agent.keys.keyfiles import load_ed25519_private, load_ed25519_public, read_private_file
from agent.keys.keyring import read_keyring
from agent.ports import Clock, FrameSource
from agent.records import Frame, Passage
from agent.unit.capture.cameras import Camera, open_camera
from agent.unit.reload.trial import Reload
from agent.vision import Models, PlatePipeline

HEALTHY_FRAMES: Final = 5
"""So many frames from source to tracker: the connection holds, and the models answer."""
WAIT_FOR_GAP_S: Final = 10.0
"""A busy road may have no moment without a plate. A plate in view for so long is reported anyway."""
_OF_PASSAGES: Final = {"crop", "jpeg_quality"}

_log = logging.getLogger(__name__)


class Idle:
    """What a new source calls while no frame comes: a deadline at first, the daemon once it is in use."""

    def __init__(self, clock: Clock, within_s: float) -> None:
        """Begin with the deadline."""
        self._clock = clock
        self._deadline_s = clock.monotonic_s() + within_s
        self.on_idle: Callable[[], None] | None = None

    def __call__(self) -> None:
        """Call the daemon if the source is in use, else raise when the time is up.

        Raises:
            SourceLostError: No frame came in time.
        """
        if self.on_idle is not None:
            self.on_idle()
        elif self._clock.monotonic_s() >= self._deadline_s:
            raise SourceLostError("no frame came in time")


@dataclass(frozen=True, slots=True)
class NewSource:
    """A source that has delivered a frame already.

    Attributes:
        source: The source of frames itself.
        frames: Its frames, from the first one on.
        live: The counters of the camera, where the source is one.
        idle: Calls back about once a second while no frame comes.
    """

    source: FrameSource
    frames: Iterator[Frame]
    live: LiveStats
    idle: Idle


@dataclass(frozen=True, slots=True)
class CameraChange:
    """What is new for one camera.

    Attributes:
        config: Its settings.
        pipeline: A new one; None keeps the one at work.
        source: A new one; None keeps the one at work.
    """

    config: CameraConfig
    pipeline: PlatePipeline | None
    source: NewSource | None


@dataclass(frozen=True, slots=True)
class CaptureChange:
    """What a new configuration means for capture.

    Attributes:
        cameras: Per camera; None if the process must begin anew.
        is_empty: Whether nothing of capture's changes.
    """

    cameras: tuple[CameraChange, ...] | None
    is_empty: bool = False


class CaptureReload:
    """Follows the configuration on behalf of the capture loop.

    Attributes:
        wants_restart: Whether the process is to begin anew once it has ended in order.
    """

    def __init__(self, reload: Reload[CaptureChange], *, clock: Clock, stop: threading.Event) -> None:
        """Follow `reload`; setting `stop` ends the loop in order."""
        self.wants_restart = False
        self._reload = reload
        self._clock = clock
        self._stop = stop
        self._waits_since_s: float | None = None
        self._before: dict[int, int] = {}
        self._excused: frozenset[int] = frozenset()

    def watch(self) -> None:
        """Start looking for bundles."""
        self._reload.watch(self.prepare, self._stop)

    def prepare(self, before: UnitConfig, unit: UnitConfig) -> CaptureChange:
        """Build what is new beside what is at work; on the thread that looks for bundles.

        Raises:
            PlatesealError: It cannot be built, or a new source delivers nothing.
        """
        if _needs_restart(before, unit):
            _check_start(unit)
            return CaptureChange(None)
        changes: list[CameraChange] = []
        models = Models()
        with ExitStack() as unfinished:
            unfinished.callback(_close, changes)
            for old, new in zip(before.cameras, unit.cameras, strict=True):
                pipeline = None if _reads_alike(old, new) else models.pipeline(new.vision)
                source = None if new.source == old.source else self._connect(new, unit)
                changes.append(CameraChange(new, pipeline, source))
            unfinished.pop_all()
        return CaptureChange(tuple(changes), is_empty=before.cameras == unit.cameras)

    def step(
        self, cameras: tuple[Camera, ...], *, keep: Callable[[Camera, list[Passage]], None], on_idle: Callable[[], None]
    ) -> tuple[Camera, ...]:
        """Take up what is prepared, or judge what is on trial; call between two frames, and while none comes.

        Args:
            cameras: The cameras that are at work now.
            keep: Keeps the passages that a pipeline reports when it gives way.
            on_idle: What an only camera calls while no frame comes.

        Returns:
            The cameras at work from now on.
        """
        if self._reload.on_trial:
            self._judge(cameras)
            return cameras
        change = self._reload.ready()
        if change is None or self._stop.is_set() or self._wait_for_gap(change, cameras):
            return cameras
        self._waits_since_s = None
        if not self._reload.begin(works=change.is_empty):
            _close(change.cameras or ())
            return cameras
        if change.cameras is None:
            self._restart()
            return cameras
        switched = tuple(
            _switched(camera, new, keep, on_idle if len(cameras) == 1 else lambda: None)
            for camera, new in zip(cameras, change.cameras, strict=True)
        )
        self._begin_trial(cameras, switched, change.cameras)
        return switched

    def _connect(self, camera: CameraConfig, unit: UnitConfig) -> NewSource:
        idle = Idle(self._clock, unit.bundle.healthy_within_s)
        hooks = LiveHooks(stop=self._stop, on_idle=idle)
        source = open_camera(camera, clock=self._clock, hooks=hooks)
        frames = source.frames()
        try:
            first = next(frames, None)
        except SourceError as error:
            source.close()
            raise SourceError(f"{camera.camera_id}: the new source does not work: {error}") from None
        if first is None:
            source.close()
            raise SourceError(f"{camera.camera_id}: the new source delivers no frame")
        return NewSource(source, chain([first], frames), hooks.stats, idle)

    def _wait_for_gap(self, change: CaptureChange, cameras: tuple[Camera, ...]) -> bool:
        """Begin or go on to wait while a plate in view is still being read; return False when the wait is over."""
        if change.is_empty or all(camera.pipeline.is_between_passages for camera in cameras):
            return False
        now_s = self._clock.monotonic_s()
        if self._waits_since_s is None:
            self._waits_since_s = now_s
        return now_s - self._waits_since_s < WAIT_FOR_GAP_S

    def _begin_trial(
        self, before: tuple[Camera, ...], after: tuple[Camera, ...], changes: tuple[CameraChange, ...]
    ) -> None:
        self._before = {place: camera.pipeline.stats.frames for place, camera in enumerate(after)}
        self._excused = frozenset(
            place for place, camera in enumerate(before) if camera.is_lost and changes[place].source is None
        )

    def _judge(self, cameras: tuple[Camera, ...]) -> None:
        waiting = [
            camera.config.camera_id
            for place, camera in enumerate(cameras)
            if place not in self._excused and camera.pipeline.stats.frames - self._before.get(place, 0) < HEALTHY_FRAMES
        ]
        if not waiting:
            self._reload.works()
        elif self._reload.is_overdue:
            self._reload.reject(f"no frame of {', '.join(waiting)} was processed within the time for that")
            self._restart()

    def _restart(self) -> None:
        _log.info("beginning anew for another configuration")
        self.wants_restart = True
        self._stop.set()


def _switched(
    camera: Camera, new: CameraChange, keep: Callable[[Camera, list[Passage]], None], on_idle: Callable[[], None]
) -> Camera:
    """Put what is new in its place; nothing here can fail but keeping a read."""
    pipeline = camera.pipeline
    if new.pipeline is not None or new.source is not None:
        keep(camera, pipeline.flush())
        pipeline = (new.pipeline or pipeline).fresh()
        pipeline.follow(camera.pipeline, same_scene=new.source is None)
    if new.source is None:
        return replace(camera, config=new.config, pipeline=pipeline)
    new.source.idle.on_idle = on_idle
    assert isinstance(camera.source, ReplaceableSource), "the daemon's cameras are built so"
    camera.source.switch(new.source.source, new.source.frames)
    return replace(camera, config=new.config, pipeline=pipeline, live=new.source.live)


def _needs_restart(before: UnitConfig, unit: UnitConfig) -> bool:
    if (before.seal, before.spool) != (unit.seal, unit.spool):
        return True
    if [each.camera_id for each in before.cameras] != [each.camera_id for each in unit.cameras]:
        return True
    return any(
        old.source != new.source and (_is_exclusive(old) or _is_exclusive(new))
        for old, new in zip(before.cameras, unit.cameras, strict=True)
    )


def _reads_alike(old: CameraConfig, new: CameraConfig) -> bool:
    """Whether one pipeline serves both: what is made of a passage is no part of it."""
    return old.vision.model_dump(exclude=_OF_PASSAGES) == new.vision.model_dump(exclude=_OF_PASSAGES)


def _is_exclusive(camera: CameraConfig) -> bool:
    """Whether only one can have it open."""
    return camera.source.uri.startswith((*V4L2_PREFIXES, GSTREAMER_PREFIX))


def _check_start(unit: UnitConfig) -> None:
    """Find out beforehand what would keep the daemon from starting, as far as that touches nothing."""
    load_ed25519_private(unit.seal.signing_key)
    read_keyring(unit.seal.keyring, load_ed25519_public(unit.seal.owner_key))
    models = Models()
    for camera in unit.cameras:
        if camera.source.credential is not None:
            read_private_file(camera.source.credential, what="a camera's login")
        models.pipeline(camera.vision)


def _close(changes: list[CameraChange] | tuple[CameraChange, ...]) -> None:
    for change in changes:
        if change.source is not None:
            change.source.source.close()

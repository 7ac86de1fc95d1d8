"""What `plateseal aim` does: frames of one camera through the pipeline, and what it sees onto the terminal.

Owns: which camera and settings, the keys, and when something is drawn. The parts are those of capture: the same source,
the same pipeline. The gate is off, because whoever aims a camera at a parked vehicle must see its plate. Frames are in
memory and on the terminal, in its second screen, which leaves nothing behind; the numbers and masks are printed.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live

from agent.capture import LiveHooks, source_name
from agent.cli.aim.keyboard import keyboard
from agent.cli.aim.masks import LINES, MaskDrawing
from agent.cli.aim.screen import Scene, plain_line
from agent.cli.private import create_private
from agent.config.load import load_config
from agent.config.models import CameraConfig, SourceConfig, VisionConfig
from agent.errors import SourceError, UsageError
from agent.ports import FrameSource
from agent.records import Frame
from agent.unit.capture.cameras import open_camera
from agent.unit.process.clock import SystemClock
from agent.vision import build_vision
from agent.vision.aim_watch import AimWatch

DRAW_EVERY_S: Final = 0.25
"""Least time between two pictures on the terminal, seconds: what a phone's connection carries and its user follows."""
LINE_EVERY_S: Final = 1.0
"""Time between two lines where there is no terminal, seconds."""
CAMERA_ID: Final = "aim"
SIGNALLED: Final = 128
"""An exit code above it is that of a signal."""
Show = Callable[[Scene], None]


def aim_camera(
    *, config: Path | None, source: str | None, camera: str | None, models: Path | None, save: Path | None
) -> None:
    """Show how a camera is aimed until `q`, Ctrl-C or the recording's end; the arguments are those of the command.

    Raises:
        UsageError: No camera is named, or one that there is not; or the file for the masks is there already.
        PlatesealError: The configuration, the models or the source cannot be used.
    """
    if save is not None and save.exists():
        raise UsageError(f"--save: {save} is there already; name a new file")
    chosen = choose_camera(config, source, camera, models)
    session = Session(chosen)
    is_first = config is None or chosen.camera_id == load_config(config).camera_id
    try:
        with _shown() as show, session.ended_by_signals() as ended_by:
            session.run(show)
    finally:
        session.tell(is_first_camera=is_first, save=save)
    if ended_by:
        raise typer.Exit(SIGNALLED + ended_by[0])


def choose_camera(config: Path | None, source: str | None, camera: str | None, models: Path | None) -> CameraConfig:
    """Return the camera to aim, with its settings for that.

    Raises:
        UsageError: Neither a configuration nor a source is given, or a camera that there is not.
        SourceError: The source is no text that a source can be.
        ConfigError: The configuration is wrong.
    """
    if config is None and source is None:
        raise UsageError("aim: name a unit's file with --config, or a source with --source")
    if config is None and camera is not None:
        raise UsageError("--camera: names a camera of a configuration, which --config names")
    if config is None:
        name, read_from, vision = CAMERA_ID, None, VisionConfig()
    else:
        of_unit = _of_unit(load_config(config).cameras, camera)
        name, read_from, vision = of_unit.camera_id, of_unit.source, of_unit.vision
    if source is not None or read_from is None:
        read_from = _source(source or "")
    # Not checked again: a camera's password may stand in a URI that is typed, as for `plateseal read`.
    return CameraConfig.model_construct(
        camera_id=name,
        source=read_from.model_copy(update={"pace": "real"}),
        vision=aiming_settings(vision, models),
    )


def _of_unit(cameras: tuple[CameraConfig, ...], name: str | None) -> CameraConfig:
    for camera in cameras:
        if name in (None, camera.camera_id):
            return camera
    raise UsageError(f"--camera {name}: there are {', '.join(camera.camera_id for camera in cameras)}")


def _source(uri: str) -> SourceConfig:
    try:
        return SourceConfig(uri=uri)
    except ValidationError as error:
        raise SourceError(f"a source must have 1 to 4096 characters, this one has {len(uri)}") from error


def aiming_settings(vision: VisionConfig, models: Path | None) -> VisionConfig:
    """Return a camera's settings for aiming: the whole picture is looked at, whether or not anything moves."""
    aiming = vision.model_copy(update={"gate": False, "detect_moving_part": False})
    return aiming if models is None else aiming.model_copy(update={"models": models})


class Session:
    """One camera that is being aimed."""

    def __init__(self, camera: CameraConfig) -> None:
        """Load the models and open the source; a camera is connected by `run`.

        Raises:
            ModelError: A model cannot be used.
            SourceError: The source cannot be opened.
            KeyFileError: The camera's credential is missing or open to others.
        """
        self._clock = SystemClock()
        self._stop = threading.Event()
        self._watch = AimWatch()
        self._drawing = MaskDrawing()
        self._trouble = LastWarning()
        self._has_lines = False
        self._shown_s = float("-inf")
        self._frame_s: deque[float] = deque(maxlen=50)
        self._seen = False
        self._name = f"{camera.camera_id}  {source_name(camera.source.uri)}"
        self._pipeline = build_vision(camera.vision, watcher=self._watch)
        self._source: FrameSource = open_camera(
            camera, clock=self._clock, hooks=LiveHooks(stop=self._stop, on_idle=self._on_idle)
        )
        self._show: Show = lambda _: None
        self._keys: Callable[[], str] = str

    def run(self, show: Show) -> None:
        """Look at frames and show what is seen, until told to stop or the recording ends.

        Raises:
            SourceError: The source fails, or the recording was damaged; what was seen is shown.
            InferenceError: A model failed.
        """
        self._show = show
        with keyboard() as self._keys, self._trouble.caught(), closing(self._source):
            self._draw()
            try:
                self._look()
            finally:
                self._watch.passed(self._pipeline.flush())

    @contextmanager
    def ended_by_signals(self) -> Iterator[list[int]]:
        """Let Ctrl-C and SIGTERM end `run` after the picture at which it is; give which came. A second ends at once."""
        came: list[int] = []
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

        def end(number: int, _: object) -> None:
            came.append(number)
            self._stop.set()
            signal.signal(number, before[signal.Signals(number)])

        for number in before:
            signal.signal(number, end)
        try:
            yield came
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def tell(self, *, is_first_camera: bool, save: Path | None) -> None:
        """Print the last numbers and the masks, and offer to save those.

        Raises:
            UsageError: The file cannot be written.
        """
        if self._seen:
            typer.echo(plain_line(self._scene(is_ended=True)))
        masks = self._drawing.as_toml(is_first_camera=is_first_camera)
        if not masks:
            return
        typer.echo(masks)
        if save is not None and typer.confirm(f"write {len(self._drawing.masks)} mask(s) to {save}?", default=False):
            create_private(save, masks.encode(), option="--save")

    def _look(self) -> None:
        frames: Iterator[Frame] = self._source.frames()
        for frame in frames:
            self._seen = True
            self._trouble.text = None
            self._frame_s.append(self._clock.monotonic_s())
            self._watch.passed(self._pipeline.process(frame))
            self._press()
            if self._clock.monotonic_s() - self._shown_s >= DRAW_EVERY_S:
                self._draw()
            if self._stop.is_set():
                return

    def _on_idle(self) -> None:
        self._press()
        self._draw()

    def _press(self) -> None:
        keys = self._keys()
        for key in keys:
            if key == "q":
                self._stop.set()
            elif key == "l":
                self._has_lines = not self._has_lines
            else:
                self._has_lines |= key in LINES
                self._drawing.press(key)
        if keys:
            self._draw()

    def _draw(self) -> None:
        self._show(self._scene())
        self._shown_s = self._clock.monotonic_s()

    def _scene(self, *, is_ended: bool = False) -> Scene:
        view = self._watch.view()
        size = "" if view.frame is None else f"  {view.frame.wh[0]}x{view.frame.wh[1]}"
        took_s = self._frame_s[-1] - self._frame_s[0] if len(self._frame_s) > 1 else 0.0
        trouble = None if is_ended else self._trouble.text
        has_rate = took_s > 0 and not is_ended and trouble is None
        rate = f"  {(len(self._frame_s) - 1) / took_s:.0f} pictures/s" if has_rate else ""
        return Scene(f"{self._name}{size}{rate}", view, trouble, self._drawing, self._has_lines)


class LastWarning(logging.Handler):
    """Keeps the last warning of the source, which says why no picture comes, and lets no log line onto the picture."""

    def __init__(self) -> None:
        """Start without one."""
        super().__init__(logging.WARNING)
        self.text: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's text."""
        self.text = record.getMessage()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take what the program logs meanwhile."""
        log = logging.getLogger("agent")
        log.addHandler(self)
        try:
            yield
        finally:
            log.removeHandler(self)


@contextmanager
def _shown() -> Iterator[Show]:
    """Give a way to show scenes: on the terminal's second screen, or a line a second where there is no terminal."""
    console = Console()
    if console.is_terminal and not console.is_dumb_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            yield lambda scene: live.update(scene, refresh=True)
    else:
        yield _Lines().show


class _Lines:
    """Prints a scene as a line, at most once a second."""

    def __init__(self) -> None:
        self._clock = SystemClock()
        self._shown_s = float("-inf")

    def show(self, scene: Scene) -> None:
        if self._clock.monotonic_s() - self._shown_s >= LINE_EVERY_S:
            self._shown_s = self._clock.monotonic_s()
            sys.stdout.write(plain_line(scene) + "\n")
            sys.stdout.flush()

"""The pictures of `plateseal aim` in docs/CAMERAS.md. `python -m tests.aim_pictures` draws them; it needs Chromium.

Owns: which scenes are shown. They are the rendered clip that comes with plateseal, spoilt in one way each, through the
built-in models and the screen of `aim`. A test compares what each scene advises with the document.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from rich.console import Console

from agent.bench.demo import DEMO_CLIP
from agent.capture import open_source
from agent.cli.aim.screen import Scene
from agent.cli.aim.session import aiming_settings
from agent.config.models import SourceConfig, VisionConfig
from agent.records import Image, Picture
from agent.unit.process.clock import SystemClock
from agent.vision import build_vision
from agent.vision.aim_watch import AimWatch
from tests.fakes.chromium import browser

PICTURES: Final = Path(__file__).parents[1] / "docs" / "aim"
PICTURE_PX: Final = 720
"""Width of each."""


def _well(image: Image) -> Image:
    return image


def _dark(image: Image) -> Image:
    return np.asarray(image * 0.05, np.uint8)


def _blurred(image: Image) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 4), np.uint8)


def _far(image: Image) -> Image:
    """Half as near, so that plates are half as wide."""
    height, width = image.shape[:2]
    matrix = np.array([[0.5, 0, width / 4], [0, 0.5, height / 4]])
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _turned(image: Image) -> Image:
    height, width = image.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), 14, 1.0)
    return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of the document.

    Attributes:
        name: Of its file, without the end.
        columns: Of the terminal.
        rows: Of the terminal.
        spoil: What is done to each picture of the clip.
        frames: How many of them are looked at; the last is shown.
        has_lines: Whether the grid for masks is on.
    """

    name: str
    columns: int
    rows: int
    spoil: Callable[[Image], Image]
    frames: int
    has_lines: bool = False

    def scene(self) -> Scene:
        """Play the clip up to the picture that is shown, and return what `aim` has on its screen then."""
        watch = AimWatch()
        pipeline = build_vision(aiming_settings(VisionConfig(), None), watcher=watch)
        source = open_source(SourceConfig(uri=str(DEMO_CLIP)), camera_id="aim", clock=SystemClock())
        with closing(source):
            frames = list(islice(source.frames(), self.frames))
            for frame in frames:
                shown = replace(frame, picture=Picture.of(self.spoil(frame.image)))
                watch.passed(pipeline.process(shown))
        assert len(frames) == self.frames
        return Scene("bridge  rtsp://192.0.2.7/stream1  960x540", watch.view(), has_lines=self.has_lines)

    def svg(self) -> str:
        """Return the terminal's picture."""
        console = Console(
            record=True,
            width=self.columns,
            height=self.rows,
            force_terminal=True,
            color_system="truecolor",
            file=StringIO(),
        )
        console.print(self.scene())
        return console.export_svg(title="plateseal aim")


SHOTS: Final = (
    Shot("well", 80, 24, _well, 166),
    Shot("large", 120, 40, _well, 166, has_lines=True),
    Shot("dark", 80, 24, _dark, 31),
    Shot("blurred", 80, 24, _blurred, 31),
    Shot("far", 80, 24, _far, 31),
    Shot("turned", 80, 24, _turned, 31),
)


def main() -> None:
    """Draw them all."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, browser(Path(folder) / "profile") as page:
        for shot in SHOTS:
            drawn = Path(folder) / "shot.svg"
            svg = shot.svg()
            drawn.write_text(svg)
            width, height = (float(size) for size in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
            page.show(drawn.as_uri(), width=PICTURE_PX, height=round(PICTURE_PX * height / width))
            page.picture(PICTURES / f"{shot.name}.png")


if __name__ == "__main__":
    main()

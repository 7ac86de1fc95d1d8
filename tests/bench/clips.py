"""The clips that rows play, made once and kept in `build/bench/`.

The photographs, the tool that makes clips of them and the public models lie beside the repository in `../shared`.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from tests.fakes.recordings import record
from tests.needs import SHARED

PHOTOS: Final = SHARED / "data" / "openalpr-eu"
CAR_PARK: Final = SHARED / "data" / "clips" / "car-park.mp4"
MAKE_CLIP: Final = SHARED / "tools" / "make_clip.py"
BUILD: Final = Path(os.environ.get("PLATESEAL_BENCH_DIR", "build/bench"))
FPS: Final = 15.0
NOISE_LEVELS: Final = 2.5
"""Standard deviation of the noise in grey levels: that of `make_clip.py`."""
FULL_HD: Final = (1920, 1080)
ULTRA_HD: Final = (3840, 2160)


def vehicles(seed: int, *, limit: int = 0) -> Path:
    """Return a clip of the photographed vehicles, all 108 or the first `limit` of the seed's order."""
    path = BUILD / f"openalpr-eu-{seed}{f'-{limit}' if limit else ''}.mp4"
    if not path.with_suffix(".truth.json").exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(MAKE_CLIP), str(PHOTOS), str(path), "--seed", str(seed)]
        subprocess.run([*command, "--limit", str(limit)], check=True, capture_output=True)
    return path


def empty_road(seconds: int, wh: tuple[int, int] = (1280, 720)) -> Path:
    """Return a clip of the empty car park under new sensor noise in each frame, of that width and height."""
    path = BUILD / f"empty-{wh[1]}-{seconds}.mp4"
    if not path.exists():
        done, first = cv2.VideoCapture(str(CAR_PARK)).read()
        assert done, f"{CAR_PARK} cannot be read"
        road = cv2.resize(first, wh).astype(np.float32)
        rng = np.random.default_rng(1)
        frames = (road + rng.normal(0, NOISE_LEVELS, (*wh[::-1], 1)).astype(np.float32) for _ in range(seconds * 15))
        _write(path, (np.clip(frame, 0, 255).astype(np.uint8) for frame in frames), wh)
    return path


def camera_road(seconds: int, *, mbit_s: int = 0) -> Path:
    """Return the same empty road as a camera sends it: 1920x1080, H.264, 25 frames a second.

    Args:
        seconds: Its length.
        mbit_s: Its bit rate, million bits a second, kept whatever there is to see, as most cameras are set. Left out,
            it has as few bits as the encoder finds enough: half a million, hardly anything but blocks that stay.
    """
    path = BUILD / f"camera-road-{seconds}-{mbit_s}.mp4"
    rate = {"b": f"{mbit_s}M", "maxrate": f"{mbit_s}M", "bufsize": f"{mbit_s}M"} if mbit_s else {"crf": "28"}
    if not path.exists():
        source = cv2.VideoCapture(str(empty_road(math.ceil(seconds * 25 / FPS), FULL_HD)))
        draft = path.with_name(f"draft-{path.name}")
        pictures = (np.asarray(source.read()[1], np.uint8) for _ in range(seconds * 25))
        record(draft, pictures, options={"preset": "veryfast", "g": "50", **rate}).rename(path)
    return path


def full_hd(seed: int, *, limit: int) -> Path:
    """Return a clip of photographed vehicles, enlarged to 1920x1080."""
    path = BUILD / f"full-hd-{seed}-{limit}.mp4"
    if not path.exists():
        source = cv2.VideoCapture(str(vehicles(seed, limit=limit)))
        pictures = (source.read()[1] for _ in range(int(source.get(cv2.CAP_PROP_FRAME_COUNT))))
        _write(path, (cv2.resize(picture, FULL_HD) for picture in pictures), FULL_HD)
    return path


def ultra_hd(seed: int, *, limit: int) -> Path:
    """Return a clip of photographed vehicles, enlarged to 3840x2160, as a camera sends it: H.264."""
    path = BUILD / f"ultra-hd-{seed}-{limit}.mp4"
    if not path.exists():
        source = cv2.VideoCapture(str(vehicles(seed, limit=limit)))
        count = int(source.get(cv2.CAP_PROP_FRAME_COUNT))
        pictures = (np.asarray(cv2.resize(source.read()[1], ULTRA_HD), np.uint8) for _ in range(count))
        draft = path.with_name(f"draft-{path.name}")
        record(draft, pictures, rate=round(FPS), options={"preset": "ultrafast", "g": "30", "crf": "26"}).rename(path)
    return path


def _write(path: Path, frames: object, wh: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"draft-{path.name}")
    video = cv2.VideoWriter(str(draft), cv2.VideoWriter.fourcc(*"mp4v"), FPS, wh)
    for frame in frames:  # type: ignore[attr-defined]
        video.write(frame)
    video.release()
    draft.rename(path)

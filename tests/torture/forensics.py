"""What an ext4 file system still holds of reads that were captured, delivered and shredded on it: nothing readable.

Spool, state and logs of a unit lie on a loop-mounted image; capture and upload are killed while they work. Then the
whole raw image is searched, journal and free blocks included. A second image, on which a text and a picture were
written and deleted in the ordinary way, shows that the search would find them.
"""

from __future__ import annotations

import mmap
import os
import random
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from agent.bench.plaintext_scan import JPEG_HEADER
from tests.torture.capture_process import TEXT_CHARS, TEXT_MARK, Load, accepted_ids
from tests.torture.fleet import BRISK, RECEIVER, Fleet, running
from tests.torture.kills import count_up, kill_at_random
from tests.torture.places import quick_folder
from tests.torture.report import Result

TARGET: Final = (
    "forensic scan of an ext4 image, journal and free space included, after 1,000 reads and 100 kills: "
    "0 plate texts, 0 JPEG headers"
)
READS: Final = 1000
KILLS: Final = 100
REDUCED_READS: Final = 40
REDUCED_KILLS: Final = 8
IMAGE_BYTES: Final = 64 << 20
CROPS: Final = 16
SEED: Final = 5

_TEXT: Final = re.compile(rb"(?i)%s[A-Z0-9]{%d}" % (TEXT_MARK.encode(), TEXT_CHARS - len(TEXT_MARK)))
_JPEG: Final = re.compile(rb"(?s)" + JPEG_HEADER)


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Work on an image, search it, and search the control."""
    began_s = time.monotonic()
    if os.geteuid() != 0:
        return Result("forensics", TARGET, "not run: mounting an image needs root", False, 0.0)
    reads, kills = (READS, KILLS) if full else (REDUCED_READS, REDUCED_KILLS)
    with quick_folder("forensics") as folder:
        root = Path(folder)
        crops = write_crops(root / "crops")
        control = _control(root, crops)
        done, lived = _work(root, crops, reads, kills, say)
        found = search(root / "image")
    figures = f"{done}; found: {found[0]} plate texts, {found[1]} JPEG headers; in the control: {control}"
    holds = lived and found == (0, 0) and min(control) > 0
    return Result("forensics", TARGET, figures, holds, time.monotonic() - began_s)


def search(image: Path) -> tuple[int, int]:
    """Return how many plate texts and JPEG headers a raw image holds."""
    with image.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content:
        texts, pictures = (sum(1 for _ in pattern.finditer(content)) for pattern in (_TEXT, _JPEG))
    return texts, pictures


def write_crops(folder: Path) -> Path:
    """Write JPEG files such as the camera's crops."""
    folder.mkdir()
    rng = np.random.default_rng(SEED)
    for number in range(CROPS):
        noise = rng.integers(0, 256, (30, 90, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(noise, (180, 60)))
    return folder


@contextmanager
def mounted(image: Path, at: Path) -> Iterator[Path]:
    """Make an ext4 image and mount it; it is whole, with everything written, once it is unmounted."""
    with image.open("wb") as stream:
        stream.truncate(IMAGE_BYTES)
    at.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["umount", at], check=True)
        os.sync()


def _work(root: Path, crops: Path, reads: int, kills: int, say: Callable[[str], None]) -> tuple[str, bool]:
    """Capture and deliver on an image. Returns the figures, and whether everything arrived."""
    with mounted(root / "image", root / "disk") as disk, running(Fleet(root, Load(60.0, crops))) as fleet:
        fleet.set_up_receiver()
        fleet.start(RECEIVER)
        fleet.add_units(1, disk=disk, settings=BRISK)
        for part in fleet.parts():
            fleet.start(part)
        rng, killed = random.Random(SEED), 0
        while killed < kills:
            killed += kill_at_random(fleet, 1, rng, lambda _: None, parts=fleet.parts()).total()
            if killed % 20 == 0:
                say(f"{killed} kills, {len(accepted_ids(fleet.units[0].accepted))} reads")
        fleet.wait_until(lambda: len(accepted_ids(fleet.units[0].accepted)) >= reads)
        fleet.settle()
        figures, holds = count_up(fleet)
    return f"{killed} kills; {figures}", holds


def _control(root: Path, crops: Path) -> tuple[int, int]:
    """Write, sync and delete a text and a picture; return what the search finds then."""
    with mounted(root / "control-image", root / "control-disk") as disk:
        for number, path in enumerate(crops.iterdir()):
            secret = disk / f"{number}.read"
            text = TEXT_MARK + f"{number:0{TEXT_CHARS - len(TEXT_MARK)}}"
            with secret.open("wb") as stream:
                stream.write(text.encode() + path.read_bytes())
                stream.flush()
                os.fsync(stream.fileno())
            secret.unlink()
    return search(root / "control-image")

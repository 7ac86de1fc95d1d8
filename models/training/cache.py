"""Rendered plates and signs kept on disk as one flat array, so that training draws them for free.

Owns the files `<name>.pixels.npy` and `<name>.index.json`; made once for a seed, reused when they
are whole.
"""

from __future__ import annotations

import json
import multiprocessing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .progress import say
from .render import ByteArray, Plate, render_plate
from .signs import render_sign

CHUNK = 250  # renderings a task; small enough for the progress line


@dataclass(frozen=True, slots=True, eq=False)
class PlateCache:
    """Read-only store of renderings; signs have no text and a box of the whole."""

    pixels: ByteArray
    index: list[list[object]]

    def __len__(self) -> int:
        return len(self.index)

    def plate(self, position: int) -> Plate:
        """The rendering at a position."""
        offset, height, width, box, text, kind, centres = self.index[position]
        assert isinstance(offset, int)
        assert isinstance(height, int)
        assert isinstance(width, int)
        assert isinstance(box, list)
        assert isinstance(text, str)
        assert isinstance(kind, str)
        assert isinstance(centres, list)
        image = self.pixels[offset : offset + height * width * 3].reshape(height, width, 3)
        return Plate(image, (box[0], box[1], box[2], box[3]), text, kind, tuple((x, y) for x, y in centres))


def _render_chunk(task: tuple[str, int, int, int]) -> list[Plate]:
    """Render `count` things of a kind with a seed of their own each."""
    kind, seed, first, count = task
    drawn = []
    for number in range(first, first + count):
        rng = np.random.default_rng((seed, number))
        if kind == "plates":
            drawn.append(render_plate(rng))
        else:
            image = render_sign(rng)
            drawn.append(Plate(image, (0, 0, image.shape[1], image.shape[0]), "", "sign"))
    return drawn


def build_cache(folder: Path, kind: str, *, count: int, seed: int, workers: int = 2) -> PlateCache:
    """Render `count` plates or signs unless they are there already.

    Args:
        folder: Where the files lie; made if missing.
        kind: `plates` or `signs`.
        count: How many.
        seed: The same seed gives the same pixels.
        workers: Processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index_path = folder / f"{kind}-{count}-{seed}.index.json"
    pixel_path = folder / f"{kind}-{count}-{seed}.pixels.npy"
    if not index_path.exists():
        _write_cache((index_path, pixel_path), kind, count=count, seed=seed, workers=workers)
    return PlateCache(np.load(pixel_path, mmap_mode="r"), json.loads(index_path.read_text()))


def _write_cache(paths: tuple[Path, Path], kind: str, *, count: int, seed: int, workers: int) -> None:
    """Render in processes; the index is written last and by rename, so it vouches for the pixels."""
    index_path, pixel_path = paths
    tasks = [(kind, seed, first, min(CHUNK, count - first)) for first in range(0, count, CHUNK)]
    index: list[list[object]] = []
    pieces, offset = [], 0
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for done, chunk in enumerate(pool.imap(_render_chunk, tasks), start=1):
            for plate in chunk:
                height, width = plate.image.shape[:2]
                centres = [[round(x, 1), round(y, 1)] for x, y in plate.centres]
                row = [offset, height, width, list(plate.box), plate.text, plate.kind, centres]
                index.append(row)
                pieces.append(plate.image.ravel())
                offset += height * width * 3
            if done % 10 == 0:
                say(f"rendering {kind}: {min(done * CHUNK, count)} of {count}")
    np.save(pixel_path, np.concatenate(pieces))
    partial = index_path.with_suffix(".partial")
    partial.write_text(json.dumps(index))
    partial.replace(index_path)

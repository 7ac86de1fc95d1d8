"""Rendered plates and signs kept on disk, so that training draws them for free.

Owns the files `<kind>-<count>-<seed>.pixels` (bytes, one rendering after the other) and `.index.jsonl`
(one line a rendering, written after its pixels). A build that was stopped goes on where it was.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .hard_formats import HARD_LAYOUTS
from .notices import render_notice
from .plan import Renderings
from .progress import say
from .render import ByteArray, Plate, render_plate
from .signs import render_sign

CHUNK = 250  # renderings a task; small enough for the progress line and for what a stop loses


@dataclass(frozen=True, slots=True, eq=False)
class PlateCache:
    """Read-only store of renderings; signs have no text and a box of the whole.

    Attributes:
        pixels: uint8 (bytes,), all renderings one after the other.
        index: One record a rendering, see `_record`.
    """

    pixels: ByteArray
    index: list[dict[str, object]]

    def __len__(self) -> int:
        return len(self.index)

    def plate(self, position: int) -> Plate:
        """The rendering at a position."""
        return _plate(self.index[position], self.pixels)


def render_one(what: Renderings, number: int) -> Plate:
    """Rendering `number` of a cache: it has a seed of its own."""
    rng = np.random.default_rng((what.seed, number))
    if what.kind == "plates":
        return render_plate(rng)
    if what.kind == "hard":
        return render_plate(rng, HARD_LAYOUTS)
    image = render_sign(rng) if what.kind == "signs" else render_notice(rng)
    return Plate(image, (0, 0, image.shape[1], image.shape[0]), "", what.kind.removesuffix("s"))


def build_cache(folder: Path, what: Renderings, *, workers: int) -> PlateCache:
    """Render what is not there yet.

    Args:
        folder: Where the files lie; made if missing.
        what: What to render.
        workers: Processes; 0 renders in this one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stem = f"{what.kind}-{what.count}-{what.seed}"
    index_path, pixel_path = folder / f"{stem}.index.jsonl", folder / f"{stem}.pixels"
    index = _whole_records(index_path)
    if len(index) < what.count:
        _append(index, (index_path, pixel_path), what, workers=workers)
    return PlateCache(np.memmap(pixel_path, np.uint8, "r"), index)


def _record(plate: Plate, offset: int) -> dict[str, object]:
    """What the index says of a rendering whose pixels start at `offset`."""
    centres = [[round(x, 1), round(y, 1)] for x, y in plate.centres]
    return {
        "offset": offset,
        "shape": plate.image.shape,
        "box": plate.box,
        "text": plate.text,
        "kind": plate.kind,
        "centres": centres,
    }


def _plate(record: dict[str, object], pixels: ByteArray) -> Plate:
    """The rendering of an index record."""
    offset, shape, box, centres = record["offset"], record["shape"], record["box"], record["centres"]
    assert isinstance(offset, int)
    assert isinstance(shape, list)
    assert isinstance(box, list)
    assert isinstance(centres, list)
    image = pixels[offset : offset + shape[0] * shape[1] * shape[2]].reshape(shape)
    where = tuple((float(x), float(y)) for x, y in centres)
    return Plate(image, (box[0], box[1], box[2], box[3]), str(record["text"]), str(record["kind"]), where)


def _whole_records(path: Path) -> list[dict[str, object]]:
    """The records of an index; a last line that a stop cut short is left out."""
    if not path.exists():
        return []
    *whole, _cut = path.read_text().split("\n")
    return [json.loads(line) for line in whole]


def _end(index: list[dict[str, object]]) -> int:
    """Where the pixels of the next rendering start."""
    if not index:
        return 0
    offset, shape = index[-1]["offset"], index[-1]["shape"]
    assert isinstance(offset, int)
    assert isinstance(shape, list)
    return offset + int(np.prod(shape))


def _append(index: list[dict[str, object]], paths: tuple[Path, Path], what: Renderings, *, workers: int) -> None:
    """Render from where the index ends; pixels first, so that an index line vouches for its own."""
    index_path, pixel_path = paths
    index_path.write_text("".join(f"{json.dumps(record)}\n" for record in index))
    pixel_path.touch()
    with pixel_path.open("r+b") as pixels, index_path.open("a") as lines:
        pixels.truncate(_end(index))
        pixels.seek(0, 2)
        for chunk in _render(what, len(index), workers):
            records = []
            for plate in chunk:
                record = json.dumps(_record(plate, pixels.tell()))
                pixels.write(plate.image.tobytes())
                records.append(record)
            pixels.flush()
            lines.writelines(f"{record}\n" for record in records)
            lines.flush()
            index += [json.loads(record) for record in records]
            say(f"rendering {what.kind}: {len(index)} of {what.count}")


def _render(what: Renderings, first: int, workers: int) -> Iterator[list[Plate]]:
    """Chunks of renderings in order."""
    tasks = [(what, start, min(CHUNK, what.count - start)) for start in range(first, what.count, CHUNK)]
    if workers == 0:
        yield from map(_render_chunk, tasks)
        return
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        yield from pool.imap(_render_chunk, tasks)


def _render_chunk(task: tuple[Renderings, int, int]) -> list[Plate]:
    """One task of a process."""
    what, first, count = task
    return [render_one(what, number) for number in range(first, first + count)]

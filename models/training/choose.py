"""What is decided on the validation folders and on held-out renderings, and on nothing else: the threshold, and
whether int8 is good enough. Needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agent.vision.reader import OnnxReader

from .cache import render_one
from .contract import DEFAULT_THRESHOLD
from .folders import ByteArray, Text, load_folder
from .foreign import UNKNOWN
from .measure import Tally, observe, open_detector, open_reader, read_box, tally
from .plan import Renderings
from .reader_data import rendered_crop
from .tables import Figures, table

NARROWEST_PX = 24.0  # narrower plates count neither for the threshold nor for int8
THRESHOLDS = tuple(round(0.1 + 0.02 * step, 2) for step in range(40))
LARGEST_INT8_LOSS = 0.02  # of recall or exactness; int8 that loses more is not kept
ALL_KINDS = "all"

KINDS = {
    "short": "1 to 4 characters",
    "long": "9 and 10 characters",
    "lines": "two lines, of many kinds",
    "twins": "look-alikes",
    "eu": "EU",
    "uk": "UK",
    "us": "US",
    "br": "Brazil",
    "mercosur": "Brazil",
    "two": "two lines",
}
"""How the layouts' names begin, and what the card calls them; the rest are `OTHER_KIND`."""
OTHER_KIND = "other plain ones"
KIND_NAMES = (*dict.fromkeys(KINDS.values()), OTHER_KIND)


def counts_at(folders: Sequence[Path], detector: Path, thresholds: Sequence[float]) -> list[list[Tally]]:
    """Per folder, the counts at each threshold for plates of at least `NARROWEST_PX`, with the labels as published.

    A plate that they leave out counts like a false box.
    """
    model = open_detector(detector)
    rows = []
    for folder in folders:
        seen = observe([replace(picture, unlabelled=()) for picture in load_folder(folder)], model, None, threshold=1.0)
        rows.append([tally(seen, threshold=t, narrowest_px=NARROWEST_PX) for t in thresholds])
    return rows


def worth(tallies: Sequence[Tally]) -> float:
    """The mean over folders of recall less false boxes a picture."""
    gains = [t.found / max(t.plates, 1) - t.false_boxes / max(t.pictures, 1) for t in tallies]
    return sum(gains) / len(gains)


@dataclass(frozen=True, slots=True)
class Sweep:
    """What a detector finds at every threshold.

    Attributes:
        folders: Names of the validation folders.
        rows: Per folder, one tally for each of `THRESHOLDS`.
    """

    folders: tuple[str, ...]
    rows: list[list[Tally]]

    def at(self, index: int) -> list[Tally]:
        """The folders' tallies at one threshold."""
        return [row[index] for row in self.rows]

    def best(self) -> float:
        """The threshold worth most; the higher of two that are worth the same."""
        return max((worth(self.at(index)), threshold) for index, threshold in enumerate(THRESHOLDS))[1]

    def table(self) -> str:
        """Recall and false boxes a picture at each threshold, for a person who wants another trade."""
        best = self.best()
        rows = []
        for index, threshold in enumerate(THRESHOLDS):
            cells = []
            for row in self.at(index):
                figures = row.figures()
                cells += [f"{figures.get('recall', 0):.3f}", f"{figures.get('false_per_picture', 0):.3f}"]
            mark = f"{threshold:.2f}{' *' if threshold == best else ''}"
            rows.append([mark, *cells, f"{worth(self.at(index)):.3f}"])
        header = ["threshold"]
        for name in self.folders:
            header += [f"{name}: recall", "false boxes a picture"]
        return table([*header, "worth"], rows)


def sweep(data: Path, folders: Sequence[str], detector: Path) -> Sweep:
    """Try every threshold on folders of `data`."""
    return Sweep(tuple(folders), counts_at([data / folder for folder in folders], detector, THRESHOLDS))


def recall_loss(folders: Sequence[Path], reference: Path, other: Path) -> float:
    """How much recall a detector loses against another at the default threshold, on the folder where it loses most."""
    at = (DEFAULT_THRESHOLD,)
    pairs = zip(counts_at(folders, reference, at), counts_at(folders, other, at), strict=True)
    return max((a[0].found - b[0].found) / max(a[0].plates, 1) for a, b in pairs)


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """Something to read and what it says.

    Attributes:
        kind: Whose plate it is, for a table by kind.
        crop: uint8 (h, w, 3) BGR.
        text: What it says.
    """

    kind: str
    crop: ByteArray
    text: Text


def rendered_readings(what: Renderings) -> list[Reading]:
    """Rendered plates as a camera sees them, of a seed that training never used."""
    readings = []
    for number in range(what.count):
        plate = render_one(what, number)
        if UNKNOWN in plate.text:
            continue  # there is no right answer
        crop, _ = rendered_crop(plate, np.random.default_rng((what.seed, number, 1)))
        kind = KINDS.get(plate.kind.split("-")[0], OTHER_KIND)
        readings.append(Reading(kind, np.ascontiguousarray(crop[..., ::-1]), Text(plate.text)))
    return readings


def exactness(reader: OnnxReader, readings: Sequence[Reading]) -> dict[str, Figures]:
    """How many of the readings a reader gets exactly, all together and by kind."""
    asked: dict[str, int] = {}
    right: dict[str, int] = {}
    for reading in readings:
        height, width = reading.crop.shape[:2]
        hit = int(reading.text.is_read(read_box(reader, reading.crop, (0, 0, width, height))))
        for kind in (ALL_KINDS, reading.kind):
            asked[kind] = asked.get(kind, 0) + 1
            right[kind] = right.get(kind, 0) + hit
    return {kind: {"plates": asked[kind], "exact": round(right[kind] / asked[kind], 4)} for kind in asked}


def exactness_loss(sets: Sequence[Sequence[Reading]], reference: Path, other: Path) -> float:
    """How much exactness a reader loses against another, on the set of readings where it loses most."""
    one, two = open_reader(reference), open_reader(other)
    pairs = [(exactness(one, s)[ALL_KINDS]["exact"], exactness(two, s)[ALL_KINDS]["exact"]) for s in sets if s]
    return max(a - b for a, b in pairs)

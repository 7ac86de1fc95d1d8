"""Labelled picture folders: `labels.jsonl`, one picture a line, boxes `[x1, y1, x2, y2]` in pixels.

Owns reading them, and the plates that their labels leave out; knows which folders may be trained on,
which choose thresholds, and which only measure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import cv2
import numpy as np
import numpy.typing as npt

ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

Item = TypeVar("Item")

DEFAULT_DATA = Path("../shared/data")
TRAIN_FOLDERS = ("rpi-dayride/train", "openimages-plates/train")
VALID_FOLDERS = ("rpi-dayride/valid", "openimages-plates/valid")  # thresholds and int8 are decided on these
TEST_FOLDERS = ("openimages-plates/test", "openalpr-eu")  # looked at last, by the cards; nothing is chosen on them
BACKGROUND_CLIP = "clips/car-park.mp4"
UNLABELLED = Path(__file__).with_name("unlabelled.jsonl")
"""Plates that the labels of measured pictures leave out: `{"file", "sha256", "plates"}` a line. Listed by eye among the
boxes of a detector, down to scores that are far below its threshold; what may be no plate is not listed. Nothing is
trained on them, and no threshold is chosen with them."""

VALID_TEXTS = Path(__file__).with_name("valid_texts.jsonl")
"""What the plates of the validation folders say, read by eye, for those that a person can read: `{"file", "sha256",
"texts"}` a line, for each plate in the order of the labels its text's `digest_of`, empty where it cannot be read or has
characters outside the alphabet. They are plates of people's cars, so the texts themselves are not kept; the digests are
enough to tell whether a read is right. Readers are compared and their confidences fitted with them; nothing is trained
on them."""

Box = tuple[float, float, float, float]


def digest_of(picture: str, number: int, text: str) -> str:
    """What is kept of the text of a picture's plate.

    It hides the text from nobody who sees the picture, or who tries all texts; it only makes no list of them.

    Args:
        picture: SHA-256 of the picture's file, hexadecimal.
        number: Of the plate in the picture's labels, from 0.
        text: What the plate says.
    """
    return hashlib.sha256(f"{picture}:{number}:{text}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Text:
    """What a plate says, in words or only as a digest; false where nobody knows.

    Attributes:
        words: The text; empty where only the digest is known.
        digest: From `digest_of`.
        picture: SHA-256 of the picture's file, for `digest`.
        number: Of the plate, for `digest`.
    """

    words: str = ""
    digest: str = ""
    picture: str = ""
    number: int = 0

    def __bool__(self) -> bool:
        """Whether it is known."""
        return bool(self.words or self.digest)

    def is_read(self, text: str) -> bool:
        """Whether a read is right."""
        return digest_of(self.picture, self.number, text) == self.digest if self.digest else text == self.words


@dataclass(frozen=True, slots=True)
class Picture:
    """One labelled picture.

    Attributes:
        path: Its file.
        boxes: Plates, (x1, y1, x2, y2), pixels.
        texts: What each plate says.
        unlabelled: Plates that are in the picture and not in its labels, as `boxes`.
    """

    path: Path
    boxes: tuple[Box, ...]
    texts: tuple[Text, ...]
    unlabelled: tuple[Box, ...] = ()

    def load_bgr(self) -> ByteArray:
        """The pixels, uint8 (h, w, 3) BGR.

        Raises:
            FileNotFoundError: The file is missing or no picture.
        """
        image = cv2.imread(str(self.path), cv2.IMREAD_COLOR)
        if image is None:
            raise FileNotFoundError(f"no picture: {self.path}")
        return np.asarray(image, np.uint8)


def load_folder(folder: Path) -> list[Picture]:
    """The pictures that a folder's `labels.jsonl` lists.

    Plates are either bare boxes or objects `{"box": [..], "text": ".."}`; texts of the validation folders are in
    `VALID_TEXTS`.

    Raises:
        FileNotFoundError: The folder has no `labels.jsonl`.
    """
    labels = folder / "labels.jsonl"
    if not labels.is_file():
        raise FileNotFoundError(f"{labels}: no such file; it lists a folder's pictures, one JSON object a line")
    left_out = _load_unlabelled()
    known = _load_texts()
    pictures = []
    for line in labels.read_text().splitlines():
        row = json.loads(line)
        plates = [p if isinstance(p, dict) else {"box": p} for p in row["plates"]]
        texts = tuple(Text(str(p.get("text", ""))) for p in plates)
        path = folder / row["file"]
        if not any(texts):
            texts = known.of(path) or texts
        pictures.append(Picture(path, _boxes(p["box"] for p in plates), texts, left_out.of(path)))
    return pictures


@dataclass(frozen=True, slots=True)
class _Noted(Generic[Item]):
    """What was noted of pictures, by the digest of the file; only files with a listed name are looked into."""

    names: frozenset[str]
    by_digest: dict[str, tuple[Item, ...]]

    def of(self, path: Path) -> tuple[Item, ...]:
        if path.name not in self.names or not path.is_file():
            return ()
        return self.by_digest.get(hashlib.sha256(path.read_bytes()).hexdigest(), ())


def _noted(rows: Sequence[dict[str, Any]], items: Callable[[dict[str, Any]], tuple[Item, ...]]) -> _Noted[Item]:
    return _Noted(frozenset(Path(row["file"]).name for row in rows), {row["sha256"]: items(row) for row in rows})


def _load_unlabelled() -> _Noted[Box]:
    return _noted([json.loads(line) for line in UNLABELLED.read_text().splitlines()], lambda row: _boxes(row["plates"]))


def _load_texts() -> _Noted[Text]:
    def items(row: dict[str, Any]) -> tuple[Text, ...]:
        return tuple(Text(digest=d, picture=row["sha256"], number=n) for n, d in enumerate(row["texts"]))

    return _noted([json.loads(line) for line in VALID_TEXTS.read_text().splitlines()], items)


def _boxes(rows: Iterable[Sequence[float]]) -> tuple[Box, ...]:
    return tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in rows)


def clip_frames(path: Path, every: int) -> list[ByteArray]:
    """Every n-th frame of a clip, uint8 (h, w, 3) BGR; empty when the clip is missing."""
    capture = cv2.VideoCapture(str(path))
    frames: list[ByteArray] = []
    while capture.isOpened():
        ok, frame = capture.read()
        if not ok:
            break
        frames.append(np.asarray(frame, np.uint8))
    return frames[::every]

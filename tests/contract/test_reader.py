"""Contract of `Reader`, run on the real adapter with a toy model and on the fake."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agent.ports import Reader
from agent.records import Image, PlateText
from agent.vision.manifest import open_library
from agent.vision.reader import OnnxReader
from tests.fakes.vision import CannedReader, plate
from tests.toy_models import render_plate, write_toy_models

TEXTS = ["ABC123", "XYZ789", "K4RW8P"]


def _canned(number: int, _: Image) -> PlateText:
    return plate(TEXTS[number % len(TEXTS)])


@pytest.fixture(params=["onnx", "fake"])
def reader(request: pytest.FixtureRequest, tmp_path: Path) -> Reader:
    """Each implementation, able to read TEXTS."""
    if request.param == "fake":
        return CannedReader(_canned)
    library = open_library(write_toy_models(tmp_path))
    entry = library.reader()
    return OnnxReader(library.load(entry), entry)


def test_each_crop_gets_its_text_in_order(reader: Reader) -> None:
    """One text per crop, of crops of different sizes."""
    crops = [render_plate(text, width_px=120 + 9 * n, height_px=40) for n, text in enumerate(TEXTS)]
    assert [found.text for found in reader.read(crops)] == TEXTS


def test_confidences_are_one_per_character_without_padding(reader: Reader) -> None:
    """Padding slots are sure of themselves and would raise every mean."""
    (found,) = reader.read([render_plate(TEXTS[0], width_px=120, height_px=40)])
    assert len(found.confidences) == len(found.text) == 6
    assert all(0.0 <= share <= 1.0 for share in found.confidences)


def test_no_crops_give_no_texts(reader: Reader) -> None:
    """The empty batch is not an inference."""
    assert reader.read([]) == []


def test_the_smallest_crop_is_read(reader: Reader) -> None:
    """1x1 is allowed: something comes back, not an error."""
    assert len(reader.read([np.zeros((1, 1, 3), np.uint8)])) == 1


def test_the_digest_is_of_a_file(reader: Reader) -> None:
    """It goes into the sealed read."""
    assert len(reader.digest) == 32

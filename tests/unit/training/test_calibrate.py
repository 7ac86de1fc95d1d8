"""A reader's temperature: fitted to how often it is right, and the table of what a confidence is worth."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training import calibrate, choose, folders
from models.training.calibrate import PROMISED, Answers, answers, fit_temperature, precision_rows
from models.training.folders import VALID_FOLDERS, VALID_TEXTS, Text, digest_of, load_folder
from tests.toy_models import random_texts, render_frame, render_plate, write_toy_models

CHARACTERS = 4  # padding is the last


def made_up(true_temperature: float, *, count: int = 4_000, seed: int = 3) -> Answers:
    """Texts of one character whose shares are right as often as they say once they are cooled by `true_temperature`."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (count, 1, CHARACTERS))
    logits[..., -1] = -30
    truth = np.exp(logits - logits.max(-1, keepdims=True))
    truth /= truth.sum(-1, keepdims=True)
    said = truth**true_temperature
    said /= said.sum(-1, keepdims=True)
    right = rng.random(count) < truth.max(-1)[:, 0]
    return Answers(said.astype(np.float32), right.astype(np.float32), CHARACTERS - 1)


@pytest.mark.parametrize("true_temperature", [0.8, 1.0, 1.6])
def test_a_fitted_temperature_is_the_one_that_was_put_in(true_temperature: float) -> None:
    """As far as the promise of the surest does not ask for more."""
    found = made_up(true_temperature)
    fitted = fit_temperature(found)
    assert fitted >= true_temperature - 0.12
    surest = found.confidences(fitted) >= PROMISED[0]
    assert float(found.right[surest].mean()) >= PROMISED[1]


def test_confidences_are_means_over_characters_without_padding() -> None:
    """A slot that says padding does not count; nothing but padding is no confidence at all."""
    shares = np.array(
        [[[0.7, 0.2, 0.1, 0.0], [0.0, 0.0, 0.0, 1.0]], [[0.1, 0.0, 0.0, 0.9], [0.0, 0.0, 0.0, 1.0]]], np.float32
    )
    assert Answers(shares, np.zeros(2, np.float32), 3).confidences(1.0) == pytest.approx([0.7, 0.0])


def test_a_higher_temperature_is_less_sure_and_keeps_the_best_character() -> None:
    """Over a range of temperatures, of made-up answers."""
    found = made_up(1.0, count=50)
    means = [float(found.confidences(temperature).mean()) for temperature in (0.6, 1.0, 1.5, 2.5)]
    assert means == sorted(means, reverse=True)


def test_the_table_says_how_many_are_so_sure_and_right() -> None:
    """Three texts, two of them surer than 0.9, one of these right."""
    shares = np.array([[[0.95, 0.05, 0, 0]], [[0.92, 0.08, 0, 0]], [[0.55, 0.45, 0, 0]]], np.float32)
    rows = precision_rows(Answers(shares, np.array([1, 0, 1], np.float32), 3), 1.0)
    assert rows[0] == ["0.50", "3", "0.667"]
    assert rows[-2] == ["0.90", "2", "0.500"]
    assert rows[-1] == ["0.95", "1", "1.000"]


def test_a_reader_is_asked_as_the_agent_asks_it(tmp_path: Path) -> None:
    """The toy reader reads its own plates, and is not right about another text."""
    toys = write_toy_models(tmp_path)
    texts = random_texts(2)
    crops = [render_plate(text, width_px=160, height_px=53) for text in texts]
    readings = [choose.Reading("a", crops[0], Text(texts[0])), choose.Reading("a", crops[1], Text("WRONG"))]
    found = answers(toys / "toy-reader.onnx", readings)
    assert found.right.tolist() == [1.0, 0.0]
    assert found.confidences(1.0).min() > 0.5


def test_plates_of_the_validation_folders_are_cut_twice(tmp_path: Path) -> None:
    """As labelled and looser; plates without a text are left out."""
    for folder in VALID_FOLDERS:
        (tmp_path / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / folder / "a.png"), render_frame([("ABC123", (100, 90, 260, 143))]))
        plates = [{"box": [100, 90, 260, 143], "text": "ABC123"}, {"box": [0, 0, 40, 20]}]
        (tmp_path / folder / "labels.jsonl").write_text(json.dumps({"file": "a.png", "plates": plates}) + "\n")
    readings = calibrate.valid_readings(tmp_path)
    assert [reading.text.words for reading in readings] == ["ABC123"] * 4
    assert readings[0].crop.shape == (53, 160, 3)
    assert readings[1].crop.shape[1] > 160


def test_texts_read_by_eye_are_kept_as_digests_only() -> None:
    """One picture a line; no word of a plate stands in the file, whose every other field is a name or a digest."""
    rows = [json.loads(line) for line in VALID_TEXTS.read_text().splitlines()]
    assert len({row["sha256"] for row in rows}) == len(rows) > 100
    assert all(set(row) == {"file", "sha256", "texts"} and any(row["texts"]) for row in rows)
    assert all(re.fullmatch(r"([0-9a-f]{64})?", text) for row in rows for text in row["texts"])


def test_a_digest_tells_whether_a_read_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this plate of this picture: the text of the other plate is wrong; what was not read stays unknown."""
    picture = tmp_path / "a.png"
    cv2.imwrite(str(picture), np.full((40, 90, 3), 7, np.uint8))
    (tmp_path / "labels.jsonl").write_text(
        '{"file": "a.png", "plates": [[0, 0, 9, 9], [9, 0, 20, 9], [0, 9, 9, 20]]}\n'
    )
    name = hashlib.sha256(picture.read_bytes()).hexdigest()
    row = {"file": "a.png", "sha256": name, "texts": [digest_of(name, 0, "AB1"), digest_of(name, 1, "XY2"), ""]}
    (tmp_path / "texts.jsonl").write_text(f"{json.dumps(row)}\n")
    monkeypatch.setattr(folders, "VALID_TEXTS", tmp_path / "texts.jsonl")
    first, second, unknown = load_folder(tmp_path)[0].texts
    assert first.is_read("AB1")
    assert not first.is_read("XY2")
    assert second.is_read("XY2")
    assert [bool(text) for text in (first, second, unknown)] == [True, True, False]

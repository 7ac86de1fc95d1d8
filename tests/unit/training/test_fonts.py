"""Fonts: what is missing is named with the way to get it, and glyphs are cut alike."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.training import fonts
from tests.unit.training.conftest import clear_font_caches


@pytest.mark.usefixtures("some_fonts")
def test_every_listed_font_is_found_in_order() -> None:
    """With all packages there, `plate` gives their plate fonts and `text` those and the others."""
    plate, text = fonts.font_files("plate"), fonts.font_files("text")
    assert len(plate) == sum(len(p.plate) for p in fonts.PACKAGES)
    assert len(text) == sum(len(p.plate + p.text) for p in fonts.PACKAGES)
    assert set(plate) < set(text)
    assert fonts.missing_packages() == ()


def test_without_fonts_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without fonts is told every package in one command."""
    monkeypatch.setattr(fonts, "FONT_ROOT", tmp_path)
    clear_font_caches()
    with pytest.raises(FileNotFoundError, match=r"apt-get install fonts-dejavu-core .*fonts-inconsolata"):
        fonts.font_files("plate")
    assert fonts.missing_packages() == tuple(p.package for p in fonts.PACKAGES)


def test_a_missing_package_is_named_alone(font_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One missing package stops nothing and is named."""
    shutil.copytree(font_root, tmp_path / "fonts")
    shutil.rmtree(tmp_path / "fonts" / "fonts-inter")
    monkeypatch.setattr(fonts, "FONT_ROOT", tmp_path / "fonts")
    clear_font_caches()
    assert fonts.missing_packages() == ("fonts-inter",)
    assert fonts.font_files("plate")
    clear_font_caches()


@pytest.mark.usefixtures("some_fonts")
def test_glyphs_have_equal_rows_and_ink() -> None:
    """Every character of a face has the same rows, and ink within them."""
    face = fonts.load_face(fonts.font_files("plate")[0])
    assert set(face.masks) == set(fonts.ALPHABET)
    assert {mask.shape[0] for mask in face.masks.values()} == {face.masks["H"].shape[0]}
    assert all(mask.max() > 127 for mask in face.masks.values())
    assert face.width_px > 0


@pytest.mark.usefixtures("some_fonts")
def test_running_text_is_cropped_to_its_ink() -> None:
    """A mask has ink and hardly a margin; more text is wider; no text is one pixel."""
    path = fonts.font_files("text")[0]
    short, long = fonts.text_mask("H", path, 30), fonts.text_mask("HHHH", path, 30)
    rows, columns = np.nonzero(short)
    assert np.ptp(rows) > 0.7 * short.shape[0]
    assert np.ptp(columns) > 0.7 * short.shape[1]
    assert long.shape[1] > 3 * short.shape[1]
    assert fonts.text_mask("", path, 30).shape == (1, 1)


def test_every_package_states_a_licence() -> None:
    """The cards list packages with licences: none is empty, none is listed twice."""
    names = [p.package for p in fonts.PACKAGES]
    assert len(set(names)) == len(names)
    assert all(re.fullmatch(r"fonts-[a-z0-9-]+", p.package) and p.licence for p in fonts.PACKAGES)

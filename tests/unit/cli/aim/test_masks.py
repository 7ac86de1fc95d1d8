"""Masks that are drawn with letters."""

from __future__ import annotations

import tomllib

import pytest

from agent.cli.aim.masks import MaskDrawing
from agent.config.models import MaskConfig


def _drawn(keys: str) -> MaskDrawing:
    drawing = MaskDrawing()
    for key in keys:
        drawing.press(key)
    return drawing


def test_letters_make_corners_and_enter_a_mask() -> None:
    """The first letter is from the left, the second from the top; what is printed is what a configuration takes."""
    table = tomllib.loads(_drawn("iakakdid\naacabb\r").as_toml(is_first_camera=True))
    first, second = (MaskConfig.model_validate(mask).polygon for mask in table["vision"]["mask"])
    assert first == ((0.8, 0.0), (1.0, 0.0), (1.0, 0.3), (0.8, 0.3))
    assert second == ((0.0, 0.0), (0.2, 0.0), (0.1, 0.1))


def test_a_further_camera_has_its_own_table() -> None:
    """It stands below its `[[camera]]`."""
    assert _drawn("aacabb\n").as_toml(is_first_camera=False).startswith("[[camera.vision.mask]]\n")


@pytest.mark.parametrize("keys", ["", "aaca\n", "aacabb", "aacab\n", "xyz\n\n"])
def test_what_is_no_mask_is_not_printed(keys: str) -> None:
    """Fewer than three corners, or no Enter."""
    assert _drawn(keys).as_toml(is_first_camera=True) == ""


def test_backspace_takes_the_last_thing_back() -> None:
    """A letter, a corner, and the end of a mask."""
    assert _drawn("aab\x7f").as_text() == "aa"
    assert _drawn("aabb\x7f").as_text() == "aa"
    assert _drawn("aacabb\n\x7f").as_text() == "aa ca bb"
    assert not _drawn("\x7f").is_begun

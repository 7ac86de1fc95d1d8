"""The pictures of `aim` in the document are what it shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.aim.screen import rate_text
from agent.vision.aiming import advice
from tests.aim_pictures import PICTURES, SHOTS, Shot

DOCUMENT = Path(PICTURES).parent / "CAMERAS.md"


@pytest.mark.parametrize("shot", SHOTS, ids=lambda shot: shot.name)
def test_a_picture_is_what_aim_shows(shot: Shot) -> None:
    """The caption below it is the advice for the scene of which it was drawn, whose plate is in a box."""
    scene = shot.scene()
    assert scene.view.plates
    lines = DOCUMENT.read_text().splitlines()
    caption = f"![{shot.columns}x{shot.rows}: {advice(scene.view.aim)}](aim/{shot.name}.png)"
    assert caption in lines
    assert "plate" in rate_text(scene.view)
    assert (PICTURES / f"{shot.name}.png").read_bytes().startswith(b"\x89PNG")

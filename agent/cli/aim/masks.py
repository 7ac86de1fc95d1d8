"""Masks that are drawn with letters: corners on a grid, and the TOML that a configuration takes.

Owns: which key does what while a mask is drawn. Leaves to others: the keyboard and the picture.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

LINES: Final = "abcdefghijk"
"""Names of the grid's lines, from left to right and from top to bottom: every tenth of the picture."""
ENTER: Final = ("\n", "\r")
BACKSPACE: Final = ("\x7f", "\b")
LEAST_CORNERS: Final = 3

Corner = tuple[float, float]
"""Right and down from the upper left corner, as shares of the picture."""


@dataclass
class MaskDrawing:
    """Masks that are finished, and the one that is being drawn.

    Attributes:
        masks: Corners of each finished one.
        corners: Corners of the one that is being drawn.
        letter: The first letter of its next corner; empty where none was typed.
    """

    masks: list[list[Corner]] = field(default_factory=list)
    corners: list[Corner] = field(default_factory=list)
    letter: str = ""

    def press(self, key: str) -> None:
        """Take one key: two letters of `LINES` set a corner, Enter ends the mask, Backspace takes the last thing back.

        Other keys do nothing, and so does Enter while there are fewer than three corners.
        """
        if key in LINES and self.letter:
            self.corners.append((LINES.index(self.letter) / 10, LINES.index(key) / 10))
            self.letter = ""
        elif key in LINES:
            self.letter = key
        elif key in ENTER and len(self.corners) >= LEAST_CORNERS:
            self.masks.append(self.corners)
            self.corners, self.letter = [], ""
        elif key in BACKSPACE:
            self._take_back()

    @property
    def is_begun(self) -> bool:
        """Whether anything was typed for a mask that is not finished."""
        return bool(self.corners or self.letter)

    def as_text(self) -> str:
        """Return the mask that is being drawn as it was typed, such as `aa ka kb`."""
        names = [LINES[round(x * 10)] + LINES[round(y * 10)] for x, y in self.corners]
        return " ".join([*names, self.letter]).strip()

    def as_toml(self, *, is_first_camera: bool) -> str:
        """Return the finished masks as they stand in a unit's file; empty where there is none.

        Args:
            is_first_camera: Whether they belong to the camera at the top; those of another go into its table.
        """
        table = "vision.mask" if is_first_camera else "camera.vision.mask"
        # An array of numbers is the same in JSON and TOML.
        return "\n".join(f"[[{table}]]\npolygon = {json.dumps(mask)}\n" for mask in self.masks)

    def _take_back(self) -> None:
        if self.letter:
            self.letter = ""
        elif self.corners:
            self.corners.pop()
        elif self.masks:
            self.corners = self.masks.pop()

"""What holds for one unit of a fleet, value by value, and where each comes from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.config.check import key_of
from agent.config.document import Place
from agent.config.fleet import FleetUnit
from agent.config.models import UnitConfig

DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as it holds.

    Attributes:
        key: Its name with its section.
        value: As JSON has it.
        file, line: Where it comes from; None for a default.
    """

    key: str
    value: object
    file: Path | None
    line: int | None

    @property
    def source(self) -> str:
        """Where it comes from, as one word."""
        if self.file is None:
            return DEFAULT
        return str(self.file) if self.line is None else f"{self.file}:{self.line}"


def settings_of(unit: FleetUnit, config: UnitConfig) -> list[Setting]:
    """Return every setting of a unit, defaults too, in the order of the models.

    Args:
        unit: Its layers.
        config: What they say.
    """
    return [_setting(unit, place, value) for place, value in _leaves(config.model_dump(mode="json"), ())]


def _setting(unit: FleetUnit, place: Place, value: object) -> Setting:
    layer = unit.origin(place)
    if layer is not None:
        return Setting(key_of(place), value, layer.path, layer.line_of(place))
    if place == ("camera_id",):  # the name of the camera's file, where it does not stand in it
        return Setting(key_of(place), value, unit.layers[-1].path, None)
    return Setting(key_of(place), value, None, None)


def _leaves(value: object, place: Place) -> Iterator[tuple[Place, object]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, (*place, key))
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for index, inner in enumerate(value):
            yield from _leaves(inner, (*place, index))
    else:
        yield place, value

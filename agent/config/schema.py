"""JSON Schema of the configuration files, for editors that complete and check while one types.

Owns: one schema per layer. In a fleet any setting may stand in any layer, so none is required in one of them; a unit's
own file must have all. Descriptions are those of the models' docstrings.
"""

from __future__ import annotations

import inspect
import re
from enum import StrEnum
from typing import Any, Final

from pydantic import BaseModel

from agent.config.check import sections_of
from agent.config.models import UnitConfig

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_ENTRY: Final = re.compile(r"^(\w+(?:, \w+)*): (.*(?:\n +.*)*)", re.MULTILINE)
"""`name, name: text` of a section `Attributes:`, with the lines it goes on over."""


class Layer(StrEnum):
    """Which file a schema is for."""

    FLEET = "fleet"
    SITE = "site"
    CAMERA = "camera"
    UNIT = "unit"


def layer_schema(layer: Layer) -> dict[str, Any]:
    """Return the JSON Schema of one layer's files."""
    schema = UnitConfig.model_json_schema()
    definitions = schema["$defs"]
    for model in _sections(UnitConfig):
        own = schema if model is UnitConfig else definitions[model.__name__]
        own["description"] = (inspect.getdoc(model) or "").split("\n\n")[0]
        for name, text in _described(model).items():
            own["properties"][name]["description"] = text
        if layer is not Layer.UNIT and model.__name__ != "CameraConfig":
            own.pop("required", None)
    if layer in (Layer.FLEET, Layer.SITE):
        del schema["properties"]["camera_id"]
    if layer is Layer.FLEET:
        del schema["properties"]["site"]
    return {"$schema": DIALECT, **schema, "title": f"plateseal {layer} file"}


def _sections(model: type[BaseModel]) -> set[type[BaseModel]]:
    """Return a model and those of all sections in it."""
    found: set[type[BaseModel]] = {model}
    for info in model.model_fields.values():
        for section in sections_of(info.annotation):
            found |= _sections(section)
    return found


def _described(model: type[BaseModel]) -> dict[str, str]:
    """Return what a model's docstring says of each setting."""
    _, _, attributes = (inspect.getdoc(model) or "").partition("Attributes:\n")
    described: dict[str, str] = {}
    for match in _ENTRY.finditer(inspect.cleandoc(attributes)):
        for name in match[1].split(", "):
            if name in model.model_fields:
                described[name] = " ".join(match[2].split())
    return described

"""Vision settings of the commands that only look: a unit's own, or the defaults, with other models where named."""

from __future__ import annotations

from pathlib import Path

from agent.config.load import load_config
from agent.config.models import VisionConfig
from agent.config.plate_formats import all_formats, choose_formats
from agent.errors import ConfigError, UsageError


def vision_settings(config: Path | None, models: Path | None, plates: str | None = None) -> VisionConfig:
    """Return what holds for a command.

    Args:
        config: A unit's configuration, whose `[vision]` holds; the defaults if None.
        models: Folder of model files in place of the configured one.
        plates: Codes of countries, with commas between, in place of the configured ones.

    Raises:
        ConfigError: The configuration is wrong.
        UsageError: No formats of plates are known of one of the countries.
    """
    vision = VisionConfig() if config is None else load_config(config).vision
    if models is not None:
        vision = vision.model_copy(update={"models": models})
    if plates is not None:
        vision = vision.model_copy(update={"plates": _codes(plates, vision)})
    return vision


def _codes(plates: str, vision: VisionConfig) -> tuple[str, ...]:
    codes = tuple(code.strip().upper() for code in plates.split(","))
    known = all_formats(vision.plate_formats)
    try:
        choose_formats(codes, known)
    except ConfigError as error:
        raise UsageError(f"--plates: {error}") from None
    return codes

"""Vision settings of the commands that only look: a unit's own, or the defaults, with other models where named."""

from __future__ import annotations

from pathlib import Path

from agent.config.load import load_config
from agent.config.models import VisionConfig


def vision_settings(config: Path | None, models: Path | None) -> VisionConfig:
    """Return what holds for a command.

    Args:
        config: A unit's configuration, whose `[vision]` holds; the defaults if None.
        models: Folder of model files in place of the configured one.

    Raises:
        ConfigError: The configuration is wrong.
    """
    vision = VisionConfig() if config is None else load_config(config).vision
    return vision if models is None else vision.model_copy(update={"models": models})

"""Reading a unit's configuration from its TOML file."""

from __future__ import annotations

from pathlib import Path

from agent.config.check import Problem, beside, check_table, in_document
from agent.config.document import MAX_CONFIG_BYTES, Document
from agent.config.models import UnitConfig
from agent.errors import ConfigError


def load_config(path: Path) -> UnitConfig:
    """Read and check a unit's configuration.

    Args:
        path: A TOML file. Relative paths in it are taken relative to its folder, `credential:NAME` is the file
            that systemd has given this service under that name.

    Raises:
        ConfigError: The file cannot be read or is wrong; the message names every mistake with its line and key.
    """
    document = Document.load(path)
    unit, problems = check_table(document.table, in_document(document), beside(path.resolve().parent))
    if unit is None:
        raise ConfigError(listed(problems))
    return unit


def listed(problems: list[Problem]) -> str:
    """Return problems one a line, in the order of files and lines."""
    ordered = sorted(problems, key=lambda each: (str(each.file), each.line or 0, each.key))
    return "\n".join(dict.fromkeys(map(str, ordered)))


__all__ = ["MAX_CONFIG_BYTES", "listed", "load_config"]

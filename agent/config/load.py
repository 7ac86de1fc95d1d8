"""Reading a unit's configuration from its TOML file."""

from __future__ import annotations

from pathlib import Path

from agent.config.check import PathRule, Problem, beside, check_table, in_document
from agent.config.document import Document
from agent.config.models import UnitConfig
from agent.errors import ConfigError


def load_config(path: Path, *, rule: PathRule | None = None) -> UnitConfig:
    """Read and check a unit's configuration.

    Args:
        path: A TOML file.
        rule: What paths in it stand for. If left out, relative paths are taken relative to the file's folder, and
            `credential:NAME` is the file that systemd has given this service under that name.

    Raises:
        ConfigError: The file cannot be read or is wrong; the message names every mistake with its line and key.
    """
    document = Document.load(path)
    unit, problems = check_table(document.table, in_document(document), rule or beside(path.resolve().parent))
    if unit is None:
        raise ConfigError(listed(problems))
    return unit


def listed(problems: list[Problem]) -> str:
    """Return problems one a line, in the order of files and lines."""
    ordered = sorted(problems, key=lambda each: (str(each.file), each.line or 0, each.key))
    return "\n".join(dict.fromkeys(map(str, ordered)))

"""Reading a unit's configuration from its TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ValidationError

from agent.config.credentials import is_credential, resolve_credential
from agent.config.models import SourceConfig, UnitConfig, is_file_uri
from agent.errors import ConfigError

MAX_CONFIG_BYTES: Final = 1 << 20


def load_config(path: Path) -> UnitConfig:
    """Read and check a unit's configuration.

    Args:
        path: A TOML file. Relative paths in it are taken relative to its folder, `credential:NAME` is the file
            that systemd has given this service under that name.

    Raises:
        ConfigError: The file cannot be read or is wrong; the message names every wrong key.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    if len(raw) > MAX_CONFIG_BYTES:
        raise ConfigError(f"{path}: {len(raw)} bytes, at most {MAX_CONFIG_BYTES} are allowed")
    try:
        table = tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: not TOML: nested too deeply") from None
    base = path.resolve().parent
    try:
        return UnitConfig.model_validate(_absolute_paths(UnitConfig, table, base))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    except ValidationError as error:
        lines = [f"{path}: {_where(problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _where(location: tuple[int | str, ...]) -> str:
    return ".".join(str(part) for part in location) or "the file"


def _absolute_paths(model: type[BaseModel], table: dict[str, object], base: Path) -> dict[str, object]:
    """Turn texts that stand for paths into absolute `Path`s, section by section."""
    resolved: dict[str, object] = {}
    for key, value in table.items():
        kind = model.model_fields[key].annotation if key in model.model_fields else None
        if isinstance(kind, type) and issubclass(kind, BaseModel) and isinstance(value, dict):
            resolved[key] = _absolute_paths(kind, value, base)
        elif kind in (Path, Path | None) and isinstance(value, str) and value:
            resolved[key] = _path_of(key, value, base)
        elif model is SourceConfig and key == "uri" and isinstance(value, str) and is_file_uri(value):
            resolved[key] = str(base / value)
        else:
            resolved[key] = value
    return resolved


def _path_of(key: str, value: str, base: Path) -> Path:
    if not is_credential(value):
        return base / value
    try:
        return resolve_credential(value)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None

"""Signed configurations of a unit."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.bundle import sign_bundle
from agent.config.document import Table

CAMERA = "bridge-north"


def unit_table(text: str, base: Path) -> Table:
    """Return a unit's file as a bundle has it: with absolute paths."""
    table = tomllib.loads(text)
    for section, keys in (
        ("source", ("uri",)),
        ("seal", ("keyring", "owner_key", "signing_key")),
        ("spool", ("directory",)),
        ("upload", ("ca", "certificate", "key", "receiver_key")),
    ):
        for key in keys:
            table[section][key] = str(base / table[section][key])
    return table | {"state_dir": str(base / table["state_dir"])}


def changed(table: Table, settings: Mapping[str, object]) -> Table:
    """Return a table with other settings: `section.key` or `key`."""
    result: Table = {key: dict(value) if isinstance(value, dict) else value for key, value in table.items()}
    for name, value in settings.items():
        section, _, key = name.rpartition(".")
        inner = result.setdefault(section, {}) if section else result
        assert isinstance(inner, dict)
        inner[key] = value
    return result


def put_bundle(incoming: Path, table: Table, *, serial: int, key: Ed25519PrivateKey, camera: str = CAMERA) -> bytes:
    """Sign a configuration and put it into the incoming path as an operator does."""
    data = sign_bundle(table, camera=camera, serial=serial, key=key)
    put_bytes(incoming, data)
    return data


def put_bytes(incoming: Path, data: bytes) -> None:
    """Put a file there by renaming."""
    draft = incoming.with_name(".draft")
    draft.write_bytes(data)
    draft.rename(incoming)

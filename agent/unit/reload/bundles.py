"""What a bundle must be before a daemon may try it.

Settings that a bundle cannot change: what the daemons of this unit have in common, and what it trusts (`FIXED`). They
are changed in the unit's own file, by whoever installs it.

Owns: the refusals. Leaves to others: when a bundle is looked at, and what happens then (`trial`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.config.bundle import MAX_BUNDLE_BYTES, Bundle, verify_bundle
from agent.config.models import UnitConfig
from agent.errors import BundleVerificationError, ConfigError, FormatError
from agent.keys.keyfiles import read_public_file

FIXED: Final = ("camera_id", "state_dir", "runtime_dir", "spool.directory", "seal.owner_key", "bundle.incoming")


def read_bundle(path: Path, owner_key: Ed25519PublicKey) -> Bundle:
    """Read a bundle and check that the pinned owner signed it.

    Raises:
        KeyFileError: It cannot be read.
        FormatError: It is no bundle.
        BundleVerificationError: Another key's, or changed since it was signed.
    """
    data = read_public_file(path, max_bytes=MAX_BUNDLE_BYTES)
    try:
        return verify_bundle(data, owner_key)
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None
    except BundleVerificationError as error:
        raise BundleVerificationError(f"{path}: {error}") from None


def require_for(bundle: Bundle, *, camera: str, newest: int) -> None:
    """Check that a bundle is for a unit, and newer than all it has tried.

    Raises:
        BundleVerificationError: It is not.
    """
    if bundle.camera != camera:
        raise BundleVerificationError(f"serial {bundle.serial} is for {bundle.camera}, this unit is {camera}")
    if bundle.serial <= newest:
        raise BundleVerificationError(
            f"serial {bundle.serial} is not above {newest}, the highest that this unit has tried"
        )


def require_same_fixed(base: UnitConfig, unit: UnitConfig) -> None:
    """Check that a new configuration leaves alone what a bundle cannot change.

    Raises:
        ConfigError: It does not.
    """
    changed = [key for key in FIXED if _setting(base, key) != _setting(unit, key)]
    if changed:
        told = "; ".join(f"{key} is {_setting(base, key)} here and {_setting(unit, key)} there" for key in changed)
        raise ConfigError(f"{told}: these change only with the unit's own file")


def _setting(config: UnitConfig, key: str) -> object:
    value: object = config
    for part in key.split("."):
        value = getattr(value, part)
    return value

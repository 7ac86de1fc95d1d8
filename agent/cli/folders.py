"""Which folder is which: a command that is given somebody else's says whose it is, and what fits there.

Owns: how a folder is recognised, by the names in it. Leaves to others: what a folder of the right kind must hold (each
command's own errors). A folder that is none of these, or not there, is left to them too.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Final

from agent.errors import UsageError


class Kind(Enum):
    """A folder of plateseal's: how it is called, and what can be done with it; `{}` is the folder."""

    RECEIVER = "a receiver's folder", "plateseal receiver verify {}"
    COPY = "a copy of a receiver's folder without its private keys", "plateseal receiver verify {}, or docs/BACKUP.md"
    OWNER = "the folder of an owner's keys", "plateseal custody audit --dir {}"
    UNIT = "a unit's folder", "plateseal status --config {}/unit.toml"
    IDENTITY = "the folder of a unit's keys", "plateseal receiver enrol RECEIVER {}/enrolment.json"
    SPOOL = "a unit's spool", "plateseal spool list --config FILE, with the unit's file"
    STATE = "a unit's state directory", "plateseal status --config FILE, with the unit's file"
    FLEET = "a fleet's files", "plateseal config check {}"
    EXPORT = "an exported read", "read {}/VERIFY.md"

    def __init__(self, words: str, fits: str) -> None:
        self.words = words
        self.fits = fits


_MARKS: Final[tuple[tuple[Kind, tuple[str, ...]], ...]] = (
    (Kind.RECEIVER, ("server.key",)),
    (Kind.RECEIVER, ("receipt.key",)),
    (Kind.COPY, ("envelopes.db",)),
    (Kind.OWNER, ("owner.key",)),
    (Kind.OWNER, ("audit.cose",)),
    (Kind.EXPORT, ("envelope.cose", "VERIFY.md")),
    (Kind.UNIT, ("unit.toml",)),
    (Kind.UNIT, ("identity", "receipt.pub")),
    (Kind.IDENTITY, ("signing.key", "tls.key")),
    (Kind.SPOOL, ("pending", "shredding")),
    (Kind.STATE, ("signing-keys",)),
    (Kind.FLEET, ("cameras",)),
)
"""All names of a row are there: then it is that kind. Receivers come first: their folder may hold a unit's files."""
STORES: Final = (Kind.RECEIVER, Kind.COPY)
UNITS: Final = (Kind.UNIT, Kind.IDENTITY)


def kinds_of(directory: Path) -> list[Kind]:
    """Return what a folder looks like, the surest first; nothing where it is not there, or none of ours."""
    return [kind for kind, names in _MARKS if all((directory / name).exists() for name in names)]


def require_kind(directory: Path, *wanted: Kind) -> None:
    """Refuse a folder that is another kind than one of those wanted.

    Raises:
        UsageError: It is; says which, and what fits there.
    """
    found = kinds_of(directory)
    if found and not set(found) & set(wanted):
        raise UsageError(f"{directory}: is {found[0].words}, not {wanted[0].words}; {_what_fits(found[0], directory)}")


def kind_check(*wanted: Kind) -> Callable[[Path | None], Path | None]:
    """Return the check of an option or argument that takes a folder, or a file in it, for Typer."""

    def check(path: Path | None) -> Path | None:
        if path is not None:
            require_kind(path, *wanted)
        return path

    return check


def require_file(path: Path | None) -> Path | None:
    """Refuse a folder where a unit's configuration file is wanted.

    Raises:
        UsageError: It is a folder; says which file of it, or what the folder is.
    """
    if path is None or not path.is_dir():
        return path
    if (path / "unit.toml").exists():
        raise UsageError(f"{path}: is a unit's folder; name its file: --config {path / 'unit.toml'}")
    found = kinds_of(path)
    what = f"{found[0].words}; {_what_fits(found[0], path)}" if found else "a folder"
    raise UsageError(f"{path}: a unit's configuration is a file (TOML), and this is {what}")


def _what_fits(kind: Kind, directory: Path) -> str:
    return f"this fits there: {kind.fits.format(directory)}"

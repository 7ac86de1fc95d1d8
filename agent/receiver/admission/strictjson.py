"""Small JSON documents from outside: read whole, within a limit, with every surprise refused by name."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Final

from agent.errors import FormatError

MAX_DOCUMENT_BYTES: Final = 16 << 10
"""An enrolment has about 1 kB, a device file 500 bytes."""


def load_document(
    path: Path, *, keys: frozenset[str], what: str, optional: frozenset[str] = frozenset()
) -> dict[str, object]:
    """Read a JSON object that has all of `keys`, and besides them only some of `optional`.

    Raises:
        FormatError: Too long, not one JSON object, or a missing, unknown or repeated key.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(MAX_DOCUMENT_BYTES + 1)
    return parse_document(data, keys=keys, what=what, optional=optional)


def parse_document(
    data: bytes, *, keys: frozenset[str], what: str, optional: frozenset[str] = frozenset()
) -> dict[str, object]:
    """Parse a JSON object that has all of `keys`, and besides them only some of `optional`.

    Raises:
        FormatError: Too long, not one JSON object, or a missing, unknown or repeated key.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise FormatError(f"{what}: longer than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_repeats)
    except _RepeatedKeyError as error:
        raise FormatError(f"{what}: {error}") from None
    except (ValueError, RecursionError):
        raise FormatError(f"{what}: not a JSON document") from None
    if not isinstance(value, dict):
        raise FormatError(f"{what}: not a JSON object")
    for key in sorted(keys - value.keys()):
        raise FormatError(f"{what}: {key!r} is missing")
    for key in sorted(value.keys() - keys - optional):
        raise FormatError(f"{what}: unknown field {key[:40]!r}")
    return value


def text_field(value: dict[str, object], key: str, what: str) -> str:
    """Return a text.

    Raises:
        FormatError: Another type.
    """
    field = value[key]
    if not isinstance(field, str):
        raise FormatError(f"{what}: {key!r} must be a text")
    return field


def bytes_field(value: dict[str, object], key: str, length: int, what: str) -> bytes:
    """Return `length` bytes that are written in base64.

    Raises:
        FormatError: Not base64, or another length.
    """
    try:
        raw = base64.b64decode(text_field(value, key, what), validate=True)
    except (binascii.Error, ValueError):
        raise FormatError(f"{what}: {key!r} must be base64") from None
    if len(raw) != length:
        raise FormatError(f"{what}: {key!r} has {len(raw)} bytes, {length} are needed")
    return raw


def version_field(value: dict[str, object], version: int, what: str) -> None:
    """Refuse a document whose `v` is not `version`.

    Raises:
        FormatError: Another version.
    """
    if type(value["v"]) is not int or value["v"] != version:
        raise FormatError(f"{what}: version {value['v']!r:.20}, only {version} is allowed")


class _RepeatedKeyError(ValueError):
    """A JSON object names a key twice, and readers disagree on which one counts."""


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value: dict[str, object] = {}
    for key, part in pairs:
        if key in value:
            raise _RepeatedKeyError(f"{key[:40]!r} is there twice")
        value[key] = part
    return value

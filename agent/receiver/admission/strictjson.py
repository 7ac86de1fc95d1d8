"""Small JSON documents from outside: read whole, within a limit, with every surprise refused by name.

Owns: the limit, the refusal of repeated keys, the kinds of fields that JSON has no type for, and the one line that says
what is wrong. Leaves to others: which fields a document has (a subclass of `Document`), and what they mean.
"""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from agent.errors import FormatError

MAX_DOCUMENT_BYTES: Final = 16 << 10
"""An enrolment has about 1 kB."""
_WORDS: Final = {
    "missing": "{name} is missing",
    "extra_forbidden": "unknown field {name}",
    "string_type": "{name} must be a text",
    "string_pattern_mismatch": "{name} must match {pattern}",
    "model_type": "not a JSON object",
    "value_error": "{name} {error}",
}


class Document(BaseModel):
    """A JSON object with exactly the fields of its subclass, none of which is converted from another type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


Form = TypeVar("Form", bound=Document)


def parse_document(data: bytes, form: type[Form], *, what: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> Form:
    """Parse a document of at most `max_bytes`.

    Raises:
        FormatError: It is too long, not one JSON object, names a key twice, or is not as `form` says; the message
            begins with `what` and names the first wrong field.
    """
    if len(data) > max_bytes:
        raise FormatError(f"{what}: longer than {max_bytes} bytes")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_repeats)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no character
        return form.model_validate(value)
    except _RepeatedKeyError as error:
        raise FormatError(f"{what}: {error}") from None
    except ValidationError as error:
        raise FormatError(f"{what}: {_explained(error.errors(include_url=False)[0])}") from None
    except (ValueError, RecursionError):
        raise FormatError(f"{what}: not a JSON document") from None


def base64_of(length: int) -> BeforeValidator:
    """Return what turns base64 text into `length` bytes, for a field of type `bytes`; each byte string has one text."""

    def decode(field: object) -> bytes:
        text = _text(field)
        try:
            raw = base64.b64decode(text, validate=True)
        except ValueError:  # binascii.Error is one
            raise ValueError("must be base64") from None
        if base64.b64encode(raw).decode("ascii") != text:
            raise ValueError("must be base64 whose unused bits are zero")
        if len(raw) != length:
            raise ValueError(f"has {len(raw)} bytes, {length} are needed")
        return raw

    return BeforeValidator(decode)


def version(*allowed: int) -> BeforeValidator:
    """Return what refuses every other version, for a field of type `int`. `Literal[1]` would take `true` and 1.0."""

    def check(field: object) -> int:
        if type(field) is not int or field not in allowed:
            words = f"{' and '.join(map(str, allowed))} {'is' if len(allowed) == 1 else 'are'} allowed"
            raise ValueError(f"is version {field!r:.20}, only {words}")
        return field

    return BeforeValidator(check)


def _moment(field: object) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(field))
    except ValueError:
        raise ValueError("must be a time in ISO 8601") from None
    if moment.tzinfo is None:
        raise ValueError("must have a time zone")
    if moment.astimezone(UTC).isoformat(timespec="seconds") != field:
        raise ValueError("must be in UTC and whole seconds, as in 2026-11-30T08:15:00+00:00")
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]
"""A time in UTC, whole seconds, as text in the one form of ISO 8601 that plateseal writes."""


def _text(field: object) -> str:
    if not isinstance(field, str):
        raise PydanticCustomError("string_type", "must be a text")
    return field


def _explained(fault: ErrorDetails) -> str:
    name = repr(str(fault["loc"][0])[:40]) if fault["loc"] else ""
    words = _WORDS.get(fault["type"], "{name}: {msg}")
    return words.format(name=name, msg=fault["msg"], **fault.get("ctx", {})).lstrip()


class _RepeatedKeyError(ValueError):
    """A JSON object names a key twice, and readers disagree on which one counts."""


def _no_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value: dict[str, object] = {}
    for key, part in pairs:
        if key in value:
            raise _RepeatedKeyError(f"{key[:40]!r} is there twice")
        value[key] = part
    return value

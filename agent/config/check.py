"""From a table to a unit's configuration, or to everything that is wrong with it, in words for whoever wrote it.

Owns: how a mistake is told (file, line, key, what is there, what is allowed), and which texts are paths. Leaves to
others: what is allowed (`models`, `contradictions`) and where tables come from (`load`, `fleet`, `bundle`).

Invariant: no message shows a value that may be a secret.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agent.config.contradictions import contradictions
from agent.config.credentials import credential_name, is_credential, resolve_credential
from agent.config.document import Document, Place, Table, reach
from agent.config.models import SourceConfig, UnitConfig, is_file_uri
from agent.errors import ConfigError

MAX_SHOWN_CHARS: Final = 60
MISSING: Final = "is missing"
_SECRET_NAME: Final = re.compile(r"passw|secret|token|credential|api_?key|private", re.IGNORECASE)
_SECRET_TEXT: Final = re.compile(r"://|-----BEGIN|\n|user-pw", re.IGNORECASE)
"""URLs may carry a password anywhere; keys are text of several lines."""
_NO_PATH: Final = re.compile(r"-----BEGIN|[\n\0]")
"""A key where a path should be."""
_NO_FILE: Final = re.compile(r"\A[^/]*:|\A[A-Za-z0-9+][A-Za-z0-9+/]{39,}={0,2}\Z")
"""`USER:PASSWORD`, or a key's Base64, where a file's path should be; a relative path with a colon in its first part is
written with `./`, as in URLs (RFC 3986, 4.2)."""

_POLYGON: Final = "polygon"
_OUT_OF_RANGE: Final = ("less_than_equal", "greater_than_equal")
_SHARES: Final = (
    "a corner is two shares of the picture, each from 0 to 1: right from its left edge, down from its upper edge. From "
    "pixels: divide the first by the picture's width, the second by its height (640 of 1280 is 0.5)"
)

Locate = Callable[[Place], tuple[Path, int | None]]
"""Returns the file and the line of a setting, or of where it is missing."""
PathRule = Callable[[str], Path]
"""Returns the path that a text stands for. Raises `ConfigError` where it may stand for none."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        file: The file that the mistake is in.
        line: On which line, from 1; None where the whole file is meant.
        key: The setting, with its section.
        message: What is there and what is allowed.
    """

    file: Path
    line: int | None
    key: str
    message: str

    def __str__(self) -> str:
        """As compilers write it, so that editors find the place."""
        line = "" if self.line is None else f":{self.line}"
        return f"{self.file}{line}: {self.key}: {self.message}"


def check_table(table: Table, locate: Locate, rule: PathRule) -> tuple[UnitConfig | None, list[Problem]]:
    """Check a unit's settings.

    Args:
        table: All layers, merged.
        locate: Where each stands.
        rule: What paths may be.

    Returns:
        The configuration, None if anything is wrong; and everything that is wrong.
    """
    found: list[tuple[Place, str]] = []
    resolved = _with_paths(UnitConfig, table, rule, (), found)
    unit: UnitConfig | None = None
    try:
        unit = UnitConfig.model_validate(resolved)
    except ValidationError as error:
        found += _explained(error, table)
    else:
        found += contradictions(unit)
    problems = [Problem(*locate(place), key_of(place) or "the file", message) for place, message in found]
    return (None if problems else unit), problems


def key_of(place: Place) -> str:
    """Write a place as a person does: `spool.max_bytes`, `camera.0.source`."""
    return ".".join(map(str, place))


def in_document(document: Document) -> Locate:
    """Locate settings in one file."""
    return lambda place: (document.path, document.line_of(place))


def beside(base: Path) -> PathRule:
    """Take relative paths relative to `base`, and `credential:NAME` as what systemd has given this service."""
    return lambda text: resolve_credential(text) if is_credential(text) else base / text


def on_any_machine(text: str) -> Path:
    """Take paths as those of a unit far away: absolute, or `credential:NAME`, which is left as it is.

    Raises:
        ConfigError: It is relative, or the credential's name is none.
    """
    if is_credential(text):
        credential_name(text)
    elif not Path(text).is_absolute():
        raise ConfigError("is a relative path; a unit's must be absolute, or credential:NAME")
    return Path(text)


def on_this_unit(text: str) -> Path:
    """As `on_any_machine`, on the unit itself: credentials are resolved."""
    path = on_any_machine(text)
    return resolve_credential(text) if is_credential(text) else path


def shown(value: object, key: str) -> str:
    """Return a value as a message may have it: short, and nothing that could be a secret."""
    if isinstance(value, dict):
        return "a section"
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "a list of sections"
    if _SECRET_NAME.search(key) or (isinstance(value, str) and _SECRET_TEXT.search(value)):
        return f"{type(value).__name__} (not shown)"
    text = repr(value)
    if isinstance(value, list) and _SECRET_TEXT.search(text):
        return "a list (not shown)"
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}.."


def sections_of(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the section that a setting's type is or holds."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Annotated, Union, types.UnionType, tuple, list):
        for part in get_args(annotation):
            yield from sections_of(part)


def section_at(place: Place) -> type[BaseModel] | None:
    """Return the model of the section at a place, None where there is none."""
    model: type[BaseModel] | None = UnitConfig
    for part in place:
        if model is None or isinstance(part, int):
            continue
        info = model.model_fields.get(part)
        model = None if info is None else next(sections_of(info.annotation), None)
    return model


def _is_path(annotation: object) -> bool:
    return annotation is Path or Path in get_args(annotation)


def _with_paths(
    model: type[BaseModel], table: Table, rule: PathRule, at: Place, found: list[tuple[Place, str]]
) -> Table:
    """Turn texts that stand for paths into paths, section by section; add what is wrong with them to `found`."""
    resolved: Table = {}
    for key, value in table.items():
        place = (*at, key)
        annotation = model.model_fields[key].annotation if key in model.model_fields else None
        section = next(sections_of(annotation), None)
        if section is not None and isinstance(value, dict):
            resolved[key] = _with_paths(section, value, rule, place, found)
        elif section is not None and isinstance(value, list):
            resolved[key] = [
                _with_paths(section, item, rule, (*place, index), found) if isinstance(item, dict) else item
                for index, item in enumerate(value)
            ]
        elif isinstance(value, str) and value and _is_path(annotation):
            resolved[key] = _path(value, rule, place, found)
        elif isinstance(value, str) and model is SourceConfig and key == "uri" and is_file_uri(value):
            resolved[key] = str(_path(value, rule, place, found))
        else:
            resolved[key] = value
    return resolved


def _path(text: str, rule: PathRule, place: Place, found: list[tuple[Place, str]]) -> Path:
    is_uri = place[-1] == "uri"
    if _NO_PATH.search(text) or (_NO_FILE.search(text) and not is_uri and not is_credential(text)):
        what = "a camera's USER:PASSWORD" if place[-1] == "credential" else "a key or secret"
        found.append((place, f"is no path; {what} lies in a file of its own, and its path stands here"))
        return Path("/")
    try:
        return rule(text)
    except ConfigError as error:
        found.append((place, str(error)))
        return Path(text)


def _explained(error: ValidationError, table: Table) -> list[tuple[Place, str]]:
    """Return each wrong place once, with all that pydantic says of it."""
    told: dict[Place, list[str]] = {}
    for detail in _without_echoes(error.errors(include_url=False)):
        place = _place_in(table, detail)
        if _POLYGON in place and detail["type"] in _OUT_OF_RANGE:
            place = place[: place.index(_POLYGON) + 1]
            told.setdefault(place, [f"has {detail['input']!r} in it; {_SHARES}"])
        else:
            told.setdefault(place, []).append(_message(detail, place))
    return [(place, _joined(table, place, messages)) for place, messages in told.items()]


def _without_echoes(details: list[ErrorDetails]) -> Iterator[ErrorDetails]:
    """Leave out that a list is too short where that is so only because its members are wrong."""
    for detail in details:
        place = detail["loc"]
        inside = [each for each in details if each is not detail and each["loc"][: len(place)] == place]
        if detail["type"] != "too_short" or not inside:
            yield detail


def _place_in(table: Table, detail: ErrorDetails) -> Place:
    """Cut from a location what is no key but the member of a union that was tried."""
    place = detail["loc"]
    return place if detail["type"] == "missing" else place[: reach(table, place)[0]]


def _message(detail: ErrorDetails, place: Place) -> str:
    match detail["type"]:
        case "missing":
            return MISSING
        case "extra_forbidden":
            return _no_such_setting(place)
        case "string_pattern_mismatch":
            return "should be a-z, 0-9, '.', '_', '-', with a letter or digit first"
        case "model_type" | "dict_type" | "tuple_type" as kind:
            return _shape(place, is_list=kind == "tuple_type")
        case _:
            text = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
            return text[:1].lower() + text[1:]


def _shape(place: Place, *, is_list: bool) -> str:
    key = key_of(place)
    if not is_list:
        return f"should be a section, [{key}]"
    return "should be a list" if section_at(place) is None else f"should be sections, each [[{key}]]"


def _joined(table: Table, place: Place, messages: list[str]) -> str:
    """Put what is there before what is allowed, where it is a single value."""
    first, *others = dict.fromkeys(messages)
    message = " or ".join([first, *(other.removeprefix("should be ") for other in others)])
    depth, value = reach(table, place)
    if depth < len(place) or not place or isinstance(value, dict) or not message.startswith(("should", "must")):
        return message
    return f"is {shown(value, key_of(place))}; {message}"


def _no_such_setting(place: Place) -> str:
    name, model = str(place[-1]), section_at(place[:-1])
    names = list(model.model_fields) if model is not None else []
    if _SECRET_NAME.search(name) and name not in names:
        return "no such setting; a secret lies in a file of its own, and its path or credential:NAME stands here"
    near = difflib.get_close_matches(name, names, n=1)
    elsewhere = [f"[{key}]" for key, info in UnitConfig.model_fields.items() if name in _names(info.annotation)]
    if near:
        return f"no such setting; did you mean {near[0]}?"
    if name in UnitConfig.model_fields and len(place) > 1:
        return f"no such setting; {name} stands at the top of the file, before any [section]"
    if elsewhere:
        return f"no such setting; {name} belongs into {' or '.join(elsewhere)}"
    return f"no such setting; allowed are {', '.join(names)}"


def _names(annotation: object) -> frozenset[str]:
    return frozenset(name for section in sections_of(annotation) for name in section.model_fields)

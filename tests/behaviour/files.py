"""What lies in a folder: paths, modes, and what kind of content each file has, without the content that varies.

A file is told by what it is, whatever its name: JSON with its keys, CBOR with its maps' keys, a database with its
tables, a PEM file with its labels, metrics with their names, and text with its lines.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import cbor2

from tests.behaviour.plain import Plain

MAX_SHOWN_LINES: Final = 200
"""Of one text file; the longest is VERIFY.md of an export."""
BY_TIME: Final = ("health",)
"""Tables whose rows are not told: the first health report goes out seconds after a start, if upload still runs then."""
_CONTENT: Final = re.compile(r"^application/plateseal")
SIGN1: Final = 18
_COSE: Final = {16: "Encrypt0", SIGN1: "Sign1", 96: "Encrypt"}


def describe_tree(folder: Path, plain: Plain) -> dict[str, list[str]]:
    """Return lines about each file and folder below `folder`, by the path without what varies.

    Several files whose paths differ only in ids are told once, with how many they are.
    """
    found: dict[str, list[list[str]]] = {}
    for path in sorted(folder.rglob("*")):
        name = plain.text(path.relative_to(folder).as_posix())
        found.setdefault(name, []).append(_describe(path, plain))
    return {name: _together(each) for name, each in found.items()}


def _together(descriptions: list[list[str]]) -> list[str]:
    kinds = sorted(set(map(tuple, descriptions)))
    return [f"{len(descriptions)} of this name", *(line for kind in kinds for line in kind)]


def _describe(path: Path, plain: Plain) -> list[str]:
    status = path.lstat()
    mode = f"mode {stat.S_IMODE(status.st_mode):04o}"
    if not stat.S_ISREG(status.st_mode):
        return [f"folder, {mode}" if stat.S_ISDIR(status.st_mode) else f"{stat.filemode(status.st_mode)[0]}, {mode}"]
    kind, lines = _content(path, plain)
    return [f"{kind}, {mode}", *lines]


def _content(path: Path, plain: Plain) -> tuple[str, list[str]]:
    data = path.read_bytes()
    tellers: tuple[tuple[str, Callable[[], list[str]]], ...] = (
        ("database", lambda: _database(path, plain)),
        ("JSON", lambda: _json(data, plain)),
        ("PEM", lambda: _pem(data)),
        ("metrics", lambda: _metrics(data, plain)),
        ("CBOR", lambda: _cbor(data, plain)),
        ("text", lambda: _text(data, plain)),
    )
    if not data:
        return "empty", []
    for kind, tell in tellers:
        try:
            return kind, tell()
        except (ValueError, sqlite3.DatabaseError, EOFError):
            continue
    return f"other bytes {data[:4].hex() if data[:1] != b'0' else 'DER'}", []


def _json(data: bytes, plain: Plain) -> list[str]:
    """Return the lines of an object; a list is a daemon's snapshot, whose form is promised to nobody."""
    value = json.loads(data)
    return plain.json_lines(value) if isinstance(value, dict) else []


def _pem(data: bytes) -> list[str]:
    labels = re.findall(r"^-----BEGIN ([A-Z0-9 ]+)-----$", data.decode("ascii"), re.MULTILINE)
    if not labels:
        raise ValueError("no PEM")
    return labels


def _metrics(data: bytes, plain: Plain) -> list[str]:
    text = data.decode()
    if not text.startswith("# HELP"):
        raise ValueError("no metrics")
    return sorted({plain.text(re.sub(r" \S+$", " <number>", line)) for line in text.splitlines() if line[0] != "#"})


def _text(data: bytes, plain: Plain) -> list[str]:
    text = data.decode()
    if not text.isprintable() and not re.fullmatch(r"[^\x00-\x08\x0e-\x1f]*", text):
        raise ValueError("no text")
    return plain.lines(text)[:MAX_SHOWN_LINES]


def _database(path: Path, plain: Plain) -> list[str]:
    """Look at a copy, because whoever opens a database may change it; with what waits in its log."""
    with path.open("rb") as stream:
        if stream.read(16) != b"SQLite format 3\0":
            raise ValueError("no database")
    with tempfile.TemporaryDirectory() as folder:
        for part in path.parent.glob(f"{path.name}*"):
            shutil.copy(part, folder)
        with closing(sqlite3.connect(Path(folder) / path.name)) as database:
            return list(_tables(database, plain))


def _tables(database: sqlite3.Connection, plain: Plain) -> Iterator[str]:
    for pragma in ("application_id", "user_version", "journal_mode"):
        yield f"{pragma} {database.execute(f'PRAGMA {pragma}').fetchone()[0]}"
    for name, sql in database.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name"):
        yield re.sub(r"\s+", " ", sql)
        if sql.upper().startswith("CREATE TABLE") and name not in BY_TIME:
            rows = database.execute(f'SELECT * FROM "{name}"').fetchall()  # noqa: S608  a name from the database itself
            yield f"{name}: {len(rows)} rows"
            yield from sorted({f"{name}: {_cell(cell, plain)}" for row in rows for cell in row})


def _cell(cell: object, plain: Plain) -> str:
    if not isinstance(cell, bytes):
        return type(cell).__name__ if isinstance(cell, int | float) else plain.text(str(cell))
    try:
        return "; ".join(_cbor(cell, plain))
    except (ValueError, EOFError):
        return f"{len(cell)} bytes"


def _cbor(data: bytes, plain: Plain) -> list[str]:
    """Return the form of each item of a sequence of CBOR items, of which one is enough."""
    stream, forms = io.BytesIO(data), set()
    while stream.tell() < len(data):
        item = cbor2.load(stream)
        if not isinstance(item, cbor2.CBORTag | dict | list):
            raise ValueError("CBOR that says nothing: any byte may be some")  # noqa: TRY004  as of other forms
        forms.add(_form(item, plain))
    return sorted(forms)


def _form(value: Any, plain: Plain) -> str:
    """Return what a CBOR value is made of: keys and types, and what the signed and sealed parts hold."""
    match value:
        case cbor2.CBORTag(tag=tag, value=[bytes() as protected, dict() as unprotected, payload, *rest]):
            inside = _form(_payload(protected, payload) if tag == SIGN1 else payload, plain)
            header = _form(cbor2.loads(protected), plain) if protected else "-"
            others = ", ".join(_form(one, plain) for one in rest)
            return f"{_COSE.get(tag, tag)}({header} | {_form(unprotected, plain)} | {inside} | {others})"
        case dict():
            return "{" + ", ".join(f"{key!r}: {_form(inner, plain)}" for key, inner in value.items()) + "}"
        case list() if value:
            return "[" + ", ".join(dict.fromkeys(_form(one, plain) for one in value)) + "]"
        case bytes():
            return f"{len(value)} bytes" if len(value) <= 64 else "bytes"
        case str():
            return json.dumps(plain.text(value))
        case _:
            return type(value).__name__


def _payload(protected: bytes, payload: Any) -> Any:
    """Return what a signed message holds, where its header says that it is a message of ours."""
    header = cbor2.loads(protected) if protected else {}
    is_ours = isinstance(header.get(3), str) and _CONTENT.match(header[3]) is not None
    if not (is_ours and isinstance(payload, bytes)):
        return payload
    return cbor2.loads(payload)

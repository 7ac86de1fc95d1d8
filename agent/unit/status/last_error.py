"""The newest error line of each daemon: for health reports and `plateseal status`, which are other processes' work.

Owns: the note, `last-error-capture.json` and `last-error-upload.json` in the state directory. It says what went to the
log anyway, which holds no plate text and no key. It is not synced: after a power cut an old line, or none, will do.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from agent.disk.durable import replace_unsynced
from agent.errors import PlatesealError, SpoolHeldError
from agent.wire.health import LastError, one_line

MAX_NOTE_BYTES: Final = 4096


class ErrorNote(logging.Handler):
    """Keeps the newest error line of this process in a file, or the newest line that is marked `noted`."""

    def __init__(self, path: Path) -> None:
        """Write to `path` from now on."""
        super().__init__(level=logging.WARNING)
        self.addFilter(lambda record: record.levelno >= logging.ERROR or getattr(record, "noted", False))
        self._path = path

    def emit(self, record: logging.LogRecord) -> None:
        """Note one record."""
        self.note(record.getMessage())

    def note(self, text: str) -> None:
        """Note an error. A disk that refuses is left alone."""
        moment = datetime.now(UTC).isoformat(timespec="milliseconds")
        with suppress(OSError):
            replace_unsynced(self._path, json.dumps({"at": moment, "line": one_line(text)}).encode())


@contextmanager
def noted_errors(state_dir: Path, daemon: str) -> Iterator[None]:
    """Note what is logged as an error meanwhile, and the error that ends the daemon.

    A second daemon beside the unit's own ends at once, which is no error of the unit's: it leaves no note.
    """
    handler = ErrorNote(_path(state_dir, daemon))
    logging.getLogger("agent").addHandler(handler)  # not the root: `basicConfig` leaves a root that has one alone
    try:
        yield
    except SpoolHeldError:
        raise
    except PlatesealError as error:
        handler.note(f"{daemon} ended: {error}")
        raise
    finally:
        logging.getLogger("agent").removeHandler(handler)


def last_error(state_dir: Path) -> LastError | None:
    """Return the newest note of the daemons; None where there is none that can be read."""
    found = [note for daemon in ("capture", "upload") if (note := _read(_path(state_dir, daemon))) is not None]
    return max(found, key=lambda note: note.at, default=None)


def ended_with(state_dir: Path, daemon: str) -> LastError | None:
    """Return the error that ended a daemon, where that is the newest note of it."""
    note = _read(_path(state_dir, daemon))
    return note if note is not None and note.line.startswith(f"{daemon} ended: ") else None


def _path(state_dir: Path, daemon: str) -> Path:
    return state_dir / f"last-error-{daemon}.json"


def _read(path: Path) -> LastError | None:
    try:
        with path.open(encoding="utf-8") as file:
            value = json.loads(file.read(MAX_NOTE_BYTES))
        at = datetime.fromisoformat(value["at"])
        return LastError(at.astimezone(UTC), one_line(value["line"])) if at.tzinfo else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None

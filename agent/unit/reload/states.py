"""What one daemon of a unit runs on, remembered durably: `config-capture.json`, `config-upload.json` in the state
directory.

States of a bundle, and the one write that moves it. Whoever looks, also after a power cut, finds the note before or
the note after.

| from | to | write |
|---|---|---|
| in the incoming path | on trial | `trial` is the bundle, `newest` its serial |
| on trial | good, in use | `good` is the bundle, `trial` is none |
| on trial | rejected | `trial` is none, `rejected` says why; its serial stays used up |
| in the incoming path | refused | `rejected` says why; it may be tried again, for what it needs may come later |

A start counts itself while a bundle is on trial: one that ends every start before it has worked is rejected, one that
a power cut interrupted is tried again.

Owns: the note. Leaves to others: what is good (`agent.unit.reload.trial`). Each daemon has a note of its own, so
neither waits for the other; the bundles in it are checked anew at every start.
"""

from __future__ import annotations

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from agent.config.bundle import MAX_BUNDLE_BYTES
from agent.disk.notes import replace_note
from agent.errors import FormatError, SpoolError, SpoolMissingError
from agent.ports import Disk

MAX_NOTE_BYTES: Final = 8 * MAX_BUNDLE_BYTES
"""Two bundles, whose bytes JSON may make longer."""
MAX_REASON_CHARS: Final = 500
DAEMONS: Final = ("capture", "upload")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ConfigNote:
    """The note.

    Attributes:
        newest: The highest serial that was ever tried; 0 before the first.
        good: The last bundle that worked, whole; None while the unit's own file rules.
        trial: The bundle that has yet to work.
        starts: Starts of the daemon since it is on trial.
        rejected_serial: Of the last bundle that was refused or rejected; None where none was, or it says none.
        rejected: Why, in one line; None once a newer one is good.
    """

    newest: int = 0
    good: str | None = None
    trial: str | None = None
    starts: int = 0
    rejected_serial: int | None = None
    rejected: str | None = None


class ConfigNoteFile:
    """The note of one daemon. Not safe for threads.

    Attributes:
        note: As it is on the disk.
    """

    def __init__(self, state_dir: Path, daemon: str, files: Disk) -> None:
        """Read the note; one that is damaged is none, and is told of."""
        self.path = state_dir / note_name(daemon)
        self._files = files
        self.note = ConfigNote()
        try:
            self.note = _load(self.path, files)
        except (SpoolError, FormatError) as error:
            _log.error("%s: %s; the unit's own file rules until the next bundle comes", self.path, error)

    def replace(self, note: ConfigNote) -> None:
        """Replace the note, durably.

        Raises:
            SpoolError: The disk refused. The note is the old one or the new one, and counts as the old one.
        """
        if note != self.note:
            replace_note(self._files, self.path, json.dumps(asdict(note)).encode())
            self.note = note


def note_name(daemon: str) -> str:
    """Return the name of a daemon's note in the state directory."""
    return f"config-{daemon}.json"


def read_note(path: Path, files: Disk) -> ConfigNote:
    """Return a daemon's note; an empty one where there is none, or where it cannot be used."""
    try:
        return _load(path, files)
    except (SpoolError, FormatError):
        return ConfigNote()


def _load(path: Path, files: Disk) -> ConfigNote:
    """Return a note; an empty one where there is none.

    Raises:
        SpoolError: The disk refused.
        FormatError: It is damaged.
    """
    try:
        data = files.read(path, limit_bytes=MAX_NOTE_BYTES)
        note = ConfigNote(**json.loads(data))
    except SpoolMissingError:
        return ConfigNote()
    except (ValueError, TypeError, RecursionError):
        raise FormatError("damaged") from None
    if not _is_sound(note):
        raise FormatError("damaged")
    return note


def _is_sound(note: ConfigNote) -> bool:
    return (
        all(type(number) is int and number >= 0 for number in (note.newest, note.starts))
        and all(text is None or isinstance(text, str) for text in (note.good, note.trial, note.rejected))
        and (note.rejected_serial is None or type(note.rejected_serial) is int)
    )

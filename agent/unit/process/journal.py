"""Log lines as the journal wants them: with their priority where they go to journald, with their level elsewhere.

Owns: the format. Leaves to others: what is logged. systemd takes `<N>` at a line's beginning for its priority
(sd-daemon(3), RFC 5424 section 6.2.1), so `journalctl -p err` finds what went wrong; journald adds time, unit and
process itself.
"""

from __future__ import annotations

import logging
import os
from typing import IO, Final

STREAM_VARIABLE: Final = "JOURNAL_STREAM"
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG: Final = 7


class JournalFormatter(logging.Formatter):
    """One prefix for each line, also for the lines of a long message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines of a record."""
        return with_priority(super().format(record), record.levelno)


def with_priority(text: str, level: int) -> str:
    """Return `text` with the priority of a log level before each line."""
    priority = next((number for least, number in _PRIORITIES if level >= least), _DEBUG)
    return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def goes_to_journal(stream: IO[str]) -> bool:
    """Whether a stream is the one that systemd has connected to the journal (systemd.exec(5), JOURNAL_STREAM)."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get(STREAM_VARIABLE) == f"{status.st_dev}:{status.st_ino}"


def log_to(stream: IO[str]) -> None:
    """Send what is logged to a stream, in the form that fits it; where nobody has sent it to another one before."""
    root = logging.getLogger()
    if any(isinstance(handler, logging.StreamHandler) for handler in root.handlers):
        return
    handler = logging.StreamHandler(stream)
    if goes_to_journal(stream):
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.INFO)

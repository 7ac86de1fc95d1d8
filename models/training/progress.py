"""One way to tell the person who waits how far it is."""

from __future__ import annotations

import sys


def say(line: str) -> None:
    """Write a line to standard output at once, also into a pipe."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()

"""Where rows work: in memory where the disk plays no part, on the checkout's disk where it is what is measured."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

MEMORY: Final = Path("/dev/shm")
ON_DISK: Final = Path("build")
"""/tmp may be memory, where a sync costs nothing."""


def quick_folder(row: str) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder in memory, if this machine has such a file system.

    For everything but power cuts it is a file system like any other: what a killed process has written stays.
    """
    return tempfile.TemporaryDirectory(prefix=f"{row}-", dir=MEMORY if MEMORY.is_dir() else None)


def disk_folder(row: str) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder beside the sources."""
    ON_DISK.mkdir(exist_ok=True)
    return tempfile.TemporaryDirectory(prefix=f"{row}-", dir=ON_DISK.resolve())

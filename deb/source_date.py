"""Says when the source is from, in seconds since 1970: the one time that everything built from it carries.

`SOURCE_DATE_EPOCH` if it is set; else the last commit's time; else, in an unpacked source archive, the time of
CHANGELOG.md, which the archive keeps.

Usage: python -m deb.source_date
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]


def source_date(root: Path = ROOT) -> int:
    """Return the time of the source in `root`."""
    named = os.environ.get("SOURCE_DATE_EPOCH")
    if named:
        return int(named)
    committed = _last_commit(root) if (root / ".git").exists() else ""
    return int(committed or (root / "CHANGELOG.md").stat().st_mtime)


def _last_commit(root: Path) -> str:
    """Return the last commit's time; nothing where git is missing or refuses the folder."""
    command = ["git", "-C", str(root), "log", "-1", "--format=%ct"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  our own arguments
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    print(source_date())  # noqa: T201  what it is for

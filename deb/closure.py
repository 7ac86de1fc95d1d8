"""Checks that every runtime dependency, and all that these need, has a wheel for 64-bit ARM; installs nothing.

Usage: python -m deb.closure [3.11 3.13]
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from deb.build import ROOT, platform_options

PYTHONS: Final = ("3.11", "3.13")
"""Debian 12 and Raspberry Pi OS on it; Debian 13."""


def closure(python: str) -> list[str]:
    """Return the names and versions of all wheels that a unit with this Python needs.

    Raises:
        subprocess.CalledProcessError: One has no wheel; pip says which.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--disable-pip-version-check"]
        command += ["--target", scratch, "--report", str(report), "-c", str(ROOT / "constraints.txt")]
        command += [*platform_options("arm64", python), *project["dependencies"]]
        subprocess.run(command, check=True)  # noqa: S603  our own arguments
        wanted = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return sorted(f"{entry['name']} {entry['version']}" for entry in wanted)


def main() -> None:
    """Check each Python, and print what was found."""
    for python in sys.argv[1:] or PYTHONS:
        print(f"aarch64, Python {python}: {len(closure(python))} wheels, none missing")  # noqa: T201  what it is for


if __name__ == "__main__":
    main()

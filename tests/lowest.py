"""Prints the lowest version of each library that `pyproject.toml` allows, as constraints for pip.

`python -m tests.lowest [EXTRA ...]`, with the extras whose libraries belong to it as well.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


def requirements(*extras: str) -> list[Requirement]:
    """Return what `pyproject.toml` asks for, and the libraries of these extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    groups = [project["dependencies"], *(project["optional-dependencies"][extra] for extra in extras)]
    return [Requirement(line) for group in groups for line in group]


def lowest(requirement: Requirement) -> str:
    """Return the version after `>=`, which each library must have exactly once."""
    (bound,) = (specifier.version for specifier in requirement.specifier if specifier.operator == ">=")
    return bound


if __name__ == "__main__":
    for wanted in requirements(*sys.argv[1:]):
        sys.stdout.write(f"{wanted.name}=={lowest(wanted)}\n")

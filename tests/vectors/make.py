"""Writes the test vectors: the same bytes each time.

    python -m tests.vectors.make [FOLDER]

FOLDER is `tests/vectors` if left out. Files of vectors that are no more are removed.
"""

from __future__ import annotations

import sys
from itertools import chain
from pathlib import Path

from tests.vectors import (
    cases_bundle,
    cases_device,
    cases_enrolment,
    cases_envelope,
    cases_export,
    cases_health,
    cases_key_files,
    cases_owner,
    cases_plaintext,
    cases_probe,
    cases_recipients,
    cases_record,
    cases_version_2,
)
from tests.vectors.vector import Vector

FOLDER = Path(__file__).parent
CASES = (
    cases_envelope,
    cases_recipients,
    cases_plaintext,
    cases_device,
    cases_owner,
    cases_key_files,
    cases_version_2,
    cases_probe,
    cases_health,
    cases_enrolment,
    cases_record,
    cases_bundle,
    cases_export,
)


def vectors() -> dict[str, Vector]:
    """Return every vector by its file.

    Raises:
        ValueError: Two have one name.
    """
    made: dict[str, Vector] = {}
    for vector in chain.from_iterable(cases.vectors() for cases in CASES):
        if vector.file in made:
            raise ValueError(f"two vectors are {vector.file}")
        made[vector.file] = vector
    return made


def write(folder: Path) -> int:
    """Write every vector into a folder, remove other files of vectors there, and return how many there are."""
    made = vectors()
    for path in folder.glob("*/*.json"):
        if "js" not in path.parts and path.relative_to(folder).as_posix() not in made:
            path.unlink()
    for file, vector in made.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(vector.text())
    return len(made)


if __name__ == "__main__":
    sys.stdout.write(f"{write(Path(sys.argv[1]) if sys.argv[1:] else FOLDER)} vectors\n")

"""The test vectors of export folders, judged by the VERIFY.md that is written for such a folder.

Apart from the other vectors, as its steps need the `cwt` library.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.vectors import make, product


def misjudged(file: Path, folder: Path) -> str:
    """Return what VERIFY.md comes to where that is not what a vector expects; it gives no reasons."""
    vector = json.loads(file.read_text())
    expected = vector["expect"]
    expected.pop("cause", None)
    folder.mkdir()
    found, says = product.judge("export", product.data_of(vector), vector["context"], folder)
    return "" if found == expected else f"{file.stem}: {found} {says}"


def test_verify_md_judges_as_the_files_expect(tmp_path: Path) -> None:
    """Its steps hold for every right folder, and one of them fails for every wrong one."""
    files = sorted((make.FOLDER / "export").glob("*.json"))
    assert files
    assert [fault for file in files if (fault := misjudged(file, tmp_path / file.stem))] == []

"""The reader of the vectors in JavaScript: another language, other libraries, the same judgement."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.needs import JS_READER

pytestmark = pytest.mark.needs("node", "node-packages")

VECTORS = JS_READER.parent
FILES = sorted(path for path in VECTORS.rglob("*.json") if not path.is_relative_to(JS_READER))


def run_reader(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a person would."""
    command = ["node", str(JS_READER / "reader.js"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_judges_all_as_expected() -> None:
    """Every vector of both versions, each suite and message."""
    run = run_reader(VECTORS)
    assert (run.stdout, run.stderr) == (f"{len(FILES)} vectors, {len(FILES)} as expected\n", "")
    assert run.returncode == 0


def test_it_names_what_is_not_as_expected(tmp_path: Path) -> None:
    """Another expectation in a copy: of a right vector's values, and of a wrong one's cause."""
    copy = tmp_path / "vectors"
    shutil.copytree(VECTORS, copy, ignore=shutil.ignore_patterns("*.py", "js", "__pycache__"))
    for file, change in {
        "envelope/2-right-x25519-a256gcm.json": {"values": {}},
        "keyring/2-epochs-overlap.json": {"cause": "value"},
    }.items():
        vector = json.loads((copy / file).read_text())
        vector["expect"] |= change
        (copy / file).write_text(json.dumps(vector))
    run = run_reader(copy)
    assert run.returncode == 1
    *named, summary = run.stdout.splitlines()
    assert len(named) == 2
    assert summary == f"{len(FILES)} vectors, {len(FILES) - 2} as expected"


def test_a_folder_without_vectors_is_no_success(tmp_path: Path) -> None:
    """A wrong path must not look like everything is right."""
    assert run_reader(tmp_path).returncode == 1

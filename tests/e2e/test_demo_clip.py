"""`plateseal demo` as a new user types it: the clip and the models that come along."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.waiting import WITHIN_S

pytestmark = pytest.mark.e2e


@pytest.mark.needs("campaigns")
def test_the_demo_needs_nothing_but_what_comes_along(tmp_path: Path) -> None:
    """No option, from an empty folder without fetched models: every count agrees, nine of ten vehicles exact."""
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli.main", "demo", "--json", "demo.json"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2]), "XDG_DATA_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads((tmp_path / "demo.json").read_text())
    assert report["passages"] == report["sealed"] == report["acknowledged"] == report["shredded"] == report["opened"]
    assert (report["pending"], report["lost"], report["duplicates"], report["plaintext_hits"]) == (0, 0, 0, 0)
    counted = re.search(r"(\d+) of (\d+) vehicles read exactly", done.stdout)
    assert counted is not None, done.stdout
    exact, vehicles = map(int, counted.groups())
    assert vehicles == 12
    assert exact >= 0.9 * vehicles

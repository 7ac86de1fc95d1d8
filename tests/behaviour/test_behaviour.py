"""What plateseal prints and leaves on the disk is what was recorded when somebody last meant to change it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.behaviour.compare import Difference, differences
from tests.behaviour.scenario import Recording, record

pytestmark = [pytest.mark.e2e, pytest.mark.real_start]

RECORDED: Final = Path(__file__).with_name("recorded.json")
PLATESEAL: Final = Path(sys.executable).parent / "plateseal"


def recorded() -> Recording:
    """Return what plateseal did when it was recorded."""
    recording: Recording = json.loads(RECORDED.read_text())
    return recording


@pytest.mark.needs("campaigns")
def test_behaviour_is_as_recorded(tmp_path: Path) -> None:
    """Every output, exit status and file is the same; a change that is meant is recorded, and read in the diff."""
    found = [str(each) for each in differences(recorded(), record(PLATESEAL, tmp_path))]
    assert found == [], "if it is meant: python -m tests.behaviour record tests/behaviour/recorded.json"


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (".key_id = ", ".kid = "),
        ("exit 11", "exit 1"),
        ("PEM, mode 0600", "PEM, mode 0644"),
        ("'prev': 32 bytes", "'before': 32 bytes"),
        ("12 bytes", "16 bytes"),
    ],
)
def test_a_change_is_found(was: str, now: str) -> None:
    """Another key, exit status, mode, or field of a sealed message anywhere is a difference, and only there."""
    before = recorded()
    after = {where: [line.replace(was, now) for line in lines] for where, lines in before.items()}
    changed = {where for where, lines in before.items() if lines != after[where]}
    found = list(differences(before, after))
    assert changed
    assert {each.where for each in found} == changed


def test_a_file_that_is_gone_or_new_is_found() -> None:
    """Whatever its content is."""
    before = recorded()
    where = "at the end: owner/owner.key"
    after = {name: lines for name, lines in before.items() if name != where} | {"new": ["empty, mode 0600"]}
    assert list(differences(before, after)) == [
        Difference(where, tuple(before[where]), ("<not there>",)),
        Difference("new", ("<not there>",), ("empty, mode 0600",)),
    ]


def test_nothing_of_a_machine_is_recorded() -> None:
    """No path of a machine, no id, no time: a recording is the same wherever it is made."""
    text = RECORDED.read_text()
    assert "<hex 64>" in text
    assert re.search(r"/(tmp|home|root)/|2026-", text) is None

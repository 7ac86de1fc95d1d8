"""The documents say what is so: generated parts, commands with their options, files and names, links, terms."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.documents import DOCS, GENERATED, generated

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", GENERATED)
def test_what_is_generated_is_up_to_date(name: str) -> None:
    """`python -m tests.documents` would change nothing."""
    assert (DOCS / name).read_text() == generated(name), "run: python -m tests.documents"

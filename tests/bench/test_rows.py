"""The rows of `make bench` in reduced form: that they count right, not how fast this machine is."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import clips
from tests.bench.__main__ import ROWS
from tests.torture.campaign import run_row

pytestmark = [pytest.mark.e2e, pytest.mark.real_start]

LONGEST = pytest.mark.needs("campaigns")
NEEDS_SHARED = (
    pytest.param("live-cost", marks=[pytest.mark.needs("rtsp-server"), LONGEST]),
    *(pytest.param(row, marks=LONGEST) for row in ("frame", "car-park", "empty", "public-1", "memory", "memory-4k")),
)


@pytest.fixture(autouse=True)
def own_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make clips in a folder of this test."""
    monkeypatch.setattr(clips, "BUILD", tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        *("sealing", "fleet", "fleet-page", "intake", "line", "open", "one-day"),
        *(pytest.param(row, marks=LONGEST) for row in ("idle", "erasure", "search", "verify", "growth")),
        pytest.param("receivers", marks=[pytest.mark.needs("postgresql"), LONGEST]),
        pytest.param("live", marks=pytest.mark.needs("rtsp-server")),
    ],
)
def test_a_row_holds_at_reduced_size(row: str) -> None:
    """Nothing but this repository is needed, by one row the RTSP server, and by one PostgreSQL."""
    result = run_row(row, ROWS[row], full=False, say=lambda _: None)
    assert result.holds, result.figures


@pytest.mark.needs("shared-data", "shared-models", "shared-tools")
@pytest.mark.parametrize("row", NEEDS_SHARED)
def test_a_row_on_real_pictures_holds_at_reduced_size(row: str) -> None:
    """Vehicles are read, and quiet roads give no passage; ratios of time are for `make bench`."""
    result = run_row(row, ROWS[row], full=False, say=lambda _: None)
    assert result.holds, result.figures

"""Every campaign of `make torture` with reduced counts; some have tests of their own.

Rows that measure judge neither time nor memory here: they find out whether everything arrives.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.__main__ import ROWS
from tests.torture.campaign import run_row
from tests.torture.report import Result, keep_result, load_results

pytestmark = [pytest.mark.e2e, pytest.mark.real_start]

ELSEWHERE = {
    "fuzz": "tests/unit/wire/test_fuzz.py",
    "memory": "tests/e2e/test_memory.py",
    "crash_states": "tests/faults/test_crash_states.py",
}


NEEDS = {
    **dict.fromkeys(
        (
            *("bundles", "backup", "custody", "soak", "hostile", "silent", "bodies", "receipts", "drain"),
            *("backlog", "corruption", "kills", "quota"),
        ),
        pytest.mark.needs("campaigns"),
    ),
    "damaged_stream": pytest.mark.needs("rtsp-server", "campaigns"),
    "store-kills": pytest.mark.needs("postgresql"),
    "slow": pytest.mark.needs("root", "network-namespaces", "campaigns"),
    "forensics": pytest.mark.needs("root", "mkfs.ext4", "mounting", "loop-device", "campaigns"),
}


@pytest.mark.parametrize("row", [pytest.param(row, marks=NEEDS.get(row, ())) for row in ROWS if row not in ELSEWHERE])
def test_a_row_holds_at_reduced_size(row: str) -> None:
    """What `make torture` proves in full."""
    result = run_row(row, ROWS[row], full=False, say=lambda _: None)
    assert result.holds, result.figures


def test_a_campaign_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    """Rows that have ended are kept one by one, the newest of each."""
    path, first = tmp_path / "build" / "results.json", Result("kills", "none lost", "1 lost", False, 1.0)
    keep_result(path, "kills full", first)
    keep_result(path, "proxy full", first)
    better = Result("kills", "none lost", "0 lost", True, 2.0)
    keep_result(path, "kills full", better)
    assert load_results(path) == {"kills full": better, "proxy full": first}
    assert load_results(tmp_path / "nothing.json") == {}

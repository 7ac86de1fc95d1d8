"""What is left of finished reads in a sealing process: a best effort that is measured, not only claimed."""

from __future__ import annotations

import pytest

from tests.torture import memory

pytestmark = [pytest.mark.e2e, pytest.mark.real_start]


@pytest.mark.needs("memory-of-a-child")
def test_freed_reads_leave_no_content_key_and_no_crop() -> None:
    """With freed memory overwritten: neither is found, and a control is."""
    remains = memory.search("freed memory overwritten", reads=20)
    assert remains.found["control"] == remains.of["control"] == 1
    assert (remains.found["key"], remains.of["key"]) == (0, 20)
    assert (remains.found["crop"], remains.of["crop"]) == (0, 20)

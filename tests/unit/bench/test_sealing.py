"""The sealing bench measures what it says; how fast is for a person to read."""

from __future__ import annotations

import pytest

from agent.bench import sealing
from agent.wire import suites


@pytest.mark.parametrize("key_type", list(suites.KeyType))
def test_a_read_grows_by_at_most_1600_bytes(key_type: suites.KeyType) -> None:
    """Overhead per read and recipient, for every suite."""
    row = sealing.measure(key_type, suites.ContentCipher.AES_256_GCM, rounds=1)
    assert 0 < row.overhead_bytes <= 1600
    assert row.reads_per_s > 0
    assert row.bound_per_s > 0

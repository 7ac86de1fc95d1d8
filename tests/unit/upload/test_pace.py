"""Batch size and bandwidth as plain arithmetic, on a clock that the test turns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.upload.pace import LEAST_BYTES, SLICE_S, Bandwidth, BatchSize, LogBudget
from tests.fakes.clock import FakeClock


@pytest.mark.parametrize(
    ("sent_s", "erased_s", "limit"),
    [
        (0.0, 0.0, 32),  # easy: doubled
        (14.9, 0.0, 32),
        (15.0, 0.0, 16),  # a quarter of the time: stays
        (30.0, 0.0, 16),
        (30.1, 0.0, 8),  # more than half: halved
        (0.0, 0.4, 32),
        (0.0, 0.5, 16),
        (0.0, 1.1, 8),
    ],
)
def test_a_batch_grows_only_while_it_is_easy(sent_s: float, erased_s: float, limit: int) -> None:
    """By the line's time out of 60 s, and by the disk's time for erasing out of 2 s."""
    size = BatchSize(most=64, most_bytes=1 << 23, reply_timeout_s=60)
    size.failed(32)
    assert size.limit == 16
    size.worked(16, sent_s=sent_s, erased_s=erased_s)
    assert size.limit == limit


def test_a_batch_stays_between_one_and_the_most() -> None:
    """Whatever happens how often."""
    size = BatchSize(most=6, most_bytes=1 << 23, reply_timeout_s=60)
    assert size.limit == 6
    for _ in range(10):
        size.failed(size.limit)
    assert size.limit == 1
    for _ in range(10):
        size.worked(size.limit, sent_s=0, erased_s=0)
    assert size.limit == 6


def test_the_first_batches_feel_their_way() -> None:
    """Doubled from a few up to the most."""
    size, limits = BatchSize(most=50, most_bytes=1 << 23, reply_timeout_s=60), []
    for _ in range(5):
        limits.append(size.limit)
        size.worked(size.limit, sent_s=0, erased_s=0)
    assert limits == [8, 16, 32, 50, 50]


def test_without_a_limit_nothing_waits() -> None:
    """None is no limit."""
    line = Bandwidth(None, FakeClock())
    line.spend(1 << 40)
    assert line.wait_s() == 0
    assert line.most_bytes(1 << 20) == 1 << 20


@given(
    rate=st.integers(1000, 10**9),
    steps=st.lists(st.tuples(st.integers(1, 1 << 23), st.floats(0, 1000)), min_size=1, max_size=30),
)
def test_no_stretch_of_time_carries_more_than_its_share_and_one_batch(
    rate: int, steps: list[tuple[int, float]]
) -> None:
    """Between any two requests, with any pauses: everything from the first up to the second fits the rate."""
    clock = FakeClock()
    line = Bandwidth(rate, clock)
    sent: list[tuple[float, int]] = []
    for size_bytes, pause_s in steps:
        clock.advance(pause_s)
        clock.advance(line.wait_s())
        sent.append((clock.monotonic_s(), size_bytes))
        line.spend(size_bytes)
    assert len(sent) == len(steps)
    for first, (from_s, _) in enumerate(sent):
        for last in range(first + 1, len(sent)):
            until_s, _ = sent[last]
            carried = sum(size_bytes for _, size_bytes in sent[first:last])
            assert carried <= rate * (until_s - from_s) * (1 + 1e-6) + 1


def test_a_slice_is_ten_seconds_of_the_line() -> None:
    """And never more than the batch may have anyway."""
    line = Bandwidth(2000, FakeClock())
    assert line.most_bytes(1 << 20) == 2000 * SLICE_S
    assert line.most_bytes(500) == 500


def test_lines_come_back_with_the_next_window() -> None:
    """Ten, then none, then ten again, the first of which says how many were held back."""
    clock = FakeClock()
    lines = LogBudget(clock)
    assert [lines.spend() for _ in range(12)] == [0] * 10 + [None, None]
    clock.advance(LogBudget.WINDOW_S)
    assert [lines.spend() for _ in range(3)] == [2, 0, 0]


def test_after_a_break_a_batch_has_at_most_half_of_what_had_gone_out() -> None:
    """Whatever the envelopes' sizes are; easy batches double it again."""
    size = BatchSize(most=64, most_bytes=1 << 20, reply_timeout_s=60)
    size.failed(8)
    assert size.limit_bytes == 1 << 20
    size.failed(4, sent_bytes=100_000)
    assert (size.limit, size.limit_bytes) == (2, 50_000)
    size.failed(2, sent_bytes=0)
    assert (size.limit, size.limit_bytes) == (1, LEAST_BYTES)
    limits = []
    while not size.is_largest:
        size.worked(1, sent_s=1, erased_s=0)
        limits.append(size.limit_bytes)
    assert limits == [LEAST_BYTES << doubling for doubling in range(1, 8)]

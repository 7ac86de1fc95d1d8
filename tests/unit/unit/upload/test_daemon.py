"""The upload daemon's own parts: counting what waits, and waiting for the first signing key."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agent.errors import SpoolError
from agent.records import SpoolEntry, SpoolState, Usage
from agent.unit.status.metrics import MetricsFiles, read_snapshot
from agent.unit.status.samples import Snapshot
from agent.unit.upload.daemon import COUNTING_SHARE, FIRST_COUNT_AFTER_S, SpoolGauges
from tests.fakes.clock import FakeClock


class SlowSpool:
    """A spool that takes a while to count, on a clock that the test turns."""

    def __init__(self, clock: FakeClock, *, takes_s: float) -> None:
        """Hold nothing yet."""
        self.held = {state: Usage(count=0, bytes=0) for state in SpoolState}
        self.counted = 0
        self.broken = False
        self._clock = clock
        self._takes_s = takes_s

    def usage(self, state: SpoolState) -> Usage:
        """As the port."""
        if self.broken:
            raise SpoolError("spool: cannot list")
        self.counted += 1
        self._clock.advance(self._takes_s)
        return self.held[state]

    def entries(self, state: SpoolState, *, limit: int) -> list[SpoolEntry]:
        """As the port: the oldest one, put a minute ago."""
        self.counted += 1
        self._clock.advance(self._takes_s)
        old = SpoolEntry("0" * 64, 10, state, self._clock.now() - timedelta(minutes=1))
        return [old][: min(limit, self.held[state].count)]


def gauges_over(spool: SlowSpool, clock: FakeClock) -> SpoolGauges:
    """Return gauges over a spool of which only that is there which is needed."""
    gauges = SpoolGauges(spool, clock)  # type: ignore[arg-type]
    clock.advance(FIRST_COUNT_AFTER_S)
    return gauges


def test_a_large_backlog_is_counted_seldom() -> None:
    """Half a second for a count: asked every second for an hour, it is counted for at most its share of the time."""
    clock = FakeClock()
    spool = SlowSpool(clock, takes_s=0.25)
    gauges = gauges_over(spool, clock)
    spool.held[SpoolState.PENDING] = Usage(count=100_000, bytes=10**9)
    while clock.monotonic_s() < 3600:
        assert Snapshot(gauges.samples()).get("pending") == 100_000
        clock.advance(1)
    assert 0.9 * COUNTING_SHARE < spool.counted * 0.25 / 3600 <= COUNTING_SHARE


def test_the_first_count_leaves_the_start_alone() -> None:
    """No gauge rather than a wrong one; the last metrics of a short run are counted all the same."""
    clock = FakeClock()
    spool = SlowSpool(clock, takes_s=0.0)
    gauges = SpoolGauges(spool, clock)  # type: ignore[arg-type]
    assert list(gauges.samples()) == []
    gauges.count_now()
    assert Snapshot(gauges.samples()).get("pending") == 0
    assert spool.counted == 3


def test_a_small_spool_is_counted_each_time() -> None:
    """What a look costs decides, so the numbers of a small spool are never old."""
    clock = FakeClock()
    spool = SlowSpool(clock, takes_s=0.0)
    gauges = gauges_over(spool, clock)
    for count in range(5):
        spool.held[SpoolState.PENDING] = Usage(count=count, bytes=count * 10)
        measured = Snapshot(gauges.samples())
        assert (measured.get("pending"), measured.get("pending_bytes")) == (count, count * 10)
        assert measured.get("pending_oldest_seconds") == (60 if count else 0)
        clock.advance(1)


def test_the_alarm_stays_up_while_anything_is_set_aside() -> None:
    """Through any number of looks, down when a person has emptied the quarantine."""
    clock = FakeClock()
    spool = SlowSpool(clock, takes_s=0.0)
    gauges = gauges_over(spool, clock)
    seen = []
    for count in (0, 1, 1, 2, 0):
        spool.held[SpoolState.QUARANTINE] = Usage(count=count, bytes=count)
        clock.advance(1)
        measured = Snapshot(gauges.samples())
        seen.append((measured.get("quarantined"), measured.get("quarantine_alarm")))
    assert seen == [(0, 0), (1, 1), (1, 1), (2, 1), (0, 0)]


def test_a_disk_that_cannot_be_counted_does_not_end_the_metrics(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line; the file is written again when the disk answers again."""
    clock = FakeClock()
    spool = SlowSpool(clock, takes_s=0.0)
    metrics = MetricsFiles(tmp_path, "upload", gauges_over(spool, clock).samples)
    spool.broken = True
    metrics.write()
    metrics.write()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    spool.broken = False
    metrics.write()
    assert read_snapshot(tmp_path, "upload")[0].get("pending") == 0

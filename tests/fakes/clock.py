"""A clock that tests turn, beside the `Clock` and `TrustedClock` ports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from agent.records import ClockState


class FakeClock:
    """Stands still until advanced; `sleep` advances it."""

    def __init__(self, now: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)) -> None:
        """Start at `now`, synchronised."""
        self.current = now
        self.elapsed_s = 0.0
        self.slept_s: list[float] = []
        self.clock_state = ClockState.SYNCHRONIZED
        self.over = datetime(1970, 1, 1, tzinfo=UTC)
        self.what_speaks_against_it: str | None = None

    def now(self) -> datetime:
        """As the port."""
        return self.current

    def monotonic_s(self) -> float:
        """As the port."""
        return self.elapsed_s

    def sleep(self, seconds: float) -> None:
        """As the port: time passes at once."""
        self.slept_s.append(seconds)
        self.advance(seconds)

    def state(self) -> ClockState:
        """As the port."""
        return self.clock_state

    def floor(self) -> datetime:
        """As the port."""
        return self.over

    def raise_floor(self, over: datetime) -> None:
        """As the port."""
        self.over = max(self.over, over)

    def doubt(self) -> str | None:
        """As the port."""
        return self.what_speaks_against_it

    def advance(self, seconds: float) -> None:
        """Let time pass on both clocks."""
        self.current += timedelta(seconds=seconds)
        self.elapsed_s += seconds

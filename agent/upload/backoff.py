"""How long to wait after a request that failed."""

from __future__ import annotations

from tenacity import RetryCallState
from tenacity.wait import wait_base, wait_random_exponential

from agent.errors import RejectedError, TransportError


class wait_as_told(wait_base):  # noqa: N801  tenacity's own naming
    """Wait as long as the receiver asked, and at least as long as the schedule says."""

    def __init__(self, *, first_s: float, most_s: float) -> None:
        """Grow from `first_s` to `most_s` with full jitter."""
        self._schedule = wait_random_exponential(multiplier=first_s, max=most_s)
        self._first_s = first_s
        self._most_s = most_s

    def __call__(self, retry_state: RetryCallState) -> float:
        """Return seconds to wait before the next attempt."""
        error = retry_state.outcome.exception() if retry_state.outcome else None
        if isinstance(error, RejectedError):
            return self._most_s  # only a person can change it; ask rarely, but ask
        told_s = error.retry_after_s if isinstance(error, TransportError) else None
        return max(self._first_s * 0.5, told_s or 0.0, self._schedule(retry_state))

"""The stop event of a daemon, which is also its pulse.

Owns: who is told that the daemon lives, and how often. Leaves to others: the protocol (`agent.unit.process.watchdog`).

A main loop waits on this event each time it comes round, for no time at all (`wait(0.0)`) where it has work to do. So
whoever waits, on the main thread, is alive, and systemd hears it: never from another thread, which would go on beating
beside a loop that hangs. Whoever only wants to know asks `is_set`, which tells nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final

from agent.unit.process.watchdog import ServiceManager

PULSE_EVERY_S: Final = 1.0
"""Far below any watchdog's time, and far above what a datagram costs."""
STATUS_EVERY_S: Final = 10.0


class PulsedEvent(threading.Event):
    """An event on which waiting keeps a daemon's pulse, for a loop that ends for more reasons than the daemon's end."""

    def __init__(self, pulse: Callable[[], object]) -> None:
        """Begin not set; `pulse` is called at every wait, and once a second in a long one."""
        super().__init__()
        self._beat = pulse

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, or for at most `timeout` seconds; whether it is."""
        left_s = float("inf") if timeout is None else timeout
        if left_s <= 0:  # as at each frame: a look takes a tenth of what waiting for no time does
            self._beat()
            return self.is_set()
        while left_s > PULSE_EVERY_S:
            self._beat()
            if super().wait(PULSE_EVERY_S):
                return True
            left_s -= PULSE_EVERY_S
        self._beat()
        return super().wait(left_s)


class Lifecycle(PulsedEvent):
    """Set when the daemon shall stop. Waiting on the main thread tells the service manager that it lives."""

    def __init__(self, manager: ServiceManager) -> None:
        """Begin not set and not ready."""
        super().__init__(self.pulse)
        self._manager = manager
        self._status: Callable[[], str] | None = None
        self._pulse_at_s = self._status_at_s = 0.0

    def ready(self, status: Callable[[], str]) -> None:
        """Say that the daemon works from now on; `status` says in one line what it does, and is asked now and then."""
        self._status = status
        self._manager.ready()
        self.pulse()

    def pulse(self) -> None:
        """Say that the main loop has come round, at most once a second. Does nothing on another thread."""
        now_s = time.monotonic()
        if now_s < self._pulse_at_s or threading.current_thread() is not threading.main_thread():
            return
        self._pulse_at_s = now_s + PULSE_EVERY_S
        self._manager.alive()
        if self._status is not None and now_s >= self._status_at_s:
            self._status_at_s = now_s + STATUS_EVERY_S
            self._manager.status(self._status())

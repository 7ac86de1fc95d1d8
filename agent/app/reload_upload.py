"""A new configuration of the upload daemon, taken up between two batches.

Only `[upload]` is upload's. A new one is good once the receiver answers under it as agreed. It is taken back if the
receiver was reached before and is not within the time for that; a unit without a network, or with nothing to send,
cannot tell and keeps it.

Owns: when the worker is to end for a new configuration, and that judgement. Leaves to others: which bundle, and the
note of it (`agent.app.reload`).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from agent.app.lifecycle import PulsedEvent
from agent.app.reload import Reload
from agent.app.tls_files import TlsFiles
from agent.config.models import UnitConfig
from agent.ports import Clock
from agent.seal.keyfiles import load_ed25519_public
from agent.upload.worker import UploadStats

LOOK_EVERY_S: Final = 0.2


@dataclass(frozen=True, slots=True)
class UploadChange:
    """What a new configuration means for upload: nothing, or other settings."""

    is_empty: bool


class UploadReload:
    """Follows the configuration on behalf of the upload daemon.

    Attributes:
        halt: Ends the worker at its next safe point: a new configuration is ready, the one on trial was taken back, or
            the daemon stops.
    """

    def __init__(
        self, reload: Reload[UploadChange], stats: UploadStats, *, clock: Clock, stop: threading.Event
    ) -> None:
        """Follow `reload`, and judge by `stats`."""
        self.halt = PulsedEvent(stop.is_set) if reload.is_on else stop
        self._reload = reload
        self._stats = stats
        self._clock = clock
        self._stop = stop
        self._was_up = True  # what was before a start is not known

    def watch(self) -> None:
        """Start looking for bundles."""
        if self._reload.is_on:
            self._reload.watch(self.prepare, self._stop)
            threading.Thread(target=self._follow, name="follow configuration", daemon=True).start()

    def prepare(self, before: UnitConfig, unit: UnitConfig) -> UploadChange:
        """Check what the worker would load; on the thread that looks for bundles.

        Raises:
            KeyFileError: A file is missing or is not what it should be.
        """
        if unit.upload == before.upload:
            return UploadChange(is_empty=True)
        load_ed25519_public(unit.upload.receiver_key)
        TlsFiles(unit.upload, self._clock)
        return UploadChange(is_empty=False)

    def take_up(self) -> bool:
        """Go on after the worker has ended, with whatever is in use now; False to end."""
        if self._stop.is_set():
            return False
        self.halt.clear()
        if not self._reload.on_trial and self._reload.ready() is not None:
            self._was_up = self._stats.link_up is True
            self._stats.link_up = None
            self._reload.begin()
        return not self._stop.is_set()  # a stop from here on sets `halt` again

    def _follow(self) -> None:
        while not self._stop.wait(LOOK_EVERY_S):
            if self._reload.on_trial:
                self._judge()
                continue
            change = self._reload.ready()
            if change is not None and change.is_empty:
                self._reload.begin(works=True)
            elif change is not None:
                self.halt.set()
        self.halt.set()

    def _judge(self) -> None:
        if self._stats.link_up:
            self._reload.works()
        elif self._reload.is_overdue:
            if self._stats.link_up is False and self._was_up:
                self._reload.reject("the receiver, which was reached before, was not reached within the time for that")
                self.halt.set()
            else:
                self._reload.works()

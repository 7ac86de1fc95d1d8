"""A new configuration of the upload daemon, taken up between two batches.

Only `[upload]` is upload's. A new one is good once the receiver answers under it as agreed. It is taken back if the
receiver was reached before and is not within the time for that; a unit without a network cannot tell and keeps it.
Where nothing was sent, the receiver is asked: just before the change, and under the new settings until it answers.

Owns: when the worker is to end for a new configuration, and that judgement. Leaves to others: which bundle, and the
note of it (`agent.unit.reload.trial`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from agent.config.models import UnitConfig
from agent.errors import TransportError
from agent.ports import Clock
from agent.unit.process.lifecycle import PulsedEvent
from agent.unit.reload.trial import Reload
from agent.unit.upload.receipt_keys import load_pinned
from agent.unit.upload.tls_files import TlsFiles
from agent.upload.worker import UploadStats

LOOK_EVERY_S: Final = 0.2
ASK_EVERY_S: Final = 2.0
"""How often a receiver is asked that has had nothing to answer yet."""


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
        self,
        reload: Reload[UploadChange],
        stats: UploadStats,
        *,
        ask: Callable[[], int],
        clock: Clock,
        stop: threading.Event,
    ) -> None:
        """Follow `reload`.

        Args:
            reload: Which configuration.
            stats: What comes of what is sent: by that a new one is judged.
            ask: Asks the receiver, under the settings in use, whether this unit may send; returns its status, or raises
                `TransportError`. Called on threads of its own.
            clock: For the files' checks.
            stop: Ends everything.
        """
        self.halt = PulsedEvent(lambda: stop.wait(0.0)) if reload.is_on else stop
        self._reload = reload
        self._stats = stats
        self._ask = ask
        self._clock = clock
        self._stop = stop
        self._was_up = True  # what was before a start is not known
        self._answered = threading.Event()

    def watch(self) -> None:
        """Start looking for bundles."""
        if self._reload.is_on:
            self._reload.watch(self.prepare, self._stop)
            threading.Thread(target=self._follow, name="follow configuration", daemon=True).start()
            if self._reload.on_trial:
                self._begin_asking()

    def prepare(self, before: UnitConfig, unit: UnitConfig) -> UploadChange:
        """Check what the worker would load; on the thread that looks for bundles.

        Raises:
            KeyFileError: A file is missing or is not what it should be.
        """
        if unit.upload == before.upload:
            return UploadChange(is_empty=True)
        load_pinned(unit.upload.receiver_key)
        TlsFiles(unit.upload, self._clock, state_dir=unit.state_dir)
        if self._stats.link_up is None:
            self._was_up = self._answers()
        return UploadChange(is_empty=False)

    def take_up(self) -> bool:
        """Go on after the worker has ended, with whatever is in use now; False to end."""
        if self._stop.is_set():
            return False
        self.halt.clear()
        if not self._reload.on_trial and self._reload.ready() is not None:
            if self._stats.link_up is not None:
                self._was_up = self._stats.link_up
            self._stats.link_up = None
            self._reload.begin()
            self._begin_asking()
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

    def _begin_asking(self) -> None:
        answered = self._answered = threading.Event()  # that of this trial; one that asks for an older one sets another

        def ask() -> None:
            while self._reload.on_trial and self._stats.link_up is None and not self._stop.wait(ASK_EVERY_S):
                if self._answers():
                    answered.set()
                    return

        threading.Thread(target=ask, name="ask the receiver", daemon=True).start()

    def _answers(self) -> bool:
        try:
            return self._ask() == HTTPStatus.NO_CONTENT
        except TransportError:
            return False

    def _judge(self) -> None:
        link_up = self._stats.link_up
        if link_up or (link_up is None and self._answered.is_set()):
            self._reload.works()
        elif self._reload.is_overdue:
            if self._was_up:
                self._reload.reject("the receiver, which was reached before, was not reached within the time for that")
                self.halt.set()
            else:
                self._reload.works()

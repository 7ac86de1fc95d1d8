"""A live camera that is read by a thread of its own, and connected again whenever it is lost.

The thread reads as fast as the camera delivers, so that nothing piles up in it or in the network; where that is too
fast for the unit, it makes hardly a picture until it has caught up. Whoever looks at
the frames gets the newest; those it was too slow for are dropped and counted. At most three frames are held: one
being made, one waiting, one being looked at.

Owns: connecting again while the camera is lost, stalled or frozen; the counts. Leaves to others: one connection and
its time of capture (`connection`), what frozen means (`frozen`). Frame numbers count what the camera delivered and go
on over every reconnect: a gap is what was dropped. A camera's user and password are in no message.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_after_attempt,
    stop_when_event_set,
)
from tenacity.wait import wait_random_exponential

from agent.capture.camera_clock import CameraDates, ClockReading
from agent.capture.connection import Connect, Connection, Grab
from agent.capture.frozen import FrozenWatch
from agent.capture.interrupting import end_reads_with
from agent.capture.newest import NewestFrame
from agent.config.models import SourceConfig
from agent.errors import SourceError, SourceLostError, SourceRefusedError
from agent.ports import Clock
from agent.records import ClockState, Frame, Picture, Plane

STEADY_S: Final = 2.0
"""A camera that delivers for this long is back. A connection that ends sooner is made again ever more rarely, a longer
one at once."""
RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 30.0
"""Waits between attempts grow from the first to the second, with jitter: many cameras behind one switch come back at
once, and a camera that is back should not wait for long."""
REFUSED_S: Final = 180.0
"""Wait after a refused login. Cameras lock an account after three to ten refusals within minutes, and the person who
changes the password back should still be let in."""
LATE_S: Final = 0.2
"""A frame that comes this much later than the fastest did waited behind others: most of the quarter of a second
within which a frame is to be looked at."""
CATCH_UP_AFTER_S: Final = 1.0
"""A reader whose frames have been late for this long is too slow for the camera; a network that stalled and sends all
at once is through with that sooner."""
CATCH_UP_PICTURE_S: Final = 0.5
"""A reader that catches up makes a picture this often, and no other: making one takes longer than decoding it."""
_POLL_S: Final = 0.1
"""How often a waiting consumer looks whether it was told to stop."""
_IDLE_POLLS: Final = 10
"""Looks in vain between two calls of `on_idle`: one second."""
_END_WAIT_S: Final = 1.0
"""How long the end waits for the reading thread. A read of a network camera ends at once (`interrupting`). One that
blocks in a driver cannot be interrupted: it ends by its own time limit, on a thread that keeps no process alive."""

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LiveStats:
    """Counts since the start; written by the reading thread, read by reports.

    Attributes:
        frames_received: Frames that the camera delivered.
        frames_dropped_stale: Of these, dropped because a newer one came first, because they were old on arrival, or to
            catch up.
        frames_dropped_waiting: Of these, dropped because a newer one came while other cameras had their turn; written
            by the thread that waits for frames.
        frames_lost: Frames that came and could not be decoded; they are not among those received.
        reconnects: Connections made, but for the first.
        frozen: Times the camera was found frozen.
        lag_s: How much later than the fastest the newest frame came, seconds; it stays small on a unit that keeps up.
        is_up: Whether the camera delivers; None until that is known.
        refuses_login: Whether it does not, because it refuses the login.
        clock: What is known of the camera's own clock; None while it is lost, or shows none.
    """

    frames_received: int = 0
    frames_dropped_stale: int = 0
    frames_dropped_waiting: int = 0
    frames_lost: int = 0
    reconnects: int = 0
    frozen: int = 0
    lag_s: float = 0.0
    is_up: bool | None = None
    refuses_login: bool = False
    clock: ClockReading | None = None


@dataclass(frozen=True, slots=True)
class LiveHooks:
    """What a daemon gives a camera.

    Attributes:
        stop: Ends `frames()` when set, also while the camera is lost.
        stats: Where the camera counts.
        on_idle: Called about once a second while no frame comes, on the thread that waits in `frames()`: what a daemon
            must not put off until a lost camera is back.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    stats: LiveStats = field(default_factory=LiveStats)
    on_idle: Callable[[], None] = lambda: None


class LiveCamera:
    """A camera that delivers frames until it is closed."""

    def __init__(
        self,
        connect: Connect,
        config: SourceConfig,
        *,
        name: str,
        camera_id: str,
        clock: Clock,
        hooks: LiveHooks | None = None,
    ) -> None:
        """Keep the way to connect; nothing is opened yet.

        Args:
            connect: Opens the device or stream.
            config: When the camera counts as stalled or frozen, and whether it is then connected again.
            name: What it is called in messages, without secrets.
            camera_id: The camera's id.
            clock: Dates each frame.
            hooks: What a daemon gives the camera.
        """
        self._connect = connect
        self._config = config
        self._name = name
        self._camera_id = camera_id
        self._clock = clock
        self._hooks = hooks or LiveHooks()
        self._stats = self._hooks.stats
        self._watch = FrozenWatch(config.frozen_s)
        self._dates = CameraDates(name=name, is_asked=config.clock == "camera")
        self._back_after_s = STEADY_S
        self._lost_since_s = 0.0
        self._has_connected = False
        self._lost_before = 0
        self._last_captured_s = float("-inf")
        self._on_time_s = self._made_s = float("-inf")
        self._closed = False
        self._ended = threading.Event()

    @property
    def frame_count(self) -> int | None:
        """None: a camera has no end."""
        return None

    @property
    def clock_state(self) -> ClockState:
        """What this unit's clock says of itself."""
        return self._clock.state()

    @property
    def frames_lost(self) -> int:
        """Frames that came and could not be decoded, over all connections."""
        return self._stats.frames_lost

    def frames(self) -> Iterator[Frame]:
        """Connect and yield the newest frame, each at most once, until closed or told to stop.

        Raises:
            SourceError: The source is closed, or delivers an absurd size.
            SourceLostError: The camera is lost, and configured not to be connected again.
        """
        if self._closed:
            raise SourceError(f"{self._name}: the source is closed")
        newest, ended = NewestFrame(), threading.Event()
        self._ended = ended
        reader = threading.Thread(target=self._read, args=(newest, ended), name=f"read {self._name}", daemon=True)
        reader.start()
        try:
            idle_polls = 0
            while not (ended.is_set() or self._hooks.stop.wait(0.0)):
                frame = newest.take(wait_s=_POLL_S)
                idle_polls = 0 if frame is not None else idle_polls + 1
                if frame is not None:
                    yield frame
                elif idle_polls % _IDLE_POLLS == 0:
                    self._hooks.on_idle()
        finally:
            ended.set()
            reader.join(_END_WAIT_S)

    def close(self) -> None:
        """End a running `frames()` after its frame. Idempotent."""
        self._closed = True
        self._ended.set()

    def _read(self, newest: NewestFrame, ended: threading.Event) -> None:
        """Read one connection after the other: what the thread does."""
        end_reads_with(ended)
        retrying = Retrying(
            retry=retry_if_exception_type(SourceLostError),
            wait=_wait_s,
            sleep=sleep_using_event(ended),
            stop=stop_when_event_set(ended) if self._config.reconnect else stop_after_attempt(1),
            reraise=True,
        )
        try:
            while not ended.is_set():
                retrying(self._read_connection, newest, ended)
        except Exception as failure:  # noqa: BLE001  whatever ends this thread is raised where its frames are awaited
            if not ended.is_set():
                newest.fail(failure)

    def _read_connection(self, newest: NewestFrame, ended: threading.Event) -> None:
        """Read one connection to its end; return if it held long enough for the next to be made at once.

        Raises:
            SourceLostError: It did not, or the next is not to be made.
        """
        opened_s = float("inf")
        try:
            with closing(
                Connection(self._connect, name=self._name, stall_s=self._config.stall_s, clock=self._clock)
            ) as connection:
                opened_s = connection.opened_s
                self._stats.refuses_login = False
                self._stats.reconnects += self._has_connected
                self._has_connected = True
                self._lost_before = self._stats.frames_lost
                self._watch.restart(opened_s)
                self._dates.connected(opened_s)
                self._on_time_s = opened_s
                while not ended.is_set():
                    self._deliver(connection, newest)
        except SourceLostError as error:
            if ended.is_set():
                return
            self._note_lost(error)
            if not self._config.reconnect or self._clock.monotonic_s() - opened_s < STEADY_S:
                raise

    def _deliver(self, connection: Connection, newest: NewestFrame) -> None:
        grab = connection.grab()
        sequence = self._stats.frames_received
        self._stats.frames_received += 1
        self._stats.frames_lost = self._lost_before + connection.lost
        self._stats.lag_s = grab.arrived_s - grab.captured_s
        dated = self._dates.dated(grab)
        self._stats.clock = self._dates.reading
        if grab.is_old or self._note_lag(grab):
            self._stats.frames_dropped_stale += 1
            return
        self._made_s = grab.arrived_s
        picture = connection.picture()
        self._look(picture.sample, grab, connection)
        if newest.put(self._frame(sequence, dated, picture)):
            self._stats.frames_dropped_stale += 1

    def _note_lag(self, grab: Grab) -> bool:
        """Note how late a frame comes; return whether to make no picture of it, so that the next ones come sooner."""
        if grab.arrived_s - grab.captured_s < LATE_S:
            self._on_time_s = grab.arrived_s
        is_behind = grab.arrived_s - self._on_time_s > CATCH_UP_AFTER_S
        return is_behind and grab.arrived_s - self._made_s < CATCH_UP_PICTURE_S

    def _frame(self, sequence: int, grab: Grab, picture: Picture) -> Frame:
        # The estimate of a picture's delay gets better with every faster one; time must not go back for that.
        late_s = max(0.0, self._last_captured_s - grab.captured_s)
        self._last_captured_s = grab.captured_s + late_s
        return Frame(
            camera_id=self._camera_id,
            sequence=sequence,
            captured_at=grab.captured_at + timedelta(seconds=late_s),
            monotonic_s=self._last_captured_s,
            picture=picture,
            time_source=grab.time_source,
        )

    def _look(self, sample: Plane, grab: Grab, connection: Connection) -> None:
        is_new = self._watch.note(sample, now_s=grab.arrived_s)
        if self._watch.is_frozen(grab.arrived_s):
            self._stats.frozen += 1
            self._watch.be_patient()
            self._back_after_s = self._config.frozen_s  # an encoder makes new pictures of an old one for a while
            still_s = self._watch.still_s(grab.arrived_s)
            raise SourceLostError(f"{self._name}: no new picture for {still_s:.0f} s, the camera is frozen")
        if is_new and not self._stats.is_up and grab.arrived_s - connection.opened_s >= self._back_after_s:
            self._note_back(grab.arrived_s)

    def _note_lost(self, error: SourceLostError) -> None:
        is_refused = isinstance(error, SourceRefusedError)
        if is_refused and not self._stats.refuses_login and self._config.reconnect:
            # Also of a camera that was lost already, for it will not come back by itself.
            _log.error("%s; it is tried every %d minutes only, because cameras lock accounts", error, REFUSED_S // 60)
        elif self._stats.is_up is not False and self._config.reconnect:
            _log.warning("%s; connecting again until it delivers", error)
        if self._stats.is_up is not False:
            self._lost_since_s = self._clock.monotonic_s()
        self._stats.is_up, self._stats.refuses_login, self._stats.clock = False, is_refused, None

    def _note_back(self, now_s: float) -> None:
        if self._stats.is_up is False:
            _log.info("%s: the camera is back after %.0f s", self._name, now_s - self._lost_since_s)
        self._stats.is_up = True
        self._back_after_s = STEADY_S
        self._watch.be_strict()


_USUAL_WAIT: Final = wait_random_exponential(multiplier=RETRY_FIRST_S, max=RETRY_MOST_S)


def _wait_s(attempts: RetryCallState) -> float:
    """Return how long to wait before the next attempt, seconds."""
    failure = None if attempts.outcome is None else attempts.outcome.exception()
    return REFUSED_S if isinstance(failure, SourceRefusedError) else float(_USUAL_WAIT(attempts))

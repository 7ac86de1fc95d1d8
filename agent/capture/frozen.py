"""The watchdog for frozen pictures: a camera that goes on sending, but not on looking.

Such a camera still encodes, so its picture is not simply the same again: each key frame renews it a little, and the
frames after it refine it, the same way every time. What a frozen camera no longer delivers is a picture that has not
been there before. A live one does so all the time: its sensor's noise alone changes some pixel. Noise that the
camera filters out and the encoder leaves out (a night without a light) comes back with the next key frame at the
latest; so the limit must be longer than the camera's key-frame interval, and pixels are compared exactly and without
averaging, which would take away the very noise that tells the two apart. A clock that the camera draws into a frozen
picture hides that it is frozen.

Owns: what counts as frozen. Pure: all times are given.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from agent.records import Plane

MOST_PATIENCE: Final = 8
"""Limits waited at most. Each reconnect that changes nothing doubles the wait: a camera that thaws by itself is live
again without one, and a night without any noise must not be lost to reconnecting."""
MAX_SEEN: Final = 256
"""Different pictures remembered: those of ten seconds at 25 a second, a long key-frame interval."""


class FrozenWatch:
    """Tells when no new picture has come for too long."""

    def __init__(self, limit_s: float) -> None:
        """Call a camera frozen after `limit_s` seconds without a new picture; 0 never does."""
        self._limit_s = limit_s
        self._patience_s = limit_s
        self._seen: dict[bytes, None] = {}  # in the order of coming
        self._last_new_s = 0.0

    def be_patient(self) -> None:
        """Wait twice as long the next time, as after a reconnect in vain."""
        self._patience_s = min(2 * self._patience_s, MOST_PATIENCE * self._limit_s)

    def be_strict(self) -> None:
        """Wait for the limit again and no longer, as after a live picture."""
        self._patience_s = self._limit_s

    def restart(self, now_s: float) -> None:
        """Begin to wait anew, as after connecting; pictures seen before are still no news."""
        self._last_new_s = now_s

    def note(self, sample: Plane, *, now_s: float) -> bool:
        """Remember a picture; return whether it has not been there before.

        Args:
            sample: Some of the picture's pixels as they are, not averaged: uint8, shape (H, W), contiguous.
            now_s: Monotonic seconds.
        """
        if not self._limit_s:
            return True
        digest = blake2b(sample.data, digest_size=16).digest()
        if digest in self._seen:
            return False
        if len(self._seen) == MAX_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[digest] = None
        self._last_new_s = now_s
        return True

    def is_frozen(self, now_s: float) -> bool:
        """Tell whether the last new picture is too long ago."""
        return bool(self._limit_s) and self.still_s(now_s) >= self._patience_s

    def still_s(self, now_s: float) -> float:
        """Return how long ago the last new picture came, or `restart` was called, seconds."""
        return now_s - self._last_new_s

"""Plaintexts and recipients for tests."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from agent.custody.opener import PrivateKey
from agent.wire import suites
from agent.wire.keyring import Keyring, RecipientKey
from agent.wire.plaintext import ClockState, Direction, Plaintext

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

SAMPLE = Plaintext(
    camera="cam-1",
    captured_at=NOON,
    clock=ClockState.SYNCHRONIZED,
    text="AB123CD",
    confidences=(990, 980, 970, 1000, 0, 500, 999),
    votes=(4, 5),
    region=None,
    detector_confidence=870,
    box=(10, 20, 110, 50),
    frame_sequence=42,
    frame_wh=(1280, 720),
    first_seen=NOON - timedelta(seconds=1),
    last_seen=NOON + timedelta(seconds=1),
    direction=Direction.APPROACHING,
    crop=b"\xff\xd8\xff\xe0\x00\x10JFIF and the rest",
    detector_digest=bytes(range(32)),
    reader_digest=bytes(range(32, 64)),
    agent_version="0.1.0",
)


def make_plaintext(text: str = "AB123CD", **changes: object) -> Plaintext:
    """Return a read like `SAMPLE` with another text and other fields."""
    fields: dict[str, Any] = {"text": text, "confidences": (900,) * len(text), **changes}
    return replace(SAMPLE, **fields)


def make_recipient(
    key_type: suites.KeyType = suites.KeyType.X25519,
    *,
    recipient: str = "agency",
    valid_from: datetime = NOON - timedelta(hours=12),
    epoch: timedelta = timedelta(days=1),
) -> tuple[RecipientKey, PrivateKey]:
    """Return a new recipient key and its private half."""
    suite = suites.SUITES[key_type]
    raw = suite.generate()
    public = suite.derive_public(raw)
    kid = suite.kid(public)
    key = RecipientKey(
        suite=suite, public=public, kid=kid, recipient=recipient, valid_from=valid_from, valid_until=valid_from + epoch
    )
    return key, PrivateKey(suite=suite, kid=kid, raw=raw)


def make_keyring(*keys: RecipientKey, serial: int = 1) -> Keyring:
    """Return a keyring of `keys`, in order of their epochs."""
    return Keyring(serial=serial, keys=tuple(sorted(keys, key=lambda key: key.valid_from)))

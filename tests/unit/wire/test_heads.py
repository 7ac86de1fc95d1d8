"""How many items a message may have: the fullest one is taken, and one of the tiniest items is not even walked over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.audit_entry import MAX_IDS, Action, AuditEntry, Scope, encode_payload, parse_payload
from agent.errors import FormatError
from agent.seal.chain import Chain
from agent.wire import cbor, cose
from agent.wire.envelope import MAX_ENVELOPE_BYTES, parse_envelope, sign_tombstone
from agent.wire.header import CONTENT_TYPE, TOMBSTONE_TYPE, Header, SeenReceipt, encode_header
from agent.wire.health import (
    MAX_HEALTH_BYTES,
    CameraClockHealth,
    CameraHealth,
    ConfigHealth,
    LastError,
    encode_health,
    parse_health,
)
from agent.wire.keyring import MAX_KEYRING_KEYS, encode_keyring, parse_keyring
from agent.wire.receipt import MAX_RECEIPT_BYTES, parse_receipt
from agent.wire.tombstone import MAX_GONE, Gone, LossReason, Tombstone
from tests.fakes.envelopes import first_position
from tests.fakes.health import NOW, make_report
from tests.fakes.reads import NOON, make_keyring, make_recipient

KEY: Final = Ed25519PrivateKey.generate()
SEEN: Final = SeenReceipt(bytes(8), 1, bytes(32))


def test_the_fullest_tombstone_is_taken() -> None:
    """As many ranges as it may name."""
    gone = tuple(Gone(b"\x01" * 16, 2 * place, 2 * place, bytes(32)) for place in range(MAX_GONE))
    tombstone = Tombstone(LossReason.EVICTED, MAX_GONE, NOON, NOON, gone)
    assert parse_envelope(sign_tombstone(tombstone, KEY, Chain().next, seen=SEEN).data).tombstone == tombstone


def test_the_fullest_report_is_taken() -> None:
    """Sixteen cameras with clocks, sixteen versions, both configurations refused, and an error."""
    clock = CameraClockHealth(0, 0, 0, dates=True)
    report = replace(
        make_report(),
        cameras=tuple(CameraHealth(f"camera {number}", is_up=True, lag_ms=0, clock=clock) for number in range(16)),
        versions=tuple((f"part {number}", "1") for number in range(16)),
        configs=(ConfigHealth("capture", 1, "no"), ConfigHealth("upload", 1, "no")),
        error=LastError(NOW, "no"),
    )
    assert parse_health(encode_health(report)) == report


def test_the_fullest_keyring_is_taken() -> None:
    """As many keys as it may hold, one epoch after the other."""
    key, _ = make_recipient()
    keys = [
        replace(key, valid_from=NOON + timedelta(days=day), valid_until=NOON + timedelta(days=day + 1))
        for day in range(MAX_KEYRING_KEYS)
    ]
    keyring = make_keyring(*keys)
    assert parse_keyring(encode_keyring(keyring, KEY), KEY.public_key()) == keyring


def test_the_fullest_entry_of_the_audit_log_is_taken() -> None:
    """As many ids as an act may name, and every limit that it may have had."""
    scope = Scope(tuple("abcdefgh"), NOON, NOON, NOON, "camera", 1)
    entry = AuditEntry(0, bytes(32), NOON, "who", next(iter(Action)), "case", "why", 1, (bytes(32),) * MAX_IDS, scope)
    assert parse_payload(encode_payload(entry)) == entry


def _many(count: int) -> bytes:
    return cbor2.dumps([0] * count)


def _signed(payload: bytes, content_type: str) -> bytes:
    kid = cose.ed25519_kid(KEY.public_key())
    header = Header(first_position(run=0), commitment=bytes(32) if content_type == CONTENT_TYPE else None)
    return cose.sign1(encode_header(kid, header, content_type=content_type), payload, KEY)


_HEAP: Final = MAX_ENVELOPE_BYTES - 512


@pytest.mark.parametrize(
    ("parse", "make"),
    [
        (parse_envelope, lambda: b"\xd2" + _many(_HEAP)),
        (parse_envelope, lambda: cose.sign1(_many(_HEAP), b"", KEY)),
        (parse_envelope, lambda: _signed(_many(_HEAP), CONTENT_TYPE)),
        (parse_envelope, lambda: _signed(_many(_HEAP), TOMBSTONE_TYPE)),
        (parse_receipt, lambda: b"\xd2" + _many(MAX_RECEIPT_BYTES - 8)),
        (parse_health, lambda: _many(MAX_HEALTH_BYTES - 8)),
    ],
    ids=["envelope", "header", "content", "tombstone", "receipt", "report"],
)
def test_a_heap_of_tiny_items_is_refused_without_a_walk_over_it(
    parse: Callable[[bytes], object], make: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A megabyte of one-byte items would take a second of the one thread that Python runs at a time."""
    data, loaded = make(), []
    load = cbor._load

    def noted(stream: object, what: str) -> object:
        value = load(stream, what)  # type: ignore[arg-type]  # as it came
        loaded.append(value)
        return value

    monkeypatch.setattr(cbor, "_load", noted)
    with pytest.raises(FormatError, match=r"more than \d+ CBOR items"):
        parse(data)
    assert not any(isinstance(value, list) and len(value) > MAX_GONE for value in loaded)

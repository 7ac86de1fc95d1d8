"""The keyring: signed by the pinned owner, and one key per recipient and moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import FormatError, KeyringVerificationError
from agent.wire import cbor, cose, suites
from agent.wire.keyring import CONTENT_TYPE, encode_keyring, parse_keyring
from tests.fakes.reads import NOON, make_keyring, make_recipient

OWNER = Ed25519PrivateKey.generate()
DAY = timedelta(days=1)
MIDNIGHT = NOON - timedelta(hours=12)


def test_a_keyring_parses_back() -> None:
    """Both key types, in order."""
    first, _ = make_recipient(suites.KeyType.HYBRID)
    second, _ = make_recipient(suites.KeyType.X25519, valid_from=MIDNIGHT + DAY)
    keyring = make_keyring(first, second, serial=7)
    assert parse_keyring(encode_keyring(keyring, OWNER), OWNER.public_key()) == keyring


def test_another_owners_keyring_is_refused() -> None:
    """Only the pinned owner key counts."""
    data = encode_keyring(make_keyring(make_recipient()[0]), Ed25519PrivateKey.generate())
    with pytest.raises(KeyringVerificationError):
        parse_keyring(data, OWNER.public_key())


def test_the_key_is_the_one_valid_at_capture() -> None:
    """Epochs are half open: midnight belongs to the new day."""
    monday, _ = make_recipient(valid_from=MIDNIGHT)
    tuesday, _ = make_recipient(valid_from=MIDNIGHT + DAY)
    keyring = make_keyring(monday, tuesday)
    assert keyring.keys_at(MIDNIGHT) == (monday,)
    assert keyring.keys_at(MIDNIGHT + DAY - timedelta(microseconds=1)) == (monday,)
    assert keyring.keys_at(MIDNIGHT + DAY) == (tuesday,)


def test_outside_all_epochs_a_read_is_still_sealed() -> None:
    """After the last epoch the newest key serves; before the first, in version 1, never the oldest: it may be gone."""
    monday, _ = make_recipient(valid_from=MIDNIGHT)
    tuesday, _ = make_recipient(valid_from=MIDNIGHT + DAY)
    keyring = make_keyring(monday, tuesday)
    assert keyring.keys_at(MIDNIGHT + 30 * DAY) == (tuesday,)
    assert keyring.keys_at(MIDNIGHT - 30 * DAY) == (tuesday,)
    issued = replace(keyring, issued=MIDNIGHT - 30 * DAY)
    assert issued.keys_at(MIDNIGHT - 30 * DAY) == (monday,)


def test_a_key_that_has_ended_gives_way_to_one_that_holds() -> None:
    """Also where a short epoch lies inside a long one and began later."""
    month, _ = make_recipient(valid_from=MIDNIGHT, epoch=30 * DAY)
    day, _ = make_recipient(valid_from=MIDNIGHT + DAY, epoch=DAY)
    keyring = make_keyring(month, day)
    assert keyring.keys_at(MIDNIGHT + DAY) == (day,)
    assert keyring.keys_at(MIDNIGHT + 3 * DAY) == (month,)


def test_every_recipient_gets_one_key() -> None:
    """Agency and auditor have epochs of their own."""
    agency, _ = make_recipient(recipient="agency")
    auditor, _ = make_recipient(recipient="auditor", epoch=30 * DAY)
    assert make_keyring(agency, auditor).keys_at(NOON) == (agency, auditor)


def signed(fields: object) -> bytes:
    """Sign any payload as the owner's keyring."""
    header = cose.encode_protected(cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(OWNER.public_key())))
    return cose.sign1(header, cbor.encode(fields), OWNER)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kid", b"\x00" * 32),
        ("kid", b"short"),
        ("alg", 46),
        ("pub", b"\x00" * 31),
        ("for", "x" * 65),
        ("until", 0),
        ("from", "now"),
        ("surprise", 1),
    ],
)
def test_a_wrong_key_entry_is_refused(key: str, value: object) -> None:
    """A key id that is not the thumbprint, an unknown suite, an epoch that ends before it begins."""
    data = encode_keyring(make_keyring(make_recipient()[0]), OWNER)
    fields = cbor2.loads(cbor2.loads(data).value[2])
    fields["keys"][0][key] = value
    with pytest.raises(FormatError, match="^keyring"):
        parse_keyring(signed(fields), OWNER.public_key())


def test_a_keyring_of_another_shape_is_refused() -> None:
    """Version, emptiness, order, too many recipients."""
    rows = [make_recipient(recipient=f"r{index}")[0] for index in range(9)]
    late, _ = make_recipient(valid_from=MIDNIGHT + DAY)
    early, _ = make_recipient(valid_from=MIDNIGHT)
    data = encode_keyring(make_keyring(early, late), OWNER)
    fields = cbor2.loads(cbor2.loads(data).value[2])
    reverse = {**fields, "keys": fields["keys"][::-1]}
    layouts: list[object] = [{**fields, "v": 2}, {**fields, "keys": []}, reverse, {**fields, "serial": -1}, {"v": 1}, 1]
    for wrong in layouts:
        with pytest.raises(FormatError, match="^keyring"):
            parse_keyring(signed(wrong), OWNER.public_key())
    with pytest.raises(FormatError, match="more than 8 recipients"):
        parse_keyring(encode_keyring(make_keyring(*rows), OWNER), OWNER.public_key())


def test_a_hybrid_key_that_is_no_key_is_refused() -> None:
    """Bytes of the right length whose ML-KEM part is out of range do not load."""
    key, _ = make_recipient(suites.KeyType.HYBRID)
    data = encode_keyring(make_keyring(key), OWNER)
    fields = cbor2.loads(cbor2.loads(data).value[2])
    fields["keys"][0]["pub"] = b"\xff" * key.suite.public_bytes
    with pytest.raises(FormatError, match="no public key|thumbprint"):
        parse_keyring(signed(fields), OWNER.public_key())

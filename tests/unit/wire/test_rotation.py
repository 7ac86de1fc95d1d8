"""The rotation statement: two signatures, one layout, nothing else."""

from __future__ import annotations

from collections.abc import Callable

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from agent.errors import FormatError, PlatesealError, VerificationError
from agent.wire import cbor, cose
from agent.wire.rotation import (
    CONTENT_TYPE,
    MAX_CSR_BYTES,
    MAX_ROTATION_BYTES,
    encode_rotation,
    parse_rotation,
    verify_rotation,
)

OLD, NEW, OTHER = (Ed25519PrivateKey.generate() for _ in range(3))
CSR = b"\x30\x03\x02\x01\x00"
GOOD = encode_rotation(device="cam-1", old_key=OLD, new_key=NEW, csr_der=CSR)


def resigned(change: Callable[[cbor.CborMap], object], *, content_type: str = CONTENT_TYPE) -> bytes:
    """Return the statement with a changed payload, signed anew by the old key."""
    payload = cbor2.loads(cbor2.loads(GOOD).value[2])
    change(payload)
    protected = cose.encode_protected(cose.signed_header(content_type, cose.ed25519_kid(OLD.public_key())))
    return cose.sign1(protected, cbor.encode(payload), OLD)


def test_what_was_encoded_is_parsed() -> None:
    """Device, both key ids and the request come back; the old key's signature holds."""
    rotation = parse_rotation(GOOD)
    assert (rotation.device, rotation.csr_der) == ("cam-1", CSR)
    assert rotation.old_key_id == cose.ed25519_kid(OLD.public_key())
    assert rotation.new_key == NEW.public_key()
    assert rotation.new_key_id == cose.ed25519_kid(NEW.public_key())
    verify_rotation(rotation, OLD.public_key())
    assert repr(CSR) not in repr(rotation)


def test_another_old_key_is_refused() -> None:
    """The signature is the pinned key's or nothing."""
    with pytest.raises(VerificationError, match="signed by key"):
        verify_rotation(parse_rotation(GOOD), OTHER.public_key())


def test_every_flipped_bit_is_refused() -> None:
    """Exhaustively: the statement parses and verifies in exactly one form."""
    assert len(GOOD) > cose.SIGNATURE_BYTES
    for index in range(8 * len(GOOD)):
        data = bytearray(GOOD)
        data[index // 8] ^= 1 << index % 8
        with pytest.raises((FormatError, VerificationError)):
            verify_rotation(parse_rotation(bytes(data)), OLD.public_key())


def test_every_truncation_is_refused() -> None:
    """Half a file is no statement."""
    assert len(GOOD) > cose.SIGNATURE_BYTES
    for length in range(len(GOOD)):
        with pytest.raises(FormatError):
            parse_rotation(GOOD[:length])


@pytest.mark.parametrize(
    ("change", "error", "expected"),
    [
        (lambda p: p.update(v=2), FormatError, "version 2"),
        (lambda p: p.update(v=True), FormatError, "version True"),
        (lambda p: p.pop("v"), FormatError, "version None"),
        (lambda p: p.pop("proof"), FormatError, "'proof' is missing"),
        (lambda p: p.update(extra=1), FormatError, "unknown field 'extra'"),
        (lambda p: p.update(device=7), FormatError, "device"),
        (lambda p: p.update(device="x" * 65), FormatError, "at most 64"),
        (lambda p: p.update(key=bytes(31)), FormatError, "key: expected a byte string of 32"),
        (lambda p: p.update(csr=b""), FormatError, "csr has 0 bytes"),
        (lambda p: p.update(csr=bytes(MAX_CSR_BYTES + 1)), FormatError, "csr has 2049 bytes"),
        (lambda p: p.update(proof=bytes(63)), FormatError, "proof"),
        (lambda p: p.update(proof=bytes(64)), VerificationError, "'proof' is not"),
        (lambda p: p.update(device="cam-2"), VerificationError, "'proof' is not"),
        (lambda p: p.update(csr=CSR + b"x"), VerificationError, "'proof' is not"),
        (lambda p: p.update(key=OTHER.public_key().public_bytes_raw()), VerificationError, "'proof' is not"),
    ],
)
def test_a_changed_field_is_refused(
    change: Callable[[cbor.CborMap], object], error: type[PlatesealError], expected: str
) -> None:
    """Even signed anew by the old key: the new key's proof covers every field."""
    with pytest.raises(error, match=expected):
        parse_rotation(resigned(change))


def test_the_new_key_must_prove_itself() -> None:
    """A holder of the old key cannot name a key that is somebody else's."""
    stolen = OTHER.public_key().public_bytes_raw()
    foreign = cbor.encode(["plateseal rotation 1", cose.ed25519_kid(OLD.public_key()), "cam-1", stolen, CSR])
    with pytest.raises(VerificationError, match="'proof' is not"):
        parse_rotation(resigned(lambda p: p.update(key=stolen, proof=NEW.sign(foreign))))


def test_a_key_cannot_follow_itself() -> None:
    """That would be no rotation."""
    with pytest.raises(VerificationError, match="the new key is the old one"):
        parse_rotation(encode_rotation(device="cam-1", old_key=OLD, new_key=OLD, csr_der=CSR))


@pytest.mark.parametrize("data", [b"", b"{}", b"\xd2", bytes(MAX_ROTATION_BYTES + 1)])
def test_what_is_no_statement_is_refused(data: bytes) -> None:
    """Empty, JSON, a bare tag, too long."""
    with pytest.raises(FormatError, match="rotation"):
        parse_rotation(data)


def test_another_message_of_the_same_key_is_no_rotation() -> None:
    """The content type tells them apart."""
    with pytest.raises(FormatError, match="content type"):
        parse_rotation(resigned(lambda _: None, content_type="application/plateseal+cbor"))


@given(st.binary(max_size=600))
def test_garbage_raises_errors_of_ours_only(data: bytes) -> None:
    """Whatever the bytes, bare or signed as a payload, they are refused by name."""
    header = cose.encode_protected(cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(OLD.public_key())))
    for candidate in (data, cose.sign1(header, data, OLD)):
        with pytest.raises((FormatError, VerificationError), match="rotation"):
            parse_rotation(candidate)

"""The envelope: what it is made of, and that nothing else passes for one."""

from __future__ import annotations

import random

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.opener import open_envelope
from agent.errors import EnvelopeVerificationError, FormatError, OpenError, PlatesealError
from agent.keys.keyring import KeyringBook
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.wire import cbor, cose, suites
from agent.wire import envelope as sealed
from agent.wire.envelope import Envelope, parse_envelope, verify_envelope
from agent.wire.header import ZERO_DIGEST, ChainPosition, Header
from tests.fakes.reads import SAMPLE, make_keyring, make_recipient

KEY = Ed25519PrivateKey.generate()
RECIPIENT, PRIVATE = make_recipient()


def seal_sample(cipher: suites.ContentCipher = suites.ContentCipher.AES_256_GCM) -> Envelope:
    """Seal the sample read at the start of a new chain."""
    book = KeyringBook(make_keyring(RECIPIENT))
    return Sealer(signing_key=KEY, book=book, cipher=cipher).seal(SAMPLE, Chain().next)


def rebuild(envelope: Envelope, **changes: object) -> bytes:
    """Re-encode an envelope with some parts of it replaced, and sign it again."""
    protected_raw, _, payload, _ = cbor2.loads(envelope.data).value
    header = cbor2.loads(protected_raw)
    content = cbor.decode(payload, max_bytes=len(payload), what="content")
    assert isinstance(content, cbor2.CBORTag)
    for path, value in changes.items():
        target: object = {"header": header, "ps": header["ps"], "content": content.value}[path.split("__")[0]]
        key: object = path.split("__")[1]
        key = int(str(key)[1:]) if str(key).startswith("n") else key
        if value is None:
            del target[key]  # type: ignore[attr-defined]
        else:
            target[key] = value  # type: ignore[index]
    return cose.sign1(cbor.encode(header), cbor.encode(content), KEY)


def test_an_envelope_parses_back_to_its_place_and_owner() -> None:
    """Device, chain, sequence and previous digest survive the round trip; the id is the digest of the bytes."""
    envelope = seal_sample()
    parsed = parse_envelope(envelope.data)
    assert parsed == envelope
    assert parsed.envelope_id == cbor.sha256(envelope.data).hex()
    assert parsed.device_kid == cose.ed25519_kid(KEY.public_key())


@pytest.mark.parametrize("cipher", list(suites.ContentCipher))
@pytest.mark.parametrize("key_type", list(suites.KeyType))
def test_every_suite_opens_to_what_was_sealed(cipher: suites.ContentCipher, key_type: suites.KeyType) -> None:
    """Two key types times two content ciphers: seal, parse, verify, open."""
    recipient, private = make_recipient(key_type)
    sealer = Sealer(signing_key=KEY, book=KeyringBook(make_keyring(recipient)), cipher=cipher)
    envelope = parse_envelope(sealer.seal(SAMPLE, Chain().next).data)
    verify_envelope(envelope, KEY.public_key())
    assert open_envelope(envelope, {private.kid: private}) == SAMPLE


def test_each_recipient_opens_with_the_own_key_alone() -> None:
    """Agency and auditor each open the same envelope; a third key does not."""
    agency, agency_private = make_recipient(suites.KeyType.HYBRID)
    auditor, auditor_private = make_recipient(recipient="auditor")
    _, stranger = make_recipient()
    book = KeyringBook(make_keyring(agency, auditor))
    envelope = Sealer(signing_key=KEY, book=book, cipher=suites.ContentCipher.AES_256_GCM).seal(SAMPLE, Chain().next)
    for private in (agency_private, auditor_private):
        assert open_envelope(envelope, {private.kid: private}) == SAMPLE
    with pytest.raises(OpenError, match="none of these private keys"):
        open_envelope(envelope, {stranger.kid: stranger})


def test_a_private_key_under_another_keys_id_does_not_open() -> None:
    """HPKE refuses; no other error leaks out."""
    _, stranger = make_recipient()
    with pytest.raises(OpenError, match="does not open"):
        open_envelope(seal_sample(), {PRIVATE.kid: stranger})


def test_a_content_key_and_nonce_are_fresh_for_every_read() -> None:
    """The same read sealed twice shares neither nonce, encapsulated key nor ciphertext."""
    first, second = (sealed.sealed_content(seal_sample())[0] for _ in range(2))
    assert first.nonce != second.nonce
    assert first.recipients[0].ek != second.recipients[0].ek
    assert first.ciphertext != second.ciphertext


def test_a_ciphertext_cannot_move_to_another_slot() -> None:
    """The outer header is the content's AAD: moved and signed again, it still does not open."""
    envelope = seal_sample()
    moved = parse_envelope(rebuild(envelope, ps__seq=1, ps__prev=b"\x01" * 32))
    verify_envelope(moved, KEY.public_key())
    with pytest.raises(OpenError, match="not what was sealed"):
        open_envelope(moved, {PRIVATE.kid: PRIVATE})


_AS_VERSION_1: dict[str, object] = {"ps__v": 1, "ps__run": None, "ps__com": None}
BAD_PARTS: dict[str, dict[str, object]] = {
    "unknown version": {"ps__v": 3},
    "version that is a bool": {"ps__v": True},
    "chain id too short": {"ps__chain": b"\x00" * 15},
    "sequence that is negative": {"ps__seq": -1},
    "sequence beyond 2^53": {"ps__seq": 1 << 53},
    "sequence 1 without a previous": {"ps__seq": 1},
    "sequence 0 of version 1 with a previous": {**_AS_VERSION_1, "ps__prev": b"\x01" * 32},
    "version 1 with a run": {**_AS_VERSION_1, "ps__run": 0},
    "run 1 without a previous": {"ps__run": 1},
    "run that is negative": {"ps__run": -1},
    "last, which version 2 has not": {"ps__last": b"\x01" * 32},
    "previous of another length": {"ps__prev": b"\x01" * 31},
    "last that is null": {"ps__last": cbor2.undefined},
    "last of another length": {"ps__last": b"\x01" * 31},
    "unknown field in ps": {"ps__x": 1},
    "missing field in ps": {"ps__chain": None},
    "unknown header": {"header__n99": 1},
    "another signature algorithm": {"header__n1": -7},
    "another content type": {"header__n3": "application/cbor"},
    "key id of another length": {"header__n4": b"short"},
    "ps that is no map": {"header__ps": 1},
    "content header that is no byte string": {"content__n0": 1},
    "content algorithm that is unknown": {"content__n0": cbor.encode({1: 1})},
    "content header with another field": {"content__n0": cbor.encode({1: 3, 2: 0})},
    "nonce of another length": {"content__n1": {5: b"\x00" * 11}},
    "no nonce": {"content__n1": {}},
    "ciphertext shorter than its tag": {"content__n2": b"\x00" * 15},
    "no recipients": {"content__n3": []},
    "recipient that is no array": {"content__n3": [1]},
    "nine recipients": {"content__n3": [1] * 9},
    "recipient of an unknown suite": {"content__n3": [[cbor.encode({1: 46, 4: b"\x00" * 32}), {-4: b""}, b""]]},
    "recipient algorithm that is a bool": {"content__n3": [[cbor.encode({1: True, 4: b"\x00" * 32}), {-4: b""}, b""]]},
    "recipient key of another length": {
        "content__n3": [[cbor.encode({1: 50, 4: b"\x00" * 32}), {-4: b"\x00" * 31}, b"\x00" * 48]]
    },
    "sealed key of another length": {
        "content__n3": [[cbor.encode({1: 50, 4: b"\x00" * 32}), {-4: b"\x00" * 32}, b"\x00" * 47]]
    },
}


@pytest.mark.parametrize("name", BAD_PARTS)
def test_a_signed_envelope_with_one_wrong_part_is_refused(name: str) -> None:
    """A valid signature does not excuse a layout that is not the format's."""
    with pytest.raises(FormatError):
        parse_envelope(rebuild(seal_sample(), **BAD_PARTS[name]))


@pytest.mark.parametrize(
    "value",
    [
        cbor2.CBORTag(98, [b"", {}, b"", b""]),
        cbor2.CBORTag(18, [b"", {}, b""]),
        cbor2.CBORTag(18, [b"\xa0", {1: 1}, b"", b"\x00" * 64]),
        [b"", {}, b"", b""],
        0,
    ],
)
def test_other_cbor_is_no_envelope(value: object) -> None:
    """Another tag, another shape, an unprotected header."""
    with pytest.raises(FormatError):
        parse_envelope(cbor.encode(value))


def test_the_wrong_device_key_is_named() -> None:
    """The message says which key signed and which was expected, by key id."""
    other = Ed25519PrivateKey.generate().public_key()
    with pytest.raises(EnvelopeVerificationError, match="expected " + cose.ed25519_kid(other).hex()[:16]):
        verify_envelope(seal_sample(), other)


def test_every_flipped_bit_is_refused() -> None:
    """Exhaustive over a small envelope: parsing, verifying or the digest catches each single-bit change."""
    data = seal_sample().data
    assert len(data) > cose.SIGNATURE_BYTES
    for index in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[index // 8] ^= 1 << (index % 8)
        with pytest.raises(PlatesealError):
            verify_envelope(parse_envelope(bytes(flipped)), KEY.public_key())


def test_every_truncation_is_refused() -> None:
    """No prefix of an envelope is an envelope."""
    data = seal_sample().data
    assert len(data) > cose.SIGNATURE_BYTES
    for length in range(len(data)):
        with pytest.raises(FormatError):
            parse_envelope(data[:length])


def test_random_bytes_never_raise_anything_but_our_errors() -> None:
    """Mutations of a real envelope: bytes replaced, inserted, removed."""
    rng, data, refused = random.Random(1), seal_sample().data, 0
    for _ in range(2000):
        mutated = bytearray(data)
        for _ in range(rng.randint(1, 4)):
            where = rng.randrange(len(mutated))
            match rng.randrange(3):
                case 0:
                    mutated[where] = rng.randrange(256)
                case 1:
                    mutated.insert(where, rng.randrange(256))
                case _:
                    del mutated[where]
        if bytes(mutated) != data:
            refused += 1
            with pytest.raises(PlatesealError):
                verify_envelope(parse_envelope(bytes(mutated)), KEY.public_key())
    assert refused > 1900


def test_an_envelope_over_the_limit_is_neither_made_nor_parsed() -> None:
    """1 MiB is the most, on both sides."""
    content, _ = sealed.sealed_content(seal_sample())
    position = Chain().next
    large = sealed.SealedContent(
        alg=content.alg,
        protected_bytes=content.protected_bytes,
        nonce=content.nonce,
        ciphertext=bytes(sealed.MAX_ENVELOPE_BYTES),
        recipients=content.recipients,
    )
    with pytest.raises(FormatError, match="at most 1048576"):
        sealed.sign_envelope(Header(position), large, KEY)
    with pytest.raises(FormatError, match="at most 1048576"):
        parse_envelope(bytes(sealed.MAX_ENVELOPE_BYTES + 1))


def test_a_repr_shows_no_secret() -> None:
    """Sealed bytes and plate text stay out of logs and tracebacks."""
    envelope = seal_sample()
    assert "data" not in repr(envelope)
    assert SAMPLE.text not in repr(SAMPLE)
    assert "JFIF" not in repr(SAMPLE)
    assert "raw" not in repr(PRIVATE)


def test_position_rules() -> None:
    """The zero digest stands at 0 and only there; `last` at 0 only."""
    chain = b"\x07" * 16
    with pytest.raises(FormatError, match="prev is zero"):
        ChainPosition(chain=chain, seq=3, prev=ZERO_DIGEST)
    with pytest.raises(FormatError, match="last is allowed at seq 0 only"):
        ChainPosition(chain=chain, seq=3, prev=b"\x01" * 32, last=b"\x02" * 32)
    assert ChainPosition(chain=chain, seq=0, prev=ZERO_DIGEST, last=b"\x02" * 32).last == b"\x02" * 32

"""What version 2 of the envelope adds: one content key for all recipients, provably, and lengths that say little.

Each scenario went through unnoticed in version 1; the tests that say so show it there as well.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.custody.opener import PrivateKey, open_envelope
from agent.errors import FormatError, OpenError
from agent.keys.keyring import KeyringBook
from agent.seal.sealer import Sealer, seal_content
from agent.unit.capture.describe import encode_jpeg
from agent.wire import cose, suites
from agent.wire.content_key import commit, seal_key_to
from agent.wire.envelope import Envelope, parse_envelope, sealed_content, sign_envelope
from agent.wire.header import ChainPosition, Header, SeenReceipt, encode_header
from agent.wire.keyring import RecipientKey
from agent.wire.plaintext import ClockState, Direction, Plaintext, encode_plaintext, padme, parse_plaintext
from tests.fakes.envelopes import first_position
from tests.fakes.reads import make_keyring, make_plaintext, make_recipient

KEY = Ed25519PrivateKey.generate()
CIPHER = suites.ContentCipher.AES_256_GCM
AGENCY, AGENCY_PRIVATE = make_recipient(recipient="agency")
AUDITOR, AUDITOR_PRIVATE = make_recipient(recipient="auditor")
VERSIONS = pytest.mark.parametrize("run", [pytest.param(None, id="version-1"), pytest.param(0, id="version-2")])


def seal(read: Plaintext, position: ChainPosition, *, seen: SeenReceipt | None = None) -> Envelope:
    """Seal a read to the agency and the auditor."""
    book = KeyringBook(make_keyring(AGENCY, AUDITOR))
    return Sealer(signing_key=KEY, book=book, cipher=CIPHER, seen=lambda: seen).seal(read, position)


def seal_with_two_keys(position: ChainPosition) -> Envelope:
    """Give the agency the content key, and the auditor another one."""
    content_key = os.urandom(suites.CONTENT_KEY_BYTES)
    header = Header(position, commitment=None if position.run is None else commit(content_key))
    outer = encode_header(cose.ed25519_kid(KEY.public_key()), header)
    plaintext = encode_plaintext(make_plaintext(), version=position.version)
    content = seal_content(plaintext, (AGENCY,), cipher=CIPHER, content_key=content_key, outer_protected=outer)
    other = seal_key_to(AUDITOR.public, os.urandom(32), suite=AUDITOR.suite, kid=AUDITOR.kid, content_alg=content.alg)
    return sign_envelope(header, replace(content, recipients=(*content.recipients, other)), KEY)


def recipients_of(envelope: Envelope) -> list[bytes]:
    """Return the ids of the keys that an envelope is sealed to, in order."""
    return [slot.kid for slot in sealed_content(envelope)[0].recipients]


@pytest.mark.parametrize("private", [AGENCY_PRIVATE, AUDITOR_PRIVATE], ids=["agency", "auditor"])
def test_every_recipient_opens_what_was_sealed(private: PrivateKey) -> None:
    """Each alone; the header's commitment is the one of the key that they find."""
    read = make_plaintext()
    envelope = parse_envelope(seal(read, first_position(run=0)).data)
    assert open_envelope(envelope, {private.kid: private}) == read
    assert recipients_of(envelope) == [AGENCY.kid, AUDITOR.kid]


def test_another_key_for_the_auditor_is_told_to_the_auditor() -> None:
    """It is the device that lied, and the message says in what."""
    envelope = parse_envelope(seal_with_two_keys(first_position(run=0)).data)
    assert open_envelope(envelope, {AGENCY_PRIVATE.kid: AGENCY_PRIVATE}).text == "AB123CD"
    with pytest.raises(OpenError, match="is not the one that the header commits to"):
        open_envelope(envelope, {AUDITOR_PRIVATE.kid: AUDITOR_PRIVATE})


def test_a_ciphertext_for_two_keys_opens_with_the_committed_one_only() -> None:
    """AES-GCM would open under both: whoever has the other key gets a refusal before anything is decrypted."""
    envelope = seal_with_two_keys(first_position(run=0))
    content, _ = sealed_content(envelope)
    swapped = sign_envelope(envelope.header, replace(content, recipients=tuple(reversed(content.recipients))), KEY)
    with pytest.raises(OpenError, match="commits to"):
        open_envelope(swapped, {AUDITOR_PRIVATE.kid: AUDITOR_PRIVATE})


def test_a_commitment_says_nothing_of_its_key_and_is_another_for_each() -> None:
    """No two keys of a thousand share one, and none is in it."""
    keys = [os.urandom(suites.CONTENT_KEY_BYTES) for _ in range(1000)]
    commitments = {commit(key) for key in keys}
    assert len(commitments) == len(keys)
    assert all(key not in commitments for key in keys)


@VERSIONS
def test_one_recipient_twice(run: int | None) -> None:
    """Version 1 took it; in version 2 it is refused before anything is stored."""
    header = Header(first_position(run=run), commitment=None if run is None else commit(bytes(32)))
    outer = encode_header(cose.ed25519_kid(KEY.public_key()), header)
    twice: tuple[RecipientKey, ...] = (AGENCY, AGENCY)
    content = seal_content(b"", twice, cipher=CIPHER, content_key=bytes(32), outer_protected=outer)
    envelope = sign_envelope(header, content, KEY)
    if run is None:
        assert parse_envelope(envelope.data).envelope_id == envelope.envelope_id
    else:
        with pytest.raises(FormatError, match="one recipient twice"):
            parse_envelope(envelope.data)


def test_a_key_that_two_names_share_is_a_recipient_once() -> None:
    """An owner may give the agency's key to the auditor too; every read was refused by receivers before."""
    book = KeyringBook(make_keyring(AGENCY, replace(AGENCY, recipient="auditor")))
    read = make_plaintext()
    sealed = Sealer(signing_key=KEY, book=book, cipher=CIPHER).seal(read, first_position(run=0))
    envelope = parse_envelope(sealed.data)
    assert recipients_of(envelope) == [AGENCY.kid]
    assert open_envelope(envelope, {AGENCY_PRIVATE.kid: AGENCY_PRIVATE}) == read


def lengths(reads: list[Plaintext], run: int | None) -> set[int]:
    """Return the lengths that somebody sees who has the envelopes and no key."""
    position = ChainPosition(bytes(16), 7, b"\x01" * 32, run=run)
    return {len(seal(read, position).data) for read in reads}


def reads_without_crop() -> list[Plaintext]:
    """Return reads of one camera that differ in everything that could show in the length."""
    numbers = ((0, 0, 0, 0), (7, 9, 22, 300), (16384,) * 4)
    return [
        make_plaintext(
            "AB123CDEFG"[:size],
            confidences=(share,) * size,
            direction=direction,
            box=box,
            votes=(1, looks),
            detector_confidence=share,
            frame_sequence=frame,
            region=region,
            lane=lane,
            clock=clock,
            crop=b"",
        )
        for (size, share), direction, (box, looks, frame), (region, lane), clock in itertools.product(
            ((5, 1), (6, 900), (7, 23), (8, 1000), (10, 255)),
            Direction,
            zip(numbers, (1, 30, 70_000), (0, 300, 90_000), strict=True),
            ((None, None), ("Oman", "2"), ("Bosnia and Herzegovina", "towards the motorway")),
            (ClockState.SYNCHRONIZED, ClockState.UNSYNCHRONIZED, ClockState.BEHIND),
        )
    ]


def test_without_a_crop_every_read_of_a_camera_has_one_length() -> None:
    """Neither text nor direction, region, lane, confidence, nor the number of looks shows."""
    assert len(lengths(reads_without_crop(), run=0)) == 1


def test_version_1_told_the_number_of_characters() -> None:
    """What the padding is for."""
    reads = [make_plaintext("AB123CDE"[:size], confidences=(900,) * size, crop=b"") for size in (6, 7, 8)]
    assert len(lengths(reads, run=None)) == 3
    assert len(lengths(reads, run=0)) == 1


def crops() -> list[bytes]:
    """Return pictures of plates: JPEGs of a few hundred sizes."""
    drawn = np.random.default_rng(7)
    pictures = []
    for width, quality in itertools.product(range(60, 360, 5), (60, 75, 90)):
        noise = drawn.integers(0, 255, (width // 4, width, 3), dtype=np.uint8)
        pictures.append(encode_jpeg(noise, quality=quality))
    return pictures


def test_of_a_crops_size_only_leading_bits_show() -> None:
    """Many sizes share a length, and what that costs is within the promise: at most 12 % of the bytes."""
    pictures = crops()
    assert len({len(picture) for picture in pictures}) > 150
    reads = [make_plaintext(crop=picture) for picture in pictures]
    padded = [len(encode_plaintext(read)) for read in reads]
    bare = [len(encode_plaintext(read, version=1)) for read in reads]
    assert len(set(padded)) < len(set(bare)) / 2
    assert sum(padded) <= 1.12 * sum(bare)


def test_padding_costs_at_most_an_eighth_of_an_envelope() -> None:
    """Of envelopes as units send them by default, sealed to a hybrid key, with a crop and without."""
    hybrid, _ = make_recipient(suites.KeyType.HYBRID)
    sealer = Sealer(signing_key=KEY, book=KeyringBook(make_keyring(hybrid)), cipher=CIPHER)
    for crop in (b"", *crops()[::10]):
        read = make_plaintext(crop=crop)
        envelope = sealer.seal(read, first_position(run=0))
        padding = len(encode_plaintext(read)) - len(encode_plaintext(read, version=1))
        assert padding <= 0.12 * (len(envelope.data) - padding)


@pytest.mark.parametrize("length", [1, 2, 9, 100, 255, 256, 1000, 4097, 30_000, 1 << 20])
def test_padme_is_what_its_paper_says(length: int) -> None:
    """The last bits are zero, as many as leave log2 log2 + 1 leading ones; at most 12 % more, never less."""
    padded = padme(length)
    exponent = max(length.bit_length() - 1, 1)
    assert padded % (1 << max(exponent - exponent.bit_length(), 0)) == 0
    assert length <= padded <= length * 1.12


def test_a_padded_read_is_what_was_sealed() -> None:
    """Zeros behind the map, and nothing else there."""
    for read in reads_without_crop()[::17]:
        assert parse_plaintext(encode_plaintext(read)) == read
    with pytest.raises(FormatError, match="followed by other bytes"):
        parse_plaintext(encode_plaintext(make_plaintext()) + b"\x01")
    with pytest.raises(FormatError, match="followed by other bytes"):
        parse_plaintext(encode_plaintext(make_plaintext(), version=1) + b"\x00", version=1)


def test_what_version_2_adds_fits_in_120_bytes() -> None:
    """Before padding, with the receipt that the unit saw, and numbers as large as after years."""
    seen = SeenReceipt(bytes(8), log=(1 << 32) - 1, digest=bytes(32))
    read = make_plaintext()
    old = seal(read, ChainPosition(bytes(16), 70_000, b"\x01" * 32))
    new = seal(read, ChainPosition(bytes(16), 70_000, b"\x01" * 32, run=70_000), seen=seen)
    padding = len(encode_plaintext(read)) - len(encode_plaintext(read, version=1))
    assert len(new.data) - len(old.data) - padding <= 120
    assert parse_envelope(new.data).header.seen == seen


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"position": (91_000_000, 0)}, "position"),
        ({"position": (0, -180_000_001)}, "position"),
        ({"box": (0, 0, 16385, 1)}, "box"),
        ({"box": (-1, 0, 1, 1)}, "box"),
        ({"votes": (1, 1_000_001)}, "votes"),
        ({"confidences": (900,) * 6}, "confidences"),
        ({"confidences": (1001,) * 7}, "confidences"),
        ({"frame_wh": (16385, 1)}, "frame_wh"),
        ({"frame_sequence": 1 << 53}, "frame"),
        ({"detector_confidence": 1001}, "detector"),
        ({"camera": "c" * 65}, "camera"),
        ({"lane": "l" * 65}, "lane"),
        ({"reader_digest": bytes(31)}, "models"),
    ],
)
def test_a_unit_cannot_make_a_read_that_nobody_opens(changes: dict[str, object], named: str) -> None:
    """Before, such a read was sealed, stored, receipted and erased, and then did not open."""
    with pytest.raises(FormatError, match=f"^plaintext: {named}"):
        make_plaintext("AB123CD", **changes)

"""Vectors of the export folder: files that hold together, and such as do not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.vectors.cases_version_2 import READ_2, SETTLED, padded
from tests.vectors.certificates import pem
from tests.vectors.export_folder import CROP, NEXT_CHAIN, Files, Story, as_file, digest, moment, public_pem, told
from tests.vectors.keys import DEVICE, OTHER_DEVICE, OTHER_RECEIVER, RECEIVER, seed
from tests.vectors.messages import (
    CONTENT_KEY,
    NOON,
    READ_TYPE,
    TLS_KEY,
    TOMBSTONE,
    TOMBSTONE_TYPE,
    Map,
    changed,
    envelope,
    flip_part,
    header,
    sign1,
)
from tests.vectors.vector import Vector, accepted, refused

_CONTEXT: Final[Map] = {"device": DEVICE.public.hex(), "receivers": [RECEIVER.public.hex()]}


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _rights()
    yield from _sums()
    yield from _keys()
    yield from _told()
    yield from _neighbours()
    yield from _receipts()


def _rights() -> Iterator[Vector]:
    def right(name: str, why: str, story: Story, files: Files | None = None) -> Vector:
        folder = story.files() if files is None else files
        prefix = "2-" if story.version == 2 else ""
        vector = accepted("export", f"{prefix}right{name}", why, folder, story.values(folder), **_CONTEXT)
        return vector.with_steps(story.steps())

    for version in (2, 1):
        story = Story(version)
        yield right("", f"A read of version {version}, with its neighbours and its receipt.", story)
        alone = story.files("previous.cose", "next.cose", "receipt.cose", "receipt.pub")
        yield right("-alone", "The store had neither neighbours nor a receipt.", story, alone)
        first = Story(version, seq=0)
        yield right("-first", "The first read of a chain, with none before it.", first)
        bare = Story(version, crop=b"")
        yield right("-without-crop", "No picture was sealed.", bare)
        for name in ("site", "region", "lane", "position"):
            bare.read = changed(bare.read, name)
        bare.envelope = bare.made(bare.place, bare.read)
        yield right("-bare", "The read has no field that may be missing.", bare)
        grave = sign1(
            header(TOMBSTONE_TYPE, DEVICE, ps=changed(story.where(2, prev=digest(story.envelope)), "com")),
            TOMBSTONE,
            DEVICE,
        )
        yield right("-next-is-a-tombstone", "A tombstone follows.", story, story.files(next_cose=grave))
        edges = Story(
            version, position=[-90_000_000, 180_000_000], confidences=[0, 1, 10, 100, 333, 999, 1000], site="ö\u2028"
        )
        yield right("-edges", "Shares and degrees at their ends, letters beyond ASCII.", edges)
        reverse = as_file(dict(reversed(list(told(story.envelope, story.place, story.read).items()))))
        yield right("-other-order", "read.json has another order.", story, story.files(read_json=reverse))
    settled = {name: SETTLED[name] for name in ("seen", "format")}
    yield right("-settled", "A look-alike was settled by a format of plates.", Story(2, **settled))
    yield right("-of-no-format", "No format has the text, which is as it was seen.", Story(2, seen="AB123CD"))
    story = Story()
    behind = story.sealed(0, 2, chain=NEXT_CHAIN, run=1, prev=digest(story.envelope))
    yield right("-last-of-chain", "The next one begins another chain.", story, story.files(next_cose=behind))
    story = Story(1)
    behind = story.sealed(0, 2, chain=NEXT_CHAIN, last=digest(story.envelope))
    why = "The next one begins another chain, and names it as its last."
    yield right("-last-of-chain", why, story, story.files(next_cose=behind))
    story = Story(1, seq=0)
    story.before = story.sealed(7, 0, chain=NEXT_CHAIN)
    story.place = story.where(0, last=digest(story.before))
    story.envelope = story.made(story.place, story.read)
    yield right("-after-a-chain", "It begins a chain, and names the last of the one before.", story)


STORY: Final = Story()
OLD: Final = Story(1)


def _fault(name: str, why: str, files: Files, cause: str, **context: Any) -> Vector:
    return refused("export", name, why, files, cause, **(_CONTEXT | context))


def _sums() -> Iterator[Vector]:
    right = STORY.files()

    def sums(name: str, why: str, text: bytes) -> Vector:
        return _fault(f"2-sums-{name}", why, right | {"SHA256SUMS": text}, "digest")

    of = right["SHA256SUMS"]
    yield _fault("2-sums-other-file", "VERIFY.md was changed.", right | {"VERIFY.md": b"Trust me.\n"}, "digest")
    yield _fault("2-sums-no-file", "A file that is listed is not there.", changed(right, "crop.jpg"), "digest")
    yield _fault("2-sums-missing", "There is no list.", changed(right, "SHA256SUMS"), "digest")
    yield sums("empty", "The list is empty.", b"")
    yield sums("short", "The list leaves a file out.", b"".join(of.splitlines(keepends=True)[1:]))
    yield sums("malformed", "A line has no digest.", of.replace(digest(right["VERIFY.md"]).hex().encode(), b"x"))
    for name in ("envelope.cose", "device.pub", "content.key", "read.json"):
        word = name.replace(".", "-")
        yield _fault(f"2-without-{word}", f"{name} is missing.", STORY.files(name), "field")
    yield _fault("2-without-receipt-pub", "The key of the receipt is missing.", STORY.files("receipt.pub"), "field")


def _keys() -> Iterator[Vector]:
    def fault(name: str, why: str, cause: str, **changes: bytes) -> Vector:
        return _fault(f"2-{name}", why, STORY.files(**changes), cause)

    other = Story(signer=OTHER_DEVICE)
    yield _fault("2-another-device", "All of it is another unit's.", other.files(), "signer")
    yield fault("another-device-key", "device.pub is another unit's.", "signer", device_pub=public_pem(OTHER_DEVICE))
    p256 = TLS_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    yield fault("device-key-of-p256", "device.pub is a P-256 key.", "key", device_pub=p256)
    raw = DEVICE.public.hex().encode()
    yield fault("device-key-in-hex", "device.pub is no PEM.", "encoding", device_pub=raw)
    key = CONTENT_KEY.hex().encode()
    yield fault("short-content-key", "content.key has 31 bytes.", "value", content_key=key[:62] + b"\n")
    yield fault("content-key-no-hex", "content.key is not hex.", "value", content_key=b"x" * 64 + b"\n")
    another = seed("another content key").hex().encode() + b"\n"
    yield fault(
        "another-content-key", "content.key is not the one that was committed to.", "commitment", content_key=another
    )
    why = "content.key does not open the envelope."
    yield _fault("another-content-key", why, OLD.files(content_key=another), "ciphertext")
    lied = Story()
    lied.place |= {"com": seed("another commitment")}
    lied.envelope = lied.made(lied.place, lied.read)
    why = "The envelope commits to another key than the one that opens it."
    yield _fault("2-commitment-to-another-key", why, lied.files(), "commitment")
    yield from _envelopes()


def _envelopes() -> Iterator[Vector]:
    def altered(name: str, why: str, cause: str, data: bytes) -> Vector:
        story = Story()
        story.envelope = data
        return _fault(f"2-envelope-{name}", why, story.files(), cause)

    outer = header(READ_TYPE, DEVICE, ps=STORY.place)
    signature = envelope(outer=outer, read=padded(STORY.read), alter=flip_part(3))
    yield altered("altered-signature", "One bit of the unit's signature is flipped.", "signature", signature)
    ones = envelope(outer=outer, read=padded(STORY.read)[:-1] + b"\1")
    yield altered("padded-with-ones", "A byte behind the read is not zero.", "encoding", ones)
    yield altered("truncated", "The last byte of the envelope is missing.", "encoding", STORY.envelope[:-1])
    grave = sign1(header(TOMBSTONE_TYPE, DEVICE, ps=changed(STORY.place, "com")), TOMBSTONE, DEVICE)
    yield altered("tombstone", "A tombstone stands where the read must.", "content-type", grave)


def _told() -> Iterator[Vector]:
    says = told(STORY.envelope, STORY.place, STORY.read)

    def fault(name: str, why: str, value: Map | bytes, cause: str = "mismatch") -> Vector:
        data = value if isinstance(value, bytes) else as_file(value)
        return _fault(f"2-told-{name}", why, STORY.files(read_json=data), cause)

    others: Map = {
        "envelope": "00" * 32,
        "device_key": OTHER_DEVICE.kid.hex(),
        "chain": NEXT_CHAIN.hex(),
        "seq": 2,
        "camera": "cam-2",
        "site": None,
        "position": [38.707751, 9.136592],
        "captured_at": moment(NOON + 1),
        "clock": "unsynchronized",
        "text": "AB123CE",
        "confidences": [1.0] * 7,
        "votes": [5, 5],
        "region": "Spain",
        "detector_confidence": 0.871,
        "box": [10, 20, 110, 51],
        "frame": 43,
        "frame_wh": [1280, 721],
        "first_seen": moment(NOON),
        "last_seen": moment(NOON),
        "direction": "receding",
        "lane": "3",
        "crop_bytes": len(CROP) + 1,
        "detector_sha256": "00" * 32,
        "reader_sha256": "00" * 32,
        "agent_version": "0.1.1",
    }
    assert set(others) == set(says)
    for name, value in others.items():
        yield fault(f"other-{name.replace('_', '-')}", f"read.json has another {name}.", says | {name: value})
    settled = Story(2, seen="A8123CD", format="AR-2016")
    told_of = told(settled.envelope, settled.place, settled.read)
    for name, change in (("seen", {"seen": "AB123CD"}), ("format", {"format": None})):
        files = settled.files(read_json=as_file(told_of | change))
        yield _fault(f"2-told-other-{name}", f"read.json has another {name}.", files, "mismatch")
    files = settled.files(read_json=as_file(changed(told_of, "seen")))
    yield _fault("2-told-nothing-seen", "read.json says nothing of what was seen.", files, "mismatch")
    yield fault("unknown-field", "read.json has a field too many.", says | {"x": 0})
    yield fault("missing-field", "read.json says nothing of the lane.", changed(says, "lane"))
    yield fault("no-json", "read.json is no JSON.", b"AB123CD\n", "encoding")
    twice = as_file(says).replace(b'"text"', b'"text": "ZZ999ZZ",\n "text"')
    yield fault("twice", "read.json has the text twice; the second one is right.", twice, "encoding")
    yield _fault("2-other-crop", "The picture is another one.", STORY.files(crop_jpg=CROP + b"\0"), "mismatch")
    yield _fault("2-without-crop", "A picture was sealed, and is not there.", STORY.files("crop.jpg"), "mismatch")
    bare = Story(crop=b"")
    why = "No picture was sealed, and one is there."
    yield _fault("2-crop-too-many", why, bare.files(crop_jpg=CROP), "mismatch")


def _neighbours() -> Iterator[Vector]:
    def fault(name: str, why: str, cause: str, story: Story = STORY, **changes: bytes) -> Vector:
        prefix = "2-" if story.version == 2 else ""
        return _fault(f"{prefix}{name}", why, story.files(**changes), cause)

    yield fault("previous-another", "Another read of the unit.", "chain", previous_cose=STORY.sealed(0, 9))
    other = Story(signer=OTHER_DEVICE)
    mixed = Story()
    mixed.before = other.before
    mixed.place |= {"prev": digest(other.before or b"")}
    mixed.envelope = mixed.made(mixed.place, mixed.read)
    yield fault("previous-of-another-unit", "The one before it is another unit's.", "signer", mixed)
    first = Story(seq=0)
    why = "The first of all names none before it."
    yield fault("previous-of-the-first", why, "chain", first, previous_cose=first.sealed(1, 9))
    yield fault("next-another", "It names another one before it.", "chain", next_cose=STORY.after(prev=seed("another")))
    stranger = other.sealed(2, 2, prev=digest(STORY.envelope))
    yield fault("next-of-another-unit", "The one after it is another unit's.", "signer", next_cose=stranger)
    after = STORY.where(2, prev=digest(STORY.envelope))
    altered = envelope(outer=header(READ_TYPE, DEVICE, ps=after), read=padded(READ_2), alter=flip_part(3))
    yield fault("next-altered-signature", "One bit of its signature is flipped.", "signature", next_cose=altered)
    gap = STORY.sealed(5, 2, prev=digest(STORY.envelope))
    yield fault("next-with-a-gap", "It names this one, and stands four places behind it.", "chain", next_cose=gap)
    strange = STORY.sealed(2, 2, prev=digest(STORY.envelope), chain=NEXT_CHAIN)
    yield fault("next-in-another-chain", "It stands at place 2 of another chain.", "chain", next_cose=strange)
    last = OLD.sealed(0, 2, chain=NEXT_CHAIN)
    yield fault("next-names-none", "It begins another chain and names none.", "chain", OLD, next_cose=last)


def _receipts() -> Iterator[Vector]:
    def fault(name: str, why: str, receipt: bytes, cause: str = "mismatch") -> Vector:
        return _fault(f"2-receipt-{name}", why, STORY.files(receipt_cose=receipt), cause)

    yield fault("for-another-envelope", "It is for another envelope.", STORY.receipt(id=seed("another")))
    yield fault("for-another-length", "It names another length.", STORY.receipt(len=1))
    yield fault("for-another-device", "It names another unit's key.", STORY.receipt(dev=OTHER_DEVICE.kid))
    yield fault("for-another-chain", "It names another chain.", STORY.receipt(chain=NEXT_CHAIN))
    yield fault("for-another-place", "It names another place.", STORY.receipt(seq=2))
    yield fault(
        "altered-signature", "One bit of its signature is flipped.", STORY.receipt(alter=flip_part(3)), "signature"
    )
    yield fault("by-another", "Another receiver has signed it.", STORY.receipt(OTHER_RECEIVER), "signer")
    both = STORY.files(receipt_cose=STORY.receipt(OTHER_RECEIVER), receipt_pub=public_pem(OTHER_RECEIVER))
    yield _fault("2-receipt-of-another-receiver", "Receipt and key are another receiver's.", both, "signer")
    p256 = ec.derive_private_key(7, ec.SECP256R1()).public_key()
    der = p256.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    key = STORY.files(receipt_pub=pem(der, "PUBLIC KEY").encode())
    yield _fault("2-receipt-key-of-p256", "receipt.pub is a P-256 key.", key, "key")

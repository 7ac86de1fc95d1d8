"""Builds export folders for the test vectors, around one read of one chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.wire.cbor import encode
from tests.vectors.cases_version_2 import COMMITMENT, READ_2, envelope_2, padded, place_2
from tests.vectors.keys import DEVICE, RECEIVER, Signer, seed
from tests.vectors.messages import (
    CONTENT_KEY,
    DAY,
    NOON,
    READ,
    READ_TYPE,
    RECEIPT_TYPE,
    ZEROS,
    Map,
    envelope,
    header,
    place,
    sign1,
)

CROP: Final = b"\xff\xd8\xff\xe0 no picture, for test vectors only \xff\xd9"
MORE: Final[Map] = {
    "crop": CROP,
    "site": "north gate",
    "region": "Portugal",
    "lane": "2",
    "position": [38_707_751, -9_136_592],
}
"""What a read may have beside what every read has."""
NEXT_CHAIN: Final = seed("the chain after it")[:16]
Files = dict[str, bytes]


def digest(data: bytes) -> bytes:
    """Return SHA-256."""
    return hashlib.sha256(data).digest()


def public_pem(signer: Signer) -> bytes:
    """Return a public key as plateseal writes it."""
    return signer.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def moment(ms: int) -> str:
    """Return a time as read.json has it."""
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def told(data: bytes, where: Map, read: Map, signer: Signer = DEVICE) -> Map:
    """Return what read.json says."""
    same = ("camera", "clock", "text", "votes", "box", "frame", "frame_wh", "direction")
    position = read.get("position")
    return {
        "envelope": digest(data).hex(),
        "device_key": signer.kid.hex(),
        "chain": where["chain"].hex(),
        "seq": where["seq"],
        **{name: read[name] for name in same},
        **{name: read.get(name) for name in ("site", "region", "lane")},
        **{name: read.get(name) for name in ("seen", "format") if "seen" in read},
        "position": None if position is None else [part / 1_000_000 for part in position],
        **{name: moment(read[name]) for name in ("captured_at", "first_seen", "last_seen")},
        "confidences": [share / 1000 for share in read["confidences"]],
        "detector_confidence": read["detector"] / 1000,
        "crop_bytes": len(read["crop"]),
        "detector_sha256": read["models"]["detector"].hex(),
        "reader_sha256": read["models"]["reader"].hex(),
        "agent_version": read["agent"],
    }


def as_file(value: Map) -> bytes:
    """Return read.json's bytes."""
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def listed(files: Files) -> Files:
    """Return files with the list of their digests, which comes last."""
    rest = {name: data for name, data in files.items() if name != "SHA256SUMS"}
    return rest | {"SHA256SUMS": "".join(f"{digest(data).hex()}  {name}\n" for name, data in rest.items()).encode()}


class Story:
    """A read in its chain: in version 2, or in version 1."""

    def __init__(self, version: int = 2, seq: int = 1, signer: Signer = DEVICE, **changes: Any) -> None:
        self.signer, self.version = signer, version
        self.before = self.sealed(0, 0) if seq else None
        self.read = (READ_2 if version == 2 else READ) | MORE | changes
        self.place = self.where(seq, prev=digest(self.before) if self.before else ZEROS)
        self.envelope = self.made(self.place, self.read)

    def where(self, seq: int, **changes: Any) -> Map:
        """Return a place in the chain."""
        return (place_2(seq) if self.version == 2 else place(seq)) | changes

    def made(self, where: Map, read: Map) -> bytes:
        """Return an envelope."""
        if self.version == 2:
            return envelope_2(where, read=padded(read), signer=self.signer)
        return envelope(outer=header(READ_TYPE, self.signer, ps=where), read=read, signer=self.signer)

    def sealed(self, seq: int, number: int, **changes: Any) -> bytes:
        """Return another read of the chain."""
        read = (READ_2 if self.version == 2 else READ) | {"frame": number}
        return self.made(self.where(seq, **changes), read)

    def after(self, **changes: Any) -> bytes:
        """Return the envelope behind it."""
        return self.sealed(self.place["seq"] + 1, 2, **({"prev": digest(self.envelope)} | changes))

    def receipt(self, signer: Signer = RECEIVER, alter: Callable[[list[Any]], Any] = list, **changes: Any) -> bytes:
        """Return its receipt."""
        payload = {
            "v": self.version,
            "id": digest(self.envelope),
            "len": len(self.envelope),
            "dev": self.signer.kid,
            "chain": self.place["chain"],
            "seq": self.place["seq"],
            "at": NOON + DAY,
            "log": 17,
        } | ({"prev": ZEROS} if self.version == 2 else {})
        return sign1(header(RECEIPT_TYPE, signer), payload | changes, signer, alter=alter)

    def files(self, *without: str, **changes: bytes) -> Files:
        """Return the folder; a change is named with `_` for the dot."""
        files = {
            "envelope.cose": self.envelope,
            "device.pub": public_pem(self.signer),
            "content.key": CONTENT_KEY.hex().encode() + b"\n",
            "read.json": as_file(told(self.envelope, self.place, self.read, self.signer)),
        }
        if self.read["crop"]:
            files["crop.jpg"] = self.read["crop"]
        if self.before is not None:
            files["previous.cose"] = self.before
        files["next.cose"] = self.after()
        files |= {"receipt.cose": self.receipt(), "receipt.pub": public_pem(RECEIVER)}
        files["VERIFY.md"] = b"In a test vector: see docs/FORMAT.md.\n"
        files |= {name.replace("_", "."): data for name, data in changes.items()}
        return listed({name: data for name, data in files.items() if name not in without})

    def values(self, files: Files) -> Map:
        """Return what a reader finds."""
        return {
            "id": digest(self.envelope),
            "read": self.read,
            "neighbours": [name for name in ("previous.cose", "next.cose") if name in files],
            "stored_at": NOON + DAY if "receipt.cose" in files else None,
        }

    def steps(self) -> Map:
        """Return what a checker has on the way."""
        outer = encode(header(READ_TYPE, self.signer, ps=self.place))
        steps = {"enc_structure": encode(["Encrypt", encode({1: 3}), outer])}
        if self.version == 2:
            steps |= {"committed": encode(["plateseal content key 2", CONTENT_KEY]), "commitment": COMMITMENT}
        return steps

"""Vectors of the owner's key files, plain and under a passphrase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from agent.wire.cbor import encode
from tests.vectors.keys import AGENCY, AUDITOR, CASE, HYBRID, OTHER_OWNER, Recipient
from tests.vectors.messages import (
    PASSPHRASE,
    SALT,
    ZEROS,
    Map,
    changed,
    cose_key,
    flip,
    flip_part,
    locked,
    owner_cose_key,
    set_part,
)
from tests.vectors.vector import Vector, accepted, refused

_TOMORROW = Recipient("agency, the next epoch")


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _right_key_files()
    yield from _key_file_faults()
    yield from _locked_faults()


def _key_context(use: str, kid: bytes | None, passphrase: str | None) -> Map:
    return {"use": use, "kid": None if kid is None else kid.hex(), "passphrase": passphrase}


def _right_key_files() -> Iterator[Vector]:
    def right(name: str, why: str, data: bytes, key: Map, context: Map) -> Vector:
        return accepted(
            "key-file", name, why, data, {"kid": key[2], "alg": key[3], "private": key.get(-4, key[-2])}, **context
        )

    for key in (AGENCY, AUDITOR, HYBRID):
        inside = cose_key(key)
        name = key.key_type
        yield right(
            f"right-{name}",
            f"An epoch's {name} key, plain.",
            encode(inside),
            inside,
            _key_context("epoch", key.kid, None),
        )
        context = _key_context("epoch", key.kid, PASSPHRASE)
        yield right(
            f"right-locked-{name}",
            f"An epoch's {name} key under a passphrase.",
            locked(inside, "epoch"),
            inside,
            context,
        )
    owner, case = owner_cose_key(), cose_key(CASE)
    yield right(
        "right-owner", "The owner's signing key, plain.", encode(owner), owner, _key_context("owner", None, None)
    )
    yield right(
        "right-locked-owner",
        "The owner's signing key under a passphrase.",
        locked(owner, "owner"),
        owner,
        _key_context("owner", None, PASSPHRASE),
    )
    yield right(
        "right-locked-case",
        "A case's key; its file's name names no key.",
        locked(case, "case"),
        case,
        _key_context("case", None, PASSPHRASE),
    )


def _key_file_faults() -> Iterator[Vector]:
    right, owner = cose_key(AGENCY), owner_cose_key()

    def fault(name: str, why: str, key: Map | bytes, cause: str, holder: Recipient = AGENCY) -> Vector:
        data = key if isinstance(key, bytes) else encode(key)
        return refused("key-file", name, why, data, cause, **_key_context("epoch", holder.kid, None))

    def owners(name: str, why: str, key: Map, cause: str) -> Vector:
        return refused("key-file", f"owner-{name}", why, encode(key), cause, **_key_context("owner", None, None))

    yield fault("truncated", "The last byte is missing.", encode(right)[:-1], "encoding")
    yield fault("trailing-byte", "A zero byte follows.", encode(right) + b"\x00", "encoding")
    yield fault("unknown-field", "A field too many: key operations (4).", right | {4: [8]}, "field")
    yield fault("missing-key-id", "The key id is missing.", changed(right, 2), "field")
    yield fault("unknown-algorithm", "The algorithm is 35 (HPKE-0).", right | {3: 35}, "algorithm")
    yield fault("wrong-key-type", "The key type is EC2 for an X25519 key.", right | {1: 2}, "key")
    yield fault("wrong-curve", "The curve is Ed25519.", right | {-1: 6}, "key")
    yield fault("short-private-key", "The private key has 31 bytes.", right | {-4: AGENCY.private[:31]}, "value")
    yield fault("public-of-another-key", "The public half is another key's.", right | {-2: _TOMORROW.public}, "key")
    yield fault(
        "key-id-of-another-key", "The key id is not the thumbprint of the key.", right | {2: _TOMORROW.kid}, "key"
    )
    yield fault("name-of-another-key", "The file's name is another key's id.", right, "use", _TOMORROW)
    zero = cose_key(AUDITOR) | {-4: ZEROS}
    yield fault("zero-scalar", "The private key of P-256 is 0.", zero, "key", AUDITOR)
    order = cose_key(AUDITOR) | {-4: bytes.fromhex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")}
    yield fault("scalar-is-the-order", "The private key of P-256 is the order of the curve.", order, "key", AUDITOR)
    yield owners("public-of-another-key", "The public half is another key's.", owner | {-2: OTHER_OWNER.public}, "key")
    yield owners(
        "key-id-of-another-key", "The key id is not the thumbprint of the key.", owner | {2: OTHER_OWNER.kid}, "key"
    )
    yield owners("unknown-field", "A field too many: key operations (4).", owner | {4: [1]}, "field")
    yield owners("wrong-algorithm", "The algorithm is ES256 (-7).", owner | {3: -7}, "algorithm")
    yield owners("recipient-key", "An X25519 key stands where the owner's signing key must.", right, "algorithm")


def _locked_faults() -> Iterator[Vector]:
    inside = cose_key(AGENCY)
    right = locked(inside, "epoch")
    context = _key_context("epoch", AGENCY.kid, PASSPHRASE)

    def fault(name: str, why: str, data: bytes, cause: str, **changes: Any) -> Vector:
        return refused("key-file", f"locked-{name}", why, data, cause, **(context | changes))

    def altered(name: str, why: str, alter: Callable[[list[Any]], Any], cause: str) -> Vector:
        return fault(name, why, locked(inside, "epoch", alter=alter), cause)

    def headed(name: str, why: str, changes: Map, cause: str) -> Vector:
        return fault(name, why, locked(inside, "epoch", changes=changes), cause)

    def costing(name: str, why: str, *cost: int, salt: bytes = SALT) -> Vector:
        return fault(name, why, locked(inside, "epoch", cost=(salt, *cost), derived=None), "cost")

    yield fault("wrong-passphrase", "Another passphrase.", right, "passphrase", passphrase=PASSPHRASE + "!")
    yield fault("no-passphrase", "None is given.", right, "passphrase", passphrase=None)
    yield fault(
        "passphrase-for-a-plain-file",
        "A passphrase is given, and the file is under none.",
        encode(inside),
        "passphrase",
    )
    yield fault("for-a-case", "The file was made for a case's key.", locked(inside, "case"), "use")
    other = locked(cose_key(_TOMORROW), "epoch")
    yield fault("of-another-key", "The file is another key's than its name says.", other, "use")
    yield fault("holds-another-key", "The header names this key, and another one is inside.", _mislabelled(), "use")
    yield from _other_inside()
    yield altered("altered-ciphertext", "One bit of the ciphertext is flipped.", flip_part(2), "passphrase")
    yield altered(
        "altered-nonce",
        "One bit of the nonce is flipped.",
        lambda parts: parts[1].update({5: flip(parts[1][5], 0)}),
        "passphrase",
    )
    salted = [flip(SALT, 0), 16, 8, 1]
    yield altered(
        "altered-salt",
        "One bit of the salt is flipped.",
        set_part(0, _locked_header(inside, scrypt=salted)),
        "passphrase",
    )
    yield altered("short-nonce", "The nonce has 11 bytes.", set_part(1, {5: bytes(11)}), "value")
    yield altered("four-parts", "There is a list of recipients.", lambda parts: parts.append([]), "value")
    yield altered(
        "unprotected-key-id",
        "The unprotected header has a field too many.",
        lambda parts: parts[1].update({4: AGENCY.kid}),
        "field",
    )
    yield fault("truncated", "The last byte is missing.", right[:-1], "encoding")
    yield fault("trailing-byte", "A zero byte follows.", right + b"\x00", "encoding")
    yield headed("chacha20", "The algorithm is ChaCha20/Poly1305 (24).", {1: 24}, "algorithm")
    yield headed(
        "wrong-content-type", "The content type is none of this format.", {3: "application/cbor"}, "content-type"
    )
    yield headed("unknown-header", "The protected header has a field too many.", {"x": 0}, "field")
    yield headed("version-2", "The version is 2.", {"ps": {"v": 2, "use": "epoch", "kid": AGENCY.kid}}, "version")
    yield headed(
        "unknown-use", "A use that there is not.", {"ps": {"v": 1, "use": "spare", "kid": AGENCY.kid}}, "value"
    )
    yield headed(
        "short-key-id", "The key id has 31 bytes.", {"ps": {"v": 1, "use": "epoch", "kid": AGENCY.kid[:31]}}, "value"
    )
    yield headed("short-salt", "The salt has 15 bytes.", {"scrypt": [SALT[:15], 16, 8, 1]}, "value")
    yield headed("scrypt-of-three", "p is missing.", {"scrypt": [SALT, 16, 8]}, "value")
    yield costing("cost-no-power-of-two", "N is 100.", 100, 8, 1)
    yield costing("cost-one", "N is 1.", 1, 8, 1)
    yield costing("cost-n-too-high", "N is 2^21.", 1 << 21, 1, 1)
    yield costing("cost-r-too-high", "r is 33.", 16, 33, 1)
    yield costing("cost-p-too-high", "p is 17.", 16, 8, 17)
    yield costing("cost-zero-r", "r is 0.", 16, 0, 1)
    yield costing("cost-too-much-memory", "N 2^20 and r 16 take 2 GiB.", 1 << 20, 16, 1)


def _locked_header(inside: Map, **changes: Any) -> bytes:
    head = {
        1: 3,
        3: "application/plateseal-key+cbor",
        "ps": {"v": 1, "use": "epoch", "kid": inside[2]},
        "scrypt": [SALT, 16, 8, 1],
    }
    return encode(head | changes)


def _other_inside() -> Iterator[Vector]:
    """Yield files whose name names no key, so that only their header does."""
    why = "The header names one key, and another one is inside."
    for use, inside, named in (
        ("case", cose_key(CASE), cose_key(HYBRID)[2]),
        ("owner", owner_cose_key(OTHER_OWNER), owner_cose_key()[2]),
    ):
        data = locked(inside, use, changes={"ps": {"v": 1, "use": use, "kid": named}}, named=named)
        name = f"locked-{use}-holds-another-key"
        yield refused("key-file", name, why, data, "use", **_key_context(use, None, PASSPHRASE))


def _mislabelled() -> bytes:
    """Return a file whose header names one key, and that holds another, with everything bound as it should be."""
    header_of = {"ps": {"v": 1, "use": "epoch", "kid": AGENCY.kid}}
    return locked(cose_key(_TOMORROW), "epoch", changes=header_of, named=AGENCY.kid)

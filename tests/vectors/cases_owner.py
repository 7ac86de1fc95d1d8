"""Vectors of what the owner signs: keyring and audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

from agent.wire.cbor import encode
from tests.vectors.keys import AGENCY, AUDITOR, HYBRID, OTHER_OWNER, OWNER, Recipient, seed
from tests.vectors.messages import (
    AUDIT_TYPE,
    DAY,
    KEYRING_TYPE,
    MAX_SEQ,
    NOON,
    RECEIPT,
    ZEROS,
    Map,
    audit_entries,
    audit_entry,
    audit_payload,
    changed,
    flip,
    header,
    keyring,
    keyring_row,
    sign1,
)
from tests.vectors.vector import Vector, accepted, map_faults, refused, sign1_faults, sign1_steps

_PINNED = {"owner": OWNER.public.hex()}
_TOMORROW = Recipient("agency, the next epoch")
_LATER = Recipient("agency, an epoch after a gap")


def vectors() -> Iterator[Vector]:
    """Yield all of them."""
    yield from _right_keyrings()
    yield from _keyring_faults()
    yield from _rollbacks()
    yield from _right_logs()
    yield from _log_faults()
    yield from _heads()


def _right_keyrings() -> Iterator[Vector]:
    def right(name: str, why: str, *rows: Map, chosen: list[bytes] | None = None, **context: Any) -> Vector:
        values = {"v": 1, "serial": 5, "keys": list(rows)} | ({} if chosen is None else {"chosen": chosen})
        return accepted("keyring", name, why, keyring(*rows), values, **_PINNED, **context)

    for key in (AGENCY, AUDITOR, HYBRID):
        yield right(f"right-{key.key_type}", f"One {key.key_type} key.", keyring_row(key))
    first, second, third = (
        keyring_row(),
        keyring_row(_TOMORROW, start=NOON + DAY),
        keyring_row(_LATER, start=NOON + 3 * DAY),
    )
    agency = (first, second, third)
    for name, why, at, key in (
        ("first-epoch", "At the first moment of an epoch its key is chosen.", NOON, AGENCY),
        ("end-is-outside", "At the end of an epoch the next one's key is chosen.", NOON + DAY, _TOMORROW),
        ("in-a-gap", "Between two epochs the key is chosen that began last.", NOON + 2 * DAY + 1, _TOMORROW),
        ("before-all", "Before every epoch the last key is chosen, as the first may be destroyed.", NOON - 1, _LATER),
        ("after-all", "After every epoch the newest key is chosen.", NOON + 9 * DAY, _LATER),
    ):
        yield right(f"right-chosen-{name}", why, *agency, chosen=[key.kid], at=at)
    wide = keyring_row(AGENCY, end=NOON + 3 * DAY)
    narrow = keyring_row(_TOMORROW, start=NOON + DAY)
    yield right(
        "right-chosen-of-two-that-hold",
        "Where two epochs hold the moment, the one that began later is chosen.",
        wide,
        narrow,
        chosen=[_TOMORROW.kid],
        at=NOON + DAY + 1,
    )
    yield right(
        "right-chosen-older-that-holds",
        "An older epoch that holds the moment goes before a newer one that has ended.",
        wide,
        narrow,
        chosen=[AGENCY.kid],
        at=NOON + 2 * DAY + 1,
    )
    auditor = keyring_row(AUDITOR, holder="auditor")
    yield right(
        "right-chosen-each-recipient",
        "One key for each recipient, in order of their names.",
        auditor,
        first,
        second,
        chosen=[AGENCY.kid, AUDITOR.kid],
        at=NOON + 1,
    )
    eight = [keyring_row(Recipient(f"recipient {at}, x25519"), holder=f"recipient {at}") for at in range(8)]
    yield right("right-eight-recipients", "As many recipients as there may be.", *eight)
    again = {"serial": 5, "sha256": hashlib.sha256(keyring()).hexdigest()}
    yield right("right-same-keyring-again", "It is the one that was used last.", keyring_row(), newest=again)
    older = {"serial": 4, "sha256": seed("an older keyring").hex()}
    yield right("right-newer", "The one that was used last has a lower serial.", keyring_row(), newest=older)


def _keyring_faults() -> Iterator[Vector]:
    head, payload = header(KEYRING_TYPE, OWNER), {"v": 1, "serial": 5, "keys": [keyring_row()]}
    replaced = encode(payload | {"serial": 6})
    yield from sign1_faults("keyring", head, encode(payload), OWNER, OTHER_OWNER, replaced=replaced, **_PINNED)
    yield from map_faults("keyring", payload, lambda data: sign1(head, data, OWNER), **_PINNED)

    def fault(name: str, why: str, cause: str, *rows: Map, **options: Any) -> Vector:
        return refused("keyring", name, why, keyring(*rows, **options), cause, **_PINNED)

    yield fault("no-keys", "It has no key.", "value", more={"keys": []})
    yield fault(
        "keys-unsorted",
        "The later epoch stands first.",
        "order",
        keyring_row(_TOMORROW, start=NOON + DAY),
        keyring_row(),
    )
    yield fault("empty-epoch", "An epoch ends where it begins.", "order", keyring_row(end=NOON))
    yield fault("reversed-epoch", "An epoch ends before it begins.", "order", keyring_row(end=NOON - 1))
    nine = [keyring_row(Recipient(f"recipient {at}, x25519"), holder=f"recipient {at}") for at in range(9)]
    yield fault("nine-recipients", "One recipient more than there may be.", "value", *nine)
    yield fault(
        "key-id-of-another-key", "A key's id is another key's thumbprint.", "key-id", keyring_row(kid=_TOMORROW.kid)
    )
    yield fault(
        "key-short-key-id", "A key's id has 31 bytes.", "value", more={"keys": [keyring_row(kid=AGENCY.kid[:31])]}
    )
    yield fault("short-key", "An X25519 key of 31 bytes.", "value", keyring_row(pub=AGENCY.public[:31]))
    yield fault(
        "compressed-point",
        "A P-256 key as a compressed point.",
        "value",
        keyring_row(AUDITOR, pub=b"\x02" + AUDITOR.public[1:33]),
    )
    yield fault(
        "hybrid-point",
        "A P-256 key in the hybrid form 06, which has 65 bytes too.",
        "key",
        keyring_row(AUDITOR, pub=bytes([6 + AUDITOR.public[64] % 2]) + AUDITOR.public[1:]),
    )
    off = flip(AUDITOR.public, -1)
    yield fault("point-off-the-curve", "A P-256 key that is no point of the curve.", "key", _with_public(AUDITOR, off))
    yield fault(
        "small-order-key",
        "An X25519 key of order 1, to which nothing can be sealed.",
        "key",
        _with_public(AGENCY, ZEROS),
    )
    small = HYBRID.public[:1184] + ZEROS
    yield fault(
        "small-order-hybrid-key", "A hybrid key whose X25519 half has order 1.", "key", _with_public(HYBRID, small)
    )
    big = b"\xff\xff\xff" + HYBRID.public[3:]
    yield fault(
        "hybrid-coefficient-too-large",
        "An ML-KEM key with a coefficient above the modulus.",
        "key",
        _with_public(HYBRID, big),
    )
    yield fault("unknown-algorithm", "A key for the algorithm 35 (HPKE-0).", "algorithm", keyring_row(alg=35))
    yield fault("key-of-another-algorithm", "A P-256 key for HPKE with X25519.", "value", keyring_row(AUDITOR, alg=50))
    yield fault("key-unknown-field", "A key has a field too many.", "field", keyring_row(x=0))
    yield fault("key-missing-field", "A key is nobody's.", "field", changed(keyring_row(), "for"))
    yield fault("long-recipient", "A recipient's name of 65 characters.", "value", keyring_row(holder="a" * 65))
    yield fault(
        "time-too-late", "An epoch that ends after the year 9999.", "value", keyring_row(end=253_402_300_800_000)
    )
    yield fault("negative-serial", "The serial is -1.", "value", serial=-1)
    yield fault("serial-too-high", "The serial is 2^53.", "value", serial=MAX_SEQ + 1)
    confused = sign1(header("application/plateseal-receipt+cbor", OWNER), encode(payload), OWNER)
    yield refused("keyring", "receipt-type", "The content type is a receipt's.", confused, "content-type", **_PINNED)
    other = sign1(head, encode(RECEIPT), OWNER)
    yield refused("keyring", "receipt-inside", "A receipt's payload, signed as a keyring.", other, "field", **_PINNED)


def _with_public(key: Recipient, public: bytes) -> Map:
    return keyring_row(key, pub=public, kid=key.suite.kid(public))


def _rollbacks() -> Iterator[Vector]:
    newest = {"serial": 6, "sha256": seed("a newer keyring").hex()}
    yield refused(
        "keyring", "rollback", "The unit has used serial 6 before.", keyring(), "rollback", **_PINNED, newest=newest
    )
    same = {"serial": 5, "sha256": seed("another keyring").hex()}
    why = "The unit has used another keyring with this serial."
    yield refused("keyring", "same-serial-other-bytes", why, keyring(), "rollback", **_PINNED, newest=same)


def _audit(name: str, why: str, entries: list[bytes], cause: str) -> Vector:
    return refused("audit-log", name, why, b"".join(entries), cause, **_PINNED)


_EVERYTHING: Map = {
    "action": "search",
    "who": "w" * 64,
    "case": "2027-0815",
    "reason": "r" * 400,
    "count": MAX_SEQ,
    "ids": [seed("one"), seed("two")],
    "by": ["camera", "plate"],
    "from": NOON,
    "until": NOON + DAY,
    "before": NOON,
    "camera": "cam-1",
    "serial": 5,
    "head": True,
}


def _right_logs() -> Iterator[Vector]:
    acts = "keys search open hold export destroy mend lost close passphrase copy"
    actions = [{"action": action} for action in acts.split()]
    for name, why, changes in (
        ("right-one", "A log begins with the owner's keys.", [{}]),
        ("right-every-action", "Every act there is.", actions),
        ("right-every-field", "Every optional field, and texts as long as they may be.", [{}, _EVERYTHING]),
    ):
        entries = audit_entries(*changes)
        before = [ZEROS, *(hashlib.sha256(entry).digest() for entry in entries)]
        rows = [audit_payload(seq, before[seq]) | change for seq, change in enumerate(changes)]
        yield accepted("audit-log", name, why, b"".join(entries), {"entries": rows, "head": before[-1]}, **_PINNED)


def _log_faults() -> Iterator[Vector]:
    head, payload = header(AUDIT_TYPE, OWNER), audit_payload(0, ZEROS)
    replaced = encode(payload | {"count": 2})
    for vector in sign1_faults("audit-log", head, encode(payload), OWNER, OTHER_OWNER, replaced=replaced, **_PINNED):
        if vector.name != "trailing-byte":  # in a sequence it is one more item, see "trailing-zero"
            yield vector
    yield from map_faults("audit-log", payload, audit_entry, **_PINNED)
    four = audit_entries({}, {}, {}, {})
    yield _audit("trailing-zero", "A zero byte, which is an integer, follows the entry.", [four[0], b"\x00"], "value")
    yield _audit("entry-removed", "The third of four entries is missing.", [*four[:2], four[3]], "chain")
    yield _audit("first-removed", "The first of four entries is missing.", four[1:], "chain")
    yield _audit("reordered", "Two entries have changed places.", [four[0], four[2], four[1], four[3]], "chain")
    yield _audit("entry-twice", "An entry stands there twice.", [*four[:2], *four[1:]], "chain")
    yield _audit(
        "entry-replaced",
        "The second entry is another one, so the third does not follow it.",
        [four[0], audit_entries({}, {"count": 9})[1], *four[2:]],
        "chain",
    )
    yield _audit("half-an-entry", "The last entry is cut off.", [*four[:3], four[3][:100]], "encoding")
    yield _audit(
        "entry-by-another", "One entry is by another key.", [four[0], _foreign_entry(four[0]), *four[2:]], "signer"
    )
    yield _audit(
        "prev-at-zero", "The first entry names one before it.", [audit_entry(audit_payload(0, seed("before")))], "chain"
    )
    yield _audit(
        "first-is-no-keys",
        "The first entry is not that of the owner's keys.",
        audit_entries({"action": "open"}),
        "chain",
    )
    faults: dict[str, tuple[str, Map]] = {
        "unknown-action": ("An act that there is not.", {"action": "sell"}),
        "long-who": ("A name of 65 characters.", {"who": "w" * 65}),
        "long-case": ("A case of 65 characters.", {"case": "c" * 65}),
        "long-reason": ("A reason of 401 characters.", {"reason": "r" * 401}),
        "short-id": ("An id of 31 bytes.", {"ids": [bytes(31)]}),
        "nine-filters": ("Nine filters.", {"by": ["plate"] * 9}),
        "negative-count": ("A count of -1.", {"count": -1}),
        "null-camera": ("A camera that is null; where there is none it is left out.", {"camera": None}),
        "short-prev": ("prev has 31 bytes.", {"prev": bytes(31)}),
    }
    for name, (why, change) in faults.items():
        yield _audit(name, why, audit_entries(change), "value")


def _foreign_entry(before: bytes) -> bytes:
    return audit_entry(audit_payload(1, hashlib.sha256(before).digest()), signer=OTHER_OWNER)


_HEAD_TYPE = "application/plateseal-audit-head+cbor"


def _heads() -> Iterator[Vector]:
    entries = audit_entries({}, {}, {"head": True})
    digests = [hashlib.sha256(entry).digest() for entry in entries]
    log = _PINNED | {"log": b"".join(entries).hex()}
    head, right = header(_HEAD_TYPE, OWNER), {"v": 1, "seq": 2, "digest": digests[2]}

    def made(payload: Map | bytes) -> bytes:
        return sign1(head, payload, OWNER)

    def ends(name: str, why: str, payload: Map, context: Map = log) -> Vector:
        vector = accepted("audit-head", f"right{name}", why, made(payload), payload, **context)
        return vector.with_steps(sign1_steps(head, payload))

    yield ends("", "It names the newest entry of the log.", right)
    older = right | {"seq": 1, "digest": digests[1]}
    yield ends("-one-entry-behind", "After a crash the log has one entry more than it says.", older)
    first = _PINNED | {"log": entries[0].hex()}
    yield ends("-first", "The log has one entry.", right | {"seq": 0, "digest": digests[0]}, first)
    yield from sign1_faults("audit-head", head, encode(right), OWNER, OTHER_OWNER, replaced=encode(older), **log)
    yield from map_faults("audit-head", right, made, **log)

    def fault(name: str, why: str, change: Map, cause: str, context: Map = log) -> Vector:
        return refused("audit-head", name, why, made(right | change), cause, **context)

    yield fault("version-2", "The version is 2.", {"v": 2}, "version")
    yield fault("short-digest", "The digest has 31 bytes.", {"digest": digests[2][:31]}, "value")
    yield fault("negative-number", "The number is -1.", {"seq": -1}, "value")
    yield fault("number-too-high", "The number is 2^53.", {"seq": MAX_SEQ + 1}, "value")
    yield fault("log-cut-off", "The log ends before the entry.", {}, "chain", _PINNED | {"log": entries[0].hex()})
    yield fault("log-empty", "The log has no entry.", {}, "chain", _PINNED | {"log": ""})
    yield fault("another-entry", "The log has another entry with this number.", {"digest": seed("x")}, "chain")
    yield fault("another-number", "The digest is that of the entry before.", {"digest": digests[1]}, "chain")
    as_entry = sign1(header(AUDIT_TYPE, OWNER), right, OWNER)
    yield refused("audit-head", "entry-type", "The content type is an entry's.", as_entry, "content-type", **log)
    long = made(right) + bytes(1025 - len(made(right)))
    yield refused("audit-head", "too-long", "Zeros follow it, up to 1025 bytes.", long, "size", **log)

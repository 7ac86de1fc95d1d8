"""Judges a test vector with the product's own parsers and verifiers, as the product calls them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.custody import audit, audit_entry, locked, owner
from agent.custody.cases import parse_held, slot_for
from agent.custody.layout import OwnerLayout
from agent.custody.opener import PrivateKey, open_envelope, open_read
from agent.disk.files import LocalFiles
from agent.errors import AuditVerificationError, PlatesealError
from agent.keys.keyring_serial import NOTE_FILE, SerialNote
from agent.receiver.admission.devices import Device, DeviceBook, Event, EventKind
from agent.receiver.admission.pki import _rotating_device
from agent.wire import cbor, cose, suites
from agent.wire.envelope import Envelope, parse_envelope, sign_tombstone, verify_envelope
from agent.wire.header import encode_header
from agent.wire.keyring import encode_keyring, parse_keyring
from agent.wire.plaintext import encode_plaintext, parse_plaintext
from agent.wire.protocol import Later, Refused, Stored, parse_reply, parse_request
from agent.wire.receipt import sign_receipt, verify_receipt
from agent.wire.rotation import parse_rotation
from agent.wire.times import from_ms
from tests.vectors.vector import plain

MAX_BYTES: Final = 8 << 20
_ANY_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
"""Encodes a record again, to see what was in it; nobody looks at the signature."""

Map = dict[str, Any]


def judge(message: str, data: bytes, context: Map, folder: Path) -> tuple[Map, str]:
    """Return the outcome as a vector's file has it, but for the cause, and the error's message.

    Args:
        message: The vector's.
        data: Its bytes.
        context: What it is judged with.
        folder: Empty, for what the product reads from the disk.
    """
    try:
        return {"outcome": "accepted", "values": plain(_JUDGES[message](data, context, folder))}, ""
    except PlatesealError as error:
        return {"outcome": "refused", "error": type(error).__name__}, str(error)


def joined(pieces: list[Any]) -> bytes:
    """Return a message's bytes from the pieces in its file."""
    return b"".join(
        bytes.fromhex(piece) if isinstance(piece, str) else bytes.fromhex(piece["repeat"]) * piece["times"]
        for piece in pieces
    )


def _public(digits: str) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(digits))


def _payload(signed: bytes) -> Any:
    """Return the decoded payload of a COSE_Sign1."""
    value: Any = cbor.decode(signed, max_bytes=MAX_BYTES, what="vector", max_heads=MAX_BYTES)
    return cbor.decode(value.value[2], max_bytes=MAX_BYTES, what="vector", max_heads=MAX_BYTES)


def _private_keys(context: Map) -> dict[bytes, PrivateKey]:
    keys = {}
    for key in context["keys"]:
        suite, raw = suites.suite_by_alg(key["alg"], what="vector"), bytes.fromhex(key["private"])
        kid = suite.kid(suite.derive_public(raw))
        keys[kid] = PrivateKey(suite=suite, kid=kid, raw=raw)
    return keys


def _verified(data: bytes, context: Map) -> Envelope:
    envelope = parse_envelope(data)
    verify_envelope(envelope, _public(context["device"]))
    return envelope


def _envelope(data: bytes, context: Map, _: Path) -> Map:
    envelope = _verified(data, context)
    header: Any = cbor.decode(encode_header(envelope.device_kid, envelope.header), max_bytes=MAX_BYTES, what="vector")
    values = {"id": envelope.envelope_id, "kid": envelope.device_kid, "ps": header["ps"]}
    if envelope.tombstone is not None:
        values["tombstone"] = _payload(
            sign_tombstone(envelope.tombstone, _ANY_KEY, envelope.position, seen=envelope.header.seen).data
        )
    if "keys" in context:
        values["read"] = _read(
            encode_plaintext(open_envelope(envelope, _private_keys(context)), version=envelope.position.version)
        )
    return values


def _read(plaintext: bytes) -> Any:
    return cbor.decode_padded(plaintext, max_bytes=MAX_BYTES, what="vector", max_heads=MAX_BYTES)


def _plaintext(data: bytes, context: Map, _: Path) -> Any:
    version = context.get("version", 1)
    return _read(encode_plaintext(parse_plaintext(data, version=version), version=version))


def _held(data: bytes, context: Map, _: Path) -> Any:
    envelope = _verified(bytes.fromhex(context["envelope"]), context)
    held = parse_held(data, _public(context["owner"]) if "owner" in context else _ANY_KEY.public_key())
    slot = slot_for(held, envelope, context.get("case", ""))
    read = open_read(envelope, _private_keys(context), held=[slot]).read
    return _read(encode_plaintext(read, version=envelope.position.version))


def _receipt(data: bytes, context: Map, _: Path) -> Any:
    keys = {cose.ed25519_kid(key): key for key in map(_public, context["receivers"])}
    verified = verify_receipt(data, parse_envelope(bytes.fromhex(context["envelope"])), keys)
    return _payload(sign_receipt(verified.receipt, _ANY_KEY))


def _request(data: bytes, _context: Map, _: Path) -> Any:
    return parse_request(data)


def _reply(data: bytes, context: Map, _: Path) -> Any:
    answers: list[Any] = []
    for answer in parse_reply(data, expected=context["sent"]):
        match answer:
            case Stored(receipt):
                answers.append([0, receipt])
            case Refused(reason):
                answers.append([1, reason])
            case Later(wait_s):
                answers.append([2, wait_s])
    return answers


def _keyring(data: bytes, context: Map, folder: Path) -> Map:
    keyring = parse_keyring(data, _public(context["owner"]))
    if "newest" in context:
        (folder / NOTE_FILE).write_text(f"{context['newest']['serial']} {context['newest']['sha256']}\n")
    SerialNote(folder, LocalFiles()).admit(keyring, data)
    values: Map = _payload(encode_keyring(keyring, _ANY_KEY))
    if "at" in context:
        values["chosen"] = [key.kid for key in keyring.keys_at(from_ms(context["at"]))]
    return values


class _Enrolled:
    """The devices of a context, as far as `_rotating_device` asks for them."""

    def __init__(self, enrolled: list[Map]) -> None:
        keys = [(unit["name"], _public(unit["key"])) for unit in enrolled]
        self._devices = {cose.ed25519_kid(key): (name, key) for name, key in keys}

    def by_key_id(self, key_id: bytes) -> Device | None:
        """As the book."""
        if key_id not in self._devices:
            return None
        name, key = self._devices[key_id]
        return Device(name, key_id, key, ("",), (Event(EventKind.ENROLLED, datetime(2026, 3, 1, tzinfo=UTC), 0),))


def _rotation(data: bytes, context: Map, _: Path) -> Any:
    rotation = parse_rotation(data)
    _rotating_device(cast("DeviceBook", _Enrolled(context["enrolled"])), rotation)
    return _payload(rotation.data)


def _key_file(data: bytes, context: Map, folder: Path) -> Map:
    passphrase = None if context["passphrase"] is None else context["passphrase"].encode()
    path = folder / "owner.key"
    path.write_bytes(data)
    path.chmod(0o600)
    if context["use"] == locked.KeyUse.OWNER:
        signing_key = owner.unlock_owner(folder, passphrase).signing_key
        kid = cose.ed25519_kid(signing_key.public_key())
        return {"kid": kid, "alg": cose.ALG_EDDSA, "private": signing_key.private_bytes_raw()}
    lock = None if passphrase is None else locked.KeyLock(passphrase)
    holder = owner.Owner(layout=OwnerLayout(folder), signing_key=_ANY_KEY, lock=lock)
    wanted = None if context["kid"] is None else bytes.fromhex(context["kid"])
    key = holder.load_key(path, use=locked.KeyUse(context["use"]), kid=wanted)
    return {"kid": key.kid, "alg": key.suite.alg, "private": key.raw}


def _audit_log(data: bytes, context: Map, folder: Path) -> Map:
    path = folder / "audit.cose"
    path.write_bytes(data)
    report = audit.read_audit(path, _public(context["owner"]))
    if report.findings:
        raise AuditVerificationError("\n".join(report.findings))
    entries = [_read(audit_entry.encode_payload(entry)) for entry in report.entries]
    return {"entries": entries, "head": report.head}


_JUDGES: Final[dict[str, Callable[[bytes, Map, Path], Any]]] = {
    "envelope": _envelope,
    "tombstone": _envelope,
    "plaintext": _plaintext,
    "held": _held,
    "receipt": _receipt,
    "request": _request,
    "reply": _reply,
    "keyring": _keyring,
    "rotation": _rotation,
    "key-file": _key_file,
    "audit-log": _audit_log,
}

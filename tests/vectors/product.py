"""Judges a test vector with the product's own parsers and verifiers, as the product calls them."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, cast

import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.config.bundle import SIGNED, verify_bundle
from agent.custody import audit, audit_entry, locked, owner
from agent.custody.audit_head import head_fault, load_head
from agent.custody.cases import parse_held, slot_for
from agent.custody.layout import OwnerLayout
from agent.custody.opener import PrivateKey, open_envelope, open_read
from agent.custody.verify_text import verify_text
from agent.disk.files import LocalFiles
from agent.errors import AuditVerificationError, PlatesealError, VerificationError
from agent.keys.keyfiles import load_ed25519_public, public_pem
from agent.keys.keyring_serial import NOTE_FILE, SerialNote
from agent.receiver.admission.devices import Device, DeviceBook, Event, EventKind
from agent.receiver.admission.enrolment import parse_enrolment, parse_rotation_request
from agent.receiver.admission.pki import _rotating_device
from agent.receiver.admission.records import encode_record
from agent.receiver.admission.renewals import verify_request
from agent.receiver.intake.decide import _why_not
from agent.receiver.layout import ReceiverLayout
from agent.unit.reload.bundles import require_for
from agent.unit.upload.renewal import _check_answer
from agent.upload.tls import _read_certificate
from agent.wire import cbor, cose, suites
from agent.wire.envelope import Envelope, parse_envelope, sign_tombstone, verify_envelope
from agent.wire.header import encode_header
from agent.wire.health import encode_health, parse_health
from agent.wire.keyring import encode_keyring, parse_keyring
from agent.wire.plaintext import encode_plaintext, parse_plaintext
from agent.wire.probe import parse_probe, sign_answer, verify_answer
from agent.wire.protocol import Later, Refused, Stored, parse_reply, parse_request
from agent.wire.receipt import sign_receipt, verify_receipt
from agent.wire.renewal import parse_renewal
from agent.wire.times import from_ms
from tests.vectors.vector import plain

MAX_BYTES: Final = 8 << 20
_ANY_KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(32))
"""Encodes a record again, to see what was in it; nobody looks at the signature."""

Map = dict[str, Any]


def judge(message: str, data: Any, context: Map, folder: Path) -> tuple[Map, str]:
    """Return the outcome as a vector's file has it, but for the cause, and the error's message.

    Args:
        message: The vector's.
        data: Its bytes; of an export folder its files' bytes by name.
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


def data_of(vector: Map) -> Any:
    """Return a vector's bytes; of an export folder its files' bytes by name."""
    if "files" in vector:
        return {name: joined(pieces) for name, pieces in vector["files"].items()}
    return joined(vector["data"])


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


_DAY: Final = datetime(2026, 3, 1, tzinfo=UTC)


class _Enrolled:
    """The devices of a context, as far as those ask for them that are called here."""

    def __init__(self, enrolled: list[Map]) -> None:
        devices = map(_device, enrolled)
        self._devices = {device.key_id: device for device in devices}

    def by_key_id(self, key_id: bytes) -> Device | None:
        """As the book."""
        return self._devices.get(key_id)


def _device(unit: Map) -> Device:
    key = _public(unit["key"])
    history = [Event(EventKind.ENROLLED, _DAY, 0)]
    if unit.get("ended") == "revoked":
        history.append(Event(EventKind.REVOKED, _DAY, 0, after=0, reason="stolen"))
    elif "ended" in unit:
        history.append(Event(EventKind.ROTATED, _DAY, 0, to=bytes.fromhex(unit["ended"]), until=_DAY))
    certificates = tuple(unit.get("certificates", [""]))
    return Device(unit["name"], cose.ed25519_kid(key), key, certificates, tuple(history))


def _rotation(data: bytes, context: Map, _: Path) -> Any:
    rotation = parse_rotation_request(data).rotation
    assert rotation is not None
    _rotating_device(cast("DeviceBook", _Enrolled(context["enrolled"])), rotation)
    return _payload(rotation.data)


def _renewal(data: bytes, context: Map, _: Path) -> Any:
    renewal = parse_renewal(data)
    device = _Enrolled(context["enrolled"]).by_key_id(renewal.key_id)
    if device is None:
        raise VerificationError("renewal: signed by key which is not enrolled")
    verify_request(renewal, device)
    return _payload(renewal.data)


def _renewal_answer(data: bytes, context: Map, _: Path) -> Map:
    request = httpx.Request("POST", "https://receiver/v1/renewal")
    answer = _read_certificate(httpx.Response(HTTPStatus.OK, stream=httpx.ByteStream(data), request=request))
    _check_answer(answer, x509.load_der_x509_certificate(bytes.fromhex(context["certificate"])))
    return {"certificate": x509.load_pem_x509_certificate(answer).public_bytes(Encoding.DER)}


def _probe(data: bytes, context: Map, _: Path) -> Any:
    probe = parse_probe(data)
    sender = _device({"name": context["sender"], "key": context["enrolled"][0]["key"]})
    why_not = _why_not(probe, _Enrolled(context["enrolled"]).by_key_id(probe.kid), sender)
    if why_not is not None:
        raise VerificationError(why_not)
    return _payload(data)


def _probe_answer(data: bytes, context: Map, _: Path) -> Any:
    keys = {cose.ed25519_kid(key): key for key in map(_public, context["receivers"])}
    answer = verify_answer(data, bytes.fromhex(context["probe"]), keys)
    return _payload(sign_answer(bytes.fromhex(context["probe"]), answer, _ANY_KEY))


def _health(data: bytes, _context: Map, _: Path) -> Any:
    return _read(encode_health(parse_health(data)))


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


def _audit_head(data: bytes, context: Map, folder: Path) -> Map:
    layout, key = OwnerLayout(folder), _public(context["owner"])
    layout.audit_head.write_bytes(data)
    layout.audit_head.chmod(0o600)
    layout.audit.write_bytes(bytes.fromhex(context["log"]))
    report = audit.read_audit(layout.audit, key)
    fault = head_fault(layout, key, report.entries, report.digests)
    if fault is not None:
        raise AuditVerificationError(fault)
    head = load_head(layout.audit_head, key)
    assert head is not None
    return {"v": 1, "seq": head.seq, "digest": head.digest}


def _enrolment(data: bytes, _context: Map, _: Path) -> Map:
    found = parse_enrolment(data)
    point = found.tls_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    public = found.signing_key.public_bytes_raw()
    return {"device": found.device, "key_id": found.key_id, "public_key": public, "tls_key": point}


def _device_record(data: bytes, context: Map, folder: Path) -> Map:
    layout = ReceiverLayout(folder)
    layout.devices.mkdir()
    (layout.devices / f"{context['kid']}.json").write_bytes(data)
    keys = [public_pem(_public(key)) for key in context["receivers"]]
    if keys:
        layout.receipt_public.write_bytes(keys[0])
    if keys[1:]:
        layout.receipt_earlier.write_bytes(b"".join(keys[1:]))
    device = DeviceBook(layout.devices).by_key_id(bytes.fromhex(context["kid"]))
    assert device is not None
    rotated, revoked = device.rotated, device.revoked
    names = ("name", "key_id", "public_key", "certificate_sha256", "history")
    value = json.loads(encode_record(device, _ANY_KEY))
    return {name: value[name] for name in names} | {
        "after": None if revoked is None else revoked.after,
        "followed_by": None if rotated is None else rotated.to,
        "certificates_until": None if rotated is None else rotated.certificates_until.isoformat(timespec="seconds"),
    }


def _bundle(data: bytes, context: Map, _: Path) -> Map:
    bundle = verify_bundle(data, _public(context["owner"]))
    require_for(bundle, camera=context["camera"], newest=context["newest"])
    table = {name: value for name, value in bundle.content.table.items() if name != SIGNED}
    return {"camera": bundle.camera, "serial": bundle.serial, "table": table}


def _export(files: dict[str, bytes], context: Map, folder: Path) -> Map:
    """Follow VERIFY.md, as it is written for such a folder: nothing in plateseal reads one."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    try:
        envelope = parse_envelope(files["envelope.cose"])
        session = follow(folder, verify_text(envelope, files=files.keys(), missing=()))
    except Exception as error:
        raise VerificationError(f"VERIFY.md: {type(error).__name__}: {error}") from error
    known = {"device.pub": [context["device"]], "receipt.pub": context["receivers"]}
    for name in known.keys() & files.keys():
        if load_ed25519_public(folder / name).public_bytes_raw().hex() not in known[name]:
            raise VerificationError(f"VERIFY.md, step 3: {name} is not the key that is known from elsewhere")
    return {
        "id": envelope.envelope_id,
        "read": session["plaintext"],
        "neighbours": [name for name in ("previous.cose", "next.cose") if name in files],
        "stored_at": session["receipt"]["at"] if "receipt" in session else None,
    }


def follow(folder: Path, text: str) -> Map:
    """Do what VERIFY.md says, but for what openssl does once more, and return the names of its Python session."""
    blocks = re.findall(r"^```(python)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    session: Map = {"print": lambda *_: None}
    with contextlib.chdir(folder):
        for language, block in blocks:
            if language:
                exec(block, session)  # noqa: S102  of our own text
            elif block.startswith("sha256sum"):
                subprocess.run(block.split(), check=True, capture_output=True)
    return session


_JUDGES: Final[dict[str, Callable[[Any, Map, Path], Any]]] = {
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
    "audit-head": _audit_head,
    "renewal": _renewal,
    "renewal-answer": _renewal_answer,
    "probe": _probe,
    "probe-answer": _probe_answer,
    "health": _health,
    "enrolment": _enrolment,
    "device-record": _device_record,
    "bundle": _bundle,
    "export": _export,
}

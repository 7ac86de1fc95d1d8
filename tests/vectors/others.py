"""Reads the messages of docs/FORMAT.md that reader.py leaves over: those of units, receivers and the owner's files.

Each takes its bytes and the context, and returns what it says. At most 200 lines.
"""

# fmt: off
import hashlib
import tomllib
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding
from layouts import (  # type: ignore[import-not-found]  # beside this file
    B12, B32, BYTES, EK_BYTES, ENROLMENT, ENTRY, HEAD, HEALTH, LOCK, MIB, PROBE, PROBE_ANSWER, RECORD, RENEWAL,
    ROTATION, SIGNED)
from primitives import (  # type: ignore[import-not-found]
    HYBRID, check, check_request, check_signature, check_signer, conform, cose_key, decode, encode, iso, key_id,
    private_key, read_json, refusing, sequence, sha256, sign1, unbase64)

def enrolled(context: Any) -> Any:
    return {key_id(-8, bytes.fromhex(unit["key"])): unit for unit in context["enrolled"]}

def rotation(data: bytes, context: Any) -> Any:
    units = enrolled(context)
    kinds = {"application/plateseal-rotation+cbor": ROTATION}
    header, _, says = sign1(data, 4096, [unit["key"] for unit in units.values()], kinds)
    check_signer(says["key"])
    proven = ["plateseal rotation 1", header[4], says["device"], says["key"], says["csr"]]
    check_signature(says["key"], says["proof"], proven, "proof")
    follows = key_id(-8, says["key"])
    check(follows != header[4], "same-key")
    check_request(says["csr"], says["device"])
    old, new = units[header[4]], units.get(follows, {"name": says["device"]})
    check(old["name"] == new["name"] == says["device"], "mismatch")
    check(old.get("ended") in (None, follows.hex()) and "ended" not in new, "ended")
    return says

def renewal(data: bytes, context: Any) -> Any:
    kinds = {"application/plateseal-renewal+cbor": RENEWAL}
    header, _, says = sign1(data, 8192, [unit["key"] for unit in context["enrolled"]], kinds)
    unit = enrolled(context)[header[4]]
    check(unit["name"] == says["device"], "mismatch")
    check("ended" not in unit, "ended")
    check(sha256(says["certificate"]).hex() in unit["certificates"], "mismatch")
    return says

def renewal_answer(data: bytes, context: Any) -> Any:
    check(len(data) <= 65536, "size")
    old = x509.load_der_x509_certificate(bytes.fromhex(context["certificate"]))
    with refusing("encoding"):
        new = x509.load_pem_x509_certificate(data)
    check(new.public_key() == old.public_key(), "mismatch")
    check(new.not_valid_after_utc > old.not_valid_after_utc, "rollback")
    return {"certificate": new.public_bytes(Encoding.DER)}

def probe(data: bytes, context: Any) -> Any:
    kinds = {"application/plateseal-probe+cbor": PROBE}
    header, _, says = sign1(data, 512, [unit["key"] for unit in context["enrolled"]], kinds)
    unit = enrolled(context)[header[4]]
    check(unit["name"] == context["sender"], "mismatch")
    check("ended" not in unit, "ended")
    return says

def probe_answer(data: bytes, context: Any) -> Any:
    _, _, says = sign1(data, 512, context["receivers"], {"application/plateseal-probe-answer+cbor": PROBE_ANSWER})
    check(says["probe"] == sha256(bytes.fromhex(context["probe"])), "mismatch")
    return says

def health(data: bytes, _context: Any) -> Any:
    check(len(data) <= 16384, "size")
    return conform(decode(data), HEALTH)

def enrolment(data: bytes, _context: Any) -> Any:
    check(len(data) <= 16384, "size")
    asked = conform(read_json(data), ENROLMENT)
    device, public = asked["device"], asked["public_key"]
    check_signer(public)
    kid = key_id(-8, public)
    check(asked["key_id"] == kid.hex(), "key-id")
    with refusing("request"):
        der = x509.load_pem_x509_csr(asked["csr"].encode("ascii")).public_bytes(Encoding.DER)
    point = check_request(der, device)
    proven = der if asked["v"] == 1 else ["plateseal enrolment 2", kid, device, der]
    check_signature(public, asked["proof"], proven, "proof")
    return {"device": device, "key_id": kid, "public_key": public, "tls_key": point}

def device_record(data: bytes, context: Any) -> Any:
    check(len(data) <= MIB // 4, "size")
    value = read_json(data)
    record = conform(value, RECORD)
    check(value["key_id"] == key_id(-8, record["public_key"]).hex(), "key-id")
    if value["v"] == 2:
        known = {key_id(-8, key).hex(): key for key in map(bytes.fromhex, context["receivers"])}
        check(value["receiver"] in known, "signer")
        signed = {name: part for name, part in value.items() if name != "signature"}
        signed_by, context_string = known[value["receiver"]], "plateseal device record 2"
        check_signature(signed_by, record["signature"], [context_string, signed], "signature")
        history = value["history"]
    else:
        check(("rotated_to" in value) == ("certificates_until" in value), "field")
        history = [{"event": "enrolled", "at": value["enrolled_at"], "log": None}]
        if "rotated_to" in value:
            until = value["certificates_until"]
            rotated = {"event": "rotated", "to": value["rotated_to"], "certificates_until": until}
            history.append(rotated | {"at": None, "log": None})
    check(value["key_id"] == context["kid"], "use")
    following: Any = next((event for event in history if event["event"] == "rotated"), {})
    return {name: value[name] for name in ("name", "key_id", "public_key", "certificate_sha256")} | {
        "history": history, "after": min((event["after"] for event in history if "after" in event), default=None),
        "followed_by": following.get("to"), "certificates_until": following.get("certificates_until")}

def bundle(data: bytes, context: Any) -> Any:
    check(len(data) <= MIB // 4, "size")
    *lines, content = data.split(b"\n", 4)
    check(len(lines) == 4, "encoding")
    with refusing("encoding"):
        untrusted, first, trusted, second = (line.decode() for line in lines)
    check(untrusted.startswith("untrusted comment: ") and trusted.startswith("trusted comment: "), "encoding")
    head, over_all, owner = unbase64(first, 74, "encoding"), unbase64(second, 64, "encoding"), context["owner"]
    check(head[:2] == b"ED", "algorithm")
    public = bytes.fromhex(owner)
    check(head[2:10] == key_id(-8, public)[:8], "signer")
    check_signature(public, head[10:], hashlib.blake2b(content).digest(), "signature")
    check_signature(public, over_all, head[10:] + trusted.removeprefix("trusted comment: ").encode(), "signature")
    with refusing("encoding"):
        table = tomllib.loads(content.decode())
    says = table.pop("signed", None)
    check(type(says) is dict, "field")
    conform(says, SIGNED)
    check(says["camera"] == context["camera"], "mismatch")
    check(says["serial"] > context["newest"], "rollback")
    return says | {"table": table}

def key_file(data: bytes, context: Any) -> Any:
    names = [context["kid"]] if context["kid"] else []
    check((data[:1] == b"\xd0") == (context["passphrase"] is not None), "passphrase")
    if context["passphrase"] is not None:
        (header, protected), unprotected, sealed = conform(decode(data), [16, ["cbor", LOCK], {5: B12}, BYTES])
        (salt, n, r, p), use, kid = header["scrypt"], header["ps"]["use"], header["ps"]["kid"]
        check(1 < n <= 1 << 20 and n & (n - 1) == 0, "cost")
        check(0 < r <= 32 and 0 < p <= 16 and 128 * n * r <= 1 << 30, "cost")
        check(use == context["use"], "use")
        names.append(kid.hex())
        key = hashlib.scrypt(context["passphrase"].encode(), salt=salt, n=n, r=r, p=p, maxmem=2**31 - 1, dklen=32)
        with refusing("passphrase"):
            data = AESGCM(key).decrypt(unprotected[5], sealed, encode(["Encrypt0", protected, encode([use, kid])]))
    says = conform(decode(data), (dict, 0, 9))
    alg = conform(says.get(3), ["one of", "algorithm", *([-8] if context["use"] == "owner" else EK_BYTES)])
    label = -2 if alg == HYBRID else -4
    raw = conform(says.get(label), B32)
    with refusing("key"):
        _, public = private_key(alg, raw)
    right = cose_key(alg, public) | {2: key_id(alg, public), 3: alg, label: raw}
    check(says.keys() == right.keys(), "field")
    check(says == right, "key")
    check(all(name == says[2].hex() for name in names), "use")
    return {"kid": says[2], "alg": alg, "private": raw}

def audit_log(data: bytes, context: Any) -> Any:
    before, entries = bytes(32), list[Any]()
    for _, one in sequence(data):
        _, _, entry = sign1(one, MIB // 4, [context["owner"]], {"application/plateseal-audit+cbor": ENTRY})
        follows = (entry["seq"], entry["prev"]) == (len(entries), before)
        check(follows and (entries or entry["action"] == "keys"), "chain")
        entries.append(entry)
        before = sha256(one)
    return {"entries": entries, "head": before}

def audit_head(data: bytes, context: Any) -> Any:
    _, _, says = sign1(data, 1024, [context["owner"]], {"application/plateseal-audit-head+cbor": HEAD})
    entries = [one for _, one in sequence(bytes.fromhex(context["log"]))]
    check(says["seq"] < len(entries) and sha256(entries[says["seq"]]) == says["digest"], "chain")
    return says

def told(found: Any) -> Any:
    """What read.json of an export says of an opened envelope."""
    read, place = found["read"], found["ps"]
    same = ["camera", "clock", "text", "votes", "box", "frame", "frame_wh", "direction"]
    position = read.get("position")
    maybe = ["site", "region", "lane"] + ["seen", "format"] * ("seen" in read)
    return {name: read[name] for name in same} | {name: read.get(name) for name in maybe} | {
        "envelope": found["id"].hex(), "device_key": found["kid"].hex(), "chain": place["chain"].hex(),
        "seq": place["seq"], "position": position and [part / 1_000_000 for part in position],
        "captured_at": iso(read["captured_at"]), "first_seen": iso(read["first_seen"]),
        "last_seen": iso(read["last_seen"]), "confidences": [share / 1000 for share in read["confidences"]],
        "detector_confidence": read["detector"] / 1000, "detector_sha256": read["models"]["detector"].hex(),
        "reader_sha256": read["models"]["reader"].hex(), "crop_bytes": len(read["crop"]),
        "agent_version": read["agent"]}

OTHERS = (rotation, renewal, renewal_answer, probe, probe_answer, health, enrolment, device_record, bundle, key_file,
          audit_log, audit_head)

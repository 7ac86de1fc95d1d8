"""Reads every message of docs/FORMAT.md, written from that document alone: a place to start from.

    python tests/vectors/reader.py tests/vectors

Judges each test vector by its message and context, then compares with what its file expects (README.md). No code is
plateseal's; what libraries for CBOR, CDDL and COSE would do elsewhere is in primitives.py. At most 200 lines.
"""

# fmt: off
import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from primitives import (  # type: ignore[import-not-found]  # beside this file
    EK_BYTES, HYBRID, Refused, check, check_public, check_signature, check_signer, conform, cose_key, decode, encode,
    key_id, open_encrypt, private_key, refusing, sequence, sha256, sign1)

# What the CDDL says; `conform` explains the notation.
MIB, READ, GRAVE = 1 << 20, "application/plateseal+cbor", "application/plateseal-tombstone+cbor"
V, SEQ, TIME, SHARE, PX = (int, 1, 1), (int, 0, 2**53 - 1), (int, 0, 253402300799999), (int, 0, 1000), (int, 0, 16384)
B12, B16, B32, B48, B64, BYTES, NAME = *((bytes, n, n) for n in (12, 16, 32, 48, 64)), (bytes, 0, 8 * MIB), (str, 0, 64)
ALG, PLACE = ["one of", "algorithm", *EK_BYTES], {"v": V, "chain": B16, "seq": SEQ, "prev": B32, "?": {"last": B32}}
RECIPIENT = ["row", ["cbor", {1: ALG, 4: B32}], {-4: BYTES}, B48]
CONTENT = [96, ["cbor", {1: ["one of", "algorithm", 3, 24]}], {5: B12}, (bytes, 16, MIB), ["all", RECIPIENT, 1, 8]]
PLAINTEXT = {
    "v": V, "camera": NAME, "captured_at": TIME, "text": (str, 0, 20), "confidences": ["all", SHARE, 0, 20],
    "votes": ["all", (int, 0, 10**6), 2, 2], "detector": SHARE, "box": ["all", PX, 4, 4], "frame_wh": ["all", PX, 2, 2],
    "first_seen": TIME, "last_seen": TIME, "direction": ["one of", "value", "approaching", "receding", "unknown"],
    "frame": SEQ, "clock": ["one of", "value", "synchronized", "unsynchronized", "recorded"], "agent": NAME,
    "crop": BYTES, "models": {"detector": B32, "reader": B32}, "?": {"region": NAME, "site": NAME, "lane": NAME,
    "position": ["row", (int, -90_000_000, 90_000_000), (int, -180_000_000, 180_000_000)]}}
TOMBSTONE = {
    "v": V, "reason": ["one of", "value", "overflow", "expired", "evicted"], "count": (int, 1, 2**53 - 1), "from": TIME,
    "until": TIME, "gone": ["all", ["row", B16, SEQ, SEQ, B32], 0, 1024]}
RECEIPT = {"v": V, "id": B32, "len": (int, 0, MIB), "dev": B32, "chain": B16, "seq": SEQ, "at": TIME, "log": SEQ}
ANSWERS = BYTES, (str, 0, 200), (int, 0, 86400)
KEY = {"kid": B32, "alg": ALG, "pub": BYTES, "for": NAME, "from": TIME, "until": TIME}
KEYRING = {"v": V, "serial": SEQ, "keys": ["all", KEY, 1, 4096]}
ROTATION = {"v": V, "device": NAME, "key": B32, "csr": (bytes, 1, 2048), "proof": B64}
USE = {"v": V, "use": ["one of", "value", "owner", "epoch", "case"], "kid": B32}
LOCK = {1: ["one of", "algorithm", 3], 3: ["one of", "content-type", "application/plateseal-key+cbor"], "ps": USE,
        "scrypt": ["row", B16, SEQ, SEQ, SEQ]}
ENTRY = {
    "v": V, "seq": SEQ, "prev": B32, "at": TIME, "who": NAME, "case": NAME, "reason": (str, 0, 400), "count": SEQ,
    "action": ["one of", "value", "keys", "open", "search", "hold", "destroy", "export", "mend"], "?": {"serial": SEQ,
    "ids": ["all", B32, 0, 4096], "by": ["all", NAME, 0, 8], "camera": NAME, "from": TIME, "until": TIME,
    "before": TIME}}

# The messages: each takes its bytes and the context, and returns what it says.
def plaintext(data: bytes, _context: Any = None) -> Any:
    read = conform(decode(data), PLAINTEXT)
    check(len(read["confidences"]) == len(read["text"]), "value")
    return read

def envelope(data: bytes, context: Any, held: Any = ()) -> Any:
    kinds = {READ: CONTENT, GRAVE: TOMBSTONE}
    header, protected, inside = sign1(data, MIB, [context["device"]], kinds, {"ps": PLACE})
    place, values = header["ps"], {"id": sha256(data), "kid": header[4], "ps": header["ps"]}
    check((place["seq"] == 0) == (place["prev"] == bytes(32)) and (place["seq"] == 0 or "last" not in place), "value")
    if header[3] == GRAVE:
        check(bool(inside["gone"]) == (inside["reason"] != "overflow"), "value")
        check(all(first <= last for _, first, last, _ in inside["gone"]), "order")
        check(all((a[0], a[2] + 1) < (b[0], b[1]) for a, b in pairwise(inside["gone"])), "order")
        return values | {"tombstone": inside}
    inside[3] += held
    for (to, _), ek, _ in inside[3]:
        check(len(ek[-4]) == EK_BYTES[to[1]], "value")
    opened = {"read": plaintext(open_encrypt(inside, protected, context["keys"]))} if "keys" in context else {}
    return values | opened

def held(data: bytes, context: Any) -> Any:
    return envelope(bytes.fromhex(context["envelope"]), context, [conform(decode(data), RECIPIENT)])["read"]

def receipt(data: bytes, context: Any) -> Any:
    _, _, says = sign1(data, 1024, context["receivers"], {"application/plateseal-receipt+cbor": RECEIPT})
    of = bytes.fromhex(context["envelope"])
    header = decode(decode(of)[1][0])
    place = {name: header["ps"][name] for name in ("chain", "seq")}
    check(says == says | place | {"id": sha256(of), "len": len(of), "dev": header[4]}, "mismatch")
    return says

def request(data: bytes, _context: Any) -> Any:
    check(len(data) <= 8 * MIB, "size")
    items = conform([value for value, _ in sequence(data)], ["all", BYTES, 1, 64])
    check(all(len(one) <= MIB for one in items), "size")
    return items

def reply(data: bytes, context: Any) -> Any:
    check(len(data) <= 64 * (1024 + 8), "size")
    answers = [value for value, _ in sequence(data)]
    for answer in conform(answers, ["all", (list, 2, 2), context["sent"], context["sent"]]):
        conform(answer[1], ANSWERS[conform(answer[0], (int, 0, 2))])
    return answers

def keyring(data: bytes, context: Any) -> Any:
    _, _, says = sign1(data, 8 * MIB, [context["owner"]], {"application/plateseal-keyring+cbor": KEYRING})
    for key in says["keys"]:
        check_public(key["alg"], key["pub"])
        check(key["kid"] == key_id(key["alg"], key["pub"]), "key-id")
        check(key["from"] < key["until"], "order")
    check(says["keys"] == sorted(says["keys"], key=lambda key: key["from"]), "order")
    check(len(names := sorted({key["for"] for key in says["keys"]})) <= 8, "value")
    newest = context.get("newest", {"serial": -1})
    same = newest == {"serial": says["serial"], "sha256": sha256(data).hex()}
    check(says["serial"] > newest["serial"] or same, "rollback")
    own = [[key for key in says["keys"] if key["for"] == name] for name in names]
    return says | ({"chosen": [chosen(keys, context["at"]) for keys in own]} if "at" in context else {})

def chosen(keys: list[Any], at: int) -> Any:
    began = [key for key in keys if key["from"] <= at]
    return ([key for key in began if at < key["until"]] or began or keys[:1])[-1]["kid"]

def rotation(data: bytes, context: Any) -> Any:
    units = {key_id(-8, bytes.fromhex(unit["key"])): unit for unit in context["enrolled"]}
    kinds = {"application/plateseal-rotation+cbor": ROTATION}
    header, _, says = sign1(data, 4096, [unit["key"] for unit in units.values()], kinds)
    check_signer(says["key"])
    proven = ["plateseal rotation 1", header[4], says["device"], says["key"], says["csr"]]
    check_signature(says["key"], says["proof"], proven, "proof")
    check(key_id(-8, says["key"]) != header[4], "same-key")
    check(units[header[4]]["name"] == says["device"], "mismatch")
    return says

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

MESSAGES = (envelope, plaintext, held, receipt, request, reply, keyring, rotation, key_file, audit_log)
JUDGES = {judge.__name__.replace("_", "-"): judge for judge in MESSAGES} | {"tombstone": envelope}
SIGNED = {"receipt": "Receipt", "keyring": "Keyring", "rotation": ""}
VERIFICATION = ("signer", "signature", "proof", "mismatch", "rollback", "same-key")

def error_of(message: str, cause: str) -> str:
    if message in ("key-file", "audit-log"):
        return "KeyFileError" if message == "key-file" else "AuditVerificationError"
    if cause in VERIFICATION:
        return f"{SIGNED.get(message, 'Envelope')}VerificationError"
    return "OpenError" if cause in ("recipient", "sealed-key", "ciphertext") else "FormatError"

def plain(v: Any) -> Any:
    if isinstance(v, dict):
        return {str(key): plain(part) for key, part in v.items()}
    return v.hex() if isinstance(v, bytes) else [*map(plain, v)] if isinstance(v, list) else v

def judge(vector: Any) -> Any:
    pieces = ((part, 1) if isinstance(part, str) else (part["repeat"], part["times"]) for part in vector["data"])
    data = b"".join(bytes.fromhex(digits) * times for digits, times in pieces)
    try:
        return {"outcome": "accepted", "values": plain(JUDGES[vector["message"]](data, vector["context"]))}
    except Refused as refused:
        return {"outcome": "refused", "error": error_of(vector["message"], str(refused)), "cause": str(refused)}

def main(folder: Path) -> int:
    files, wrong = sorted(folder.rglob("*.json")), 0
    for file in files:
        vector = json.loads(file.read_text())
        expected = vector.pop("expect")
        if (found := judge(vector)) != expected:
            wrong += 1
            sys.stdout.write(f"{file.relative_to(folder)}: {found!s:.200}, expected {expected!s:.200}\n")
    sys.stdout.write(f"{len(files)} vectors, {len(files) - wrong} as expected\n")
    return int(wrong > 0 or not files)

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""Reads every message of docs/FORMAT.md, written from that document alone: a place to start from.

    python tests/vectors/reader.py tests/vectors

Judges each test vector by its message and context, then compares with what its file expects (README.md). No code is
plateseal's. The CDDL is in layouts.py; what libraries for CBOR and COSE would do elsewhere, in primitives.py.
At most 200 lines.
"""

# fmt: off
import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from layouts import (  # type: ignore[import-not-found]  # beside this file
    ANSWERS, B12, B32, BYTES, CONTENT, EK_BYTES, ENTRY, GRAVE, HELD, KEYRING, LOCK, MIB, PLACE, PLAINTEXT_1,
    PLAINTEXT_2, READ, RECEIPT, RECIPIENT, ROTATION, TOMBSTONE)
from primitives import (  # type: ignore[import-not-found]
    HYBRID, Refused, check, check_public, check_signature, check_signer, conform, cose_key, decode, encode,
    first, key_id, open_encrypt, private_key, refusing, sequence, sha256, sign1)

# The messages: each takes its bytes and the context, and returns what it says.
def plaintext(data: bytes, context: Any) -> Any:
    if context.get("version", 1) == 1:
        read = conform(decode(data), PLAINTEXT_1)
    else:
        value, rest = first(data)
        check(not rest.strip(b"\0"), "encoding")
        read = conform(value, PLAINTEXT_2)
    check(len(read["confidences"]) == len(read["text"]), "value")
    return read

def envelope(data: bytes, context: Any, held: Any = ()) -> Any:
    kinds = {READ: CONTENT, GRAVE: TOMBSTONE}
    header, protected, inside = sign1(data, MIB, [context["device"]], kinds, {"ps": PLACE})
    place, values = header["ps"], {"id": sha256(data), "kid": header[4], "ps": header["ps"]}
    if place["v"] == 1:
        check((place["seq"] == 0) == (place["prev"] == bytes(32)), "value")
        check(place["seq"] == 0 or "last" not in place, "value")
    else:
        check(("com" in place) == (header[3] == READ), "field")
        check(place["prev"] != bytes(32) or (place["run"], place["seq"]) == (0, 0), "value")
    if header[3] == GRAVE:
        check(bool(inside["gone"]) == (inside["reason"] != "overflow"), "value")
        check(all(first <= last for _, first, last, _ in inside["gone"]), "order")
        check(all((a[0], a[2] + 1) < (b[0], b[1]) for a, b in pairwise(inside["gone"])), "order")
        return values | {"tombstone": inside}
    check(place["v"] == 1 or len({to[4] for (to, _), _, _ in inside[3]}) == len(inside[3]), "value")
    inside[3] += held
    for (to, _), ek, _ in inside[3]:
        check(len(ek[-4]) == EK_BYTES[to[1]], "value")
    if "keys" not in context:
        return values
    opened = open_encrypt(inside, protected, context["keys"], place.get("com"))
    return values | {"read": plaintext(opened, {"version": place["v"]})}

def held(data: bytes, context: Any) -> Any:
    of = bytes.fromhex(context["envelope"])
    if data[:1] != b"\xd2":
        check(decode(decode(of)[1][0])["ps"]["v"] == 1, "version")
        return envelope(of, context, [conform(decode(data), RECIPIENT)])["read"]
    _, _, says = sign1(data, 4096, [context["owner"]], {"application/plateseal-held+cbor": HELD})
    check((says["id"], says["case"]) == (sha256(of), context["case"]), "mismatch")
    return envelope(of, context, [says["slot"]])["read"]

def receipt(data: bytes, context: Any) -> Any:
    _, _, says = sign1(data, 1024, context["receivers"], {"application/plateseal-receipt+cbor": RECEIPT})
    of = bytes.fromhex(context["envelope"])
    header = decode(decode(of)[1][0])
    place = {name: header["ps"][name] for name in ("v", "chain", "seq")}
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
    check(says["v"] == 1 or all(a["until"] <= b["from"] for keys in own for a, b in pairwise(keys)), "order")
    return says | ({"chosen": [chosen(says["v"], keys, context["at"]) for keys in own]} if "at" in context else {})

def chosen(version: int, keys: list[Any], at: int) -> Any:
    began = [key for key in keys if key["from"] <= at]
    return ([key for key in began if at < key["until"]] or began or keys[: 1 if version == 2 else None])[-1]["kid"]

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
SIGNED = {"receipt": "Receipt", "keyring": "Keyring", "rotation": "", "held": ""}
VERIFICATION = ("signer", "signature", "proof", "mismatch", "rollback", "same-key")

def error_of(message: str, cause: str) -> str:
    if message in ("key-file", "audit-log"):
        return "KeyFileError" if message == "key-file" else "AuditVerificationError"
    if cause in VERIFICATION:
        return f"{SIGNED.get(message, 'Envelope')}VerificationError"
    return "OpenError" if cause in ("recipient", "sealed-key", "commitment", "ciphertext") else "FormatError"

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
    files, wrong = sorted(file for file in folder.glob("*/*.json") if file.parent.name in JUDGES), 0
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

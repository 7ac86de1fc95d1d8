"""Reads the messages of docs/FORMAT.md, written from that document alone: a place to start from.

    python tests/vectors/reader.py tests/vectors

Here is what a read goes through, from the envelope to the export. The messages around it are in others.py. Judges each
test vector by its message and context, then compares with what its file expects (README.md). No code is plateseal's.
The CDDL is in layouts.py; what libraries for CBOR and COSE would do elsewhere, in primitives.py. At most 200 lines.
"""

# fmt: off
import json
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from layouts import (  # type: ignore[import-not-found]  # beside this file
    ANSWERS, BYTES, CONTENT, EK_BYTES, GRAVE, HELD, KEYRING, MIB, PLACE, PLAINTEXT_1, PLAINTEXT_2, READ, RECEIPT,
    RECIPIENT, TOMBSTONE)
from others import OTHERS, told  # type: ignore[import-not-found]
from primitives import (  # type: ignore[import-not-found]
    Refused, check, check_public, conform, decode, first, key_id, open_content, public_pem, read_json, refusing,
    sequence, sha256, sign1, unseal)

# The messages: each takes its bytes and the context, and returns what it says.
def plaintext(data: bytes, context: Any) -> Any:
    if context.get("version", 1) == 1:
        read = conform(decode(data), PLAINTEXT_1)
    else:
        value, rest = first(data)
        check(not rest.strip(b"\0"), "encoding")
        read = conform(value, PLAINTEXT_2)
    check(len(read["confidences"]) == len(read["text"]) == len(read.get("seen", read["text"])), "value")
    check("format" not in read or "seen" in read, "field")
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
    key = context.get("content_key") or ("keys" in context and unseal(inside, context["keys"]))
    if not key:
        return values
    opened = open_content(inside, protected, key, place.get("com"))
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

def export(files: dict[str, bytes], context: Any) -> Any:
    names = files.keys() - {"SHA256SUMS"}
    with refusing("digest"):
        sums = [line.split("  ") for line in files["SHA256SUMS"].decode().split("\n")[:-1]]
        check({name: digest for digest, name in sums} == {name: sha256(files[name]).hex() for name in names}, "digest")
    check({"envelope.cose", "device.pub", "content.key", "read.json"} <= names, "field")
    check("receipt.cose" not in names or "receipt.pub" in names, "field")
    device = public_pem(files["device.pub"]).hex()
    check(device == context["device"], "signer")
    with refusing("value"):
        content_key = bytes.fromhex(files["content.key"].decode())
    check(len(content_key) == 32, "value")
    found = envelope(files["envelope.cose"], {"device": device, "content_key": content_key})
    check("read" in found, "content-type")
    check(read_json(files["read.json"]) == told(found), "mismatch")
    check(files.get("crop.jpg", b"") == found["read"]["crop"], "mismatch")
    place = found["ps"]
    if "previous.cose" in names:
        envelope(files["previous.cose"], {"device": device})
        check(before(place) == sha256(files["previous.cose"]), "chain")
    if "next.cose" in names:
        after = envelope(files["next.cose"], {"device": device})["ps"]
        check(before(after) == found["id"], "chain")
        check(after["seq"] == (place["seq"] + 1 if after["chain"] == place["chain"] else 0), "chain")
    stored_at = None
    if "receipt.cose" in names:
        receiver = public_pem(files["receipt.pub"]).hex()
        check(receiver in context["receivers"], "signer")
        of = {"receivers": [receiver], "envelope": files["envelope.cose"].hex()}
        stored_at = receipt(files["receipt.cose"], of)["at"]
    neighbours = [name for name in ("previous.cose", "next.cose") if name in names]
    return {"id": found["id"], "read": found["read"], "neighbours": neighbours, "stored_at": stored_at}

def before(place: Any) -> Any:
    return place.get("last") if (place["v"], place["seq"]) == (1, 0) else place["prev"]

MESSAGES = (envelope, plaintext, held, receipt, request, reply, keyring, export, *OTHERS)
JUDGES = {judge.__name__.replace("_", "-"): judge for judge in MESSAGES} | {"tombstone": envelope}
ONE = {"key-file": "KeyFile", "audit-log": "AuditVerification", "audit-head": "AuditVerification",
       "device-record": "Receiver", "export": "Verification", "renewal-answer": "KeyFile"}
OF_ITS_OWN = {("renewal-answer", "size"): "TransportError", ("enrolment", "key-id"): "VerificationError"}
SIGNED = {"envelope": "Envelope", "tombstone": "Envelope", "receipt": "Receipt", "probe-answer": "Receipt",
          "keyring": "Keyring", "bundle": "Bundle"}
VERIFICATION = ("signer", "signature", "proof", "mismatch", "rollback", "same-key", "ended")

def error_of(message: str, cause: str) -> str:
    if (message, cause) in OF_ITS_OWN:
        return OF_ITS_OWN[message, cause]
    if message in ONE:
        return f"{ONE[message]}Error"
    if cause in VERIFICATION:
        return f"{SIGNED.get(message, '')}VerificationError"
    return "OpenError" if cause in ("recipient", "sealed-key", "commitment", "ciphertext") else "FormatError"

def plain(v: Any) -> Any:
    if isinstance(v, dict):
        return {str(key): plain(part) for key, part in v.items()}
    return v.hex() if isinstance(v, bytes) else [*map(plain, v)] if isinstance(v, list) else v

def joined(pieces: Any) -> bytes:
    parts = ((part, 1) if isinstance(part, str) else (part["repeat"], part["times"]) for part in pieces)
    return b"".join(bytes.fromhex(digits) * times for digits, times in parts)

def judge(vector: Any) -> Any:
    files = {name: joined(pieces) for name, pieces in vector.get("files", {}).items()}
    data = files or joined(vector["data"])
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

"""What the CDDL of docs/FORMAT.md says, as kinds of values for `primitives.conform`, which explains the notation."""

# fmt: off
from primitives import EK_BYTES  # type: ignore[import-not-found]  # beside this file

MIB, READ, GRAVE = 1 << 20, "application/plateseal+cbor", "application/plateseal-tombstone+cbor"
V, V2, SEQ, TIME = (int, 1, 1), (int, 2, 2), (int, 0, 2**53 - 1), (int, 0, 253402300799999)
SHARE, PX, NAME, BYTES = (int, 0, 1000), (int, 0, 16384), (str, 0, 64), (bytes, 0, 8 * MIB)
B8, B12, B16, B32, B48, B64 = ((bytes, n, n) for n in (8, 12, 16, 32, 48, 64))
ALG = ["one of", "algorithm", *EK_BYTES]
PLACE_1 = {"v": V, "chain": B16, "seq": SEQ, "prev": B32, "?": {"last": B32}}
PLACE_2 = {
    "v": V2, "run": SEQ, "chain": B16, "seq": SEQ, "prev": B32, "?": {"com": B32, "rcpt": ["row", B8, SEQ, B32]}}
PLACE = ["by version", PLACE_1, PLACE_2]
RECIPIENT = ["row", ["cbor", {1: ALG, 4: B32}], {-4: BYTES}, B48]
CONTENT = [96, ["cbor", {1: ["one of", "algorithm", 3, 24]}], {5: B12}, (bytes, 16, MIB), ["all", RECIPIENT, 1, 8]]
MAY_BE_1 = {"region": NAME, "site": NAME, "lane": NAME,
    "position": ["row", (int, -90_000_000, 90_000_000), (int, -180_000_000, 180_000_000)]}
PLAINTEXT_1 = {
    "v": V, "camera": NAME, "captured_at": TIME, "text": (str, 0, 20), "confidences": ["all", SHARE, 0, 20],
    "votes": ["all", (int, 0, 10**6), 2, 2], "detector": SHARE, "box": ["all", PX, 4, 4], "frame_wh": ["all", PX, 2, 2],
    "first_seen": TIME, "last_seen": TIME, "direction": ["one of", "value", "approaching", "receding", "unknown"],
    "frame": SEQ, "clock": ["one of", "value", "synchronized", "unsynchronized", "recorded"], "agent": NAME,
    "crop": BYTES, "models": {"detector": B32, "reader": B32}, "?": MAY_BE_1}
PLAINTEXT_2 = PLAINTEXT_1 | {
    "v": V2, "clock": ["one of", "value", "synchronized", "unsynchronized", "recorded", "behind"],
    "?": MAY_BE_1 | {"seen": (str, 0, 20), "format": NAME}}
TOMBSTONE = {
    "v": V, "reason": ["one of", "value", "overflow", "expired", "evicted"], "count": (int, 1, 2**53 - 1), "from": TIME,
    "until": TIME, "gone": ["all", ["row", B16, SEQ, SEQ, B32], 0, 1024]}
RECEIPT_1 = {"v": V, "id": B32, "len": (int, 0, MIB), "dev": B32, "chain": B16, "seq": SEQ, "at": TIME, "log": SEQ}
RECEIPT = ["by version", RECEIPT_1, RECEIPT_1 | {"v": V2, "prev": B32}]
HELD = {"v": V2, "id": B32, "case": NAME, "slot": RECIPIENT}
ANSWERS = BYTES, (str, 0, 200), (int, 0, 86400)
KEY = {"kid": B32, "alg": ALG, "pub": BYTES, "for": NAME, "from": TIME, "until": TIME}
KEYRING_1 = {"v": V, "serial": SEQ, "keys": ["all", KEY, 1, 4096]}
KEYRING_2 = KEYRING_1 | {"v": V2, "issued": TIME, "recorded": ["one of", "value", True, False]}
KEYRING = ["by version", KEYRING_1, KEYRING_2]
DEVICE = ["match", r"[a-z0-9][a-z0-9._-]{0,63}"]
ROTATION = {"v": V, "device": DEVICE, "key": B32, "csr": (bytes, 1, 2048), "proof": B64}
RENEWAL = {"v": V, "device": NAME, "certificate": (bytes, 1, 4096)}
PROBE = {"v": V2, "at": TIME, "nonce": B16}
PROBE_ANSWER = {"v": V2, "probe": B32, "at": TIME, "log": SEQ}
HEAD = {"v": V, "seq": SEQ, "digest": B32}
INTEGER = (int, 1 - 2**53, 2**53 - 1)
NUMBER, BOOL, LINE_64 = ["or null", INTEGER], ["one of", "value", True, False], ["line", 64]
CAMERA = ["row", LINE_64, ["or null", ["one of", "value", True, False, "refused"]], SEQ]
CAMERA_CLOCK = ["row", INTEGER, NUMBER, SEQ, BOOL]
HEALTH = {
    "v": V, "at": TIME, "up": ["row", BOOL, BOOL],
    "cameras": ["all", ["by length", {3: CAMERA, 4: [*CAMERA, CAMERA_CLOCK]}], 0, 16],
    "backlog": ["row", SEQ, SEQ, SEQ, ["or null", SEQ], SEQ], "reads": ["row", ["or null", SEQ], SEQ, SEQ, SEQ, SEQ],
    "disk": ["row", SEQ, SEQ], "temp": NUMBER, "ends": ["row", NUMBER, NUMBER],
    "clock": ["one of", "value", "synchronized", "unsynchronized", "recorded", "behind"],
    "versions": ["all", ["row", LINE_64, ["line", 100]], 0, 16],
    "configs": ["all", ["row", LINE_64, SEQ, ["or null", ["line", 300]]], 0, 2],
    "error": ["or null", ["row", TIME, ["line", 300]]]}
ENROLMENT_1 = {
    "v": V, "device": DEVICE, "key_id": (str, 0, MIB), "public_key": ["base64", 32], "csr": (str, 0, MIB),
    "proof": ["base64", 64]}
ENROLMENT = ["by version", ENROLMENT_1, ENROLMENT_1 | {"v": V2}]
HEX, LOG, AT = ["match", r"[0-9a-f]{64}"], ["or null", SEQ], ["or null", ["moment"]]
EVENT = {"event": (str, 0, 8), "at": AT, "log": LOG}
EVENTS = ["by field", "event", {
    "enrolled": EVENT, "renewed": EVENT, "rotated": EVENT | {"to": HEX, "certificates_until": ["moment"]},
    "revoked": EVENT | {"after": SEQ, "reason": (str, 1, 200)}}]
KNOWN = {
    "name": DEVICE, "key_id": (str, 0, MIB), "public_key": ["base64", 32], "certificate_sha256": ["all", HEX, 1, 2]}
RECORD = ["by version",
    KNOWN | {"v": V, "enrolled_at": ["moment"], "?": {"rotated_to": HEX, "certificates_until": ["moment"]}},
    KNOWN | {"v": V2, "history": ["all", EVENTS, 1, 64], "receiver": HEX, "signature": ["base64", 64]}]
SIGNED = {"camera": NAME, "serial": (int, 1, 2**53 - 1)}
USE = {"v": V, "use": ["one of", "value", "owner", "epoch", "case"], "kid": B32}
LOCK = {1: ["one of", "algorithm", 3], 3: ["one of", "content-type", "application/plateseal-key+cbor"], "ps": USE,
        "scrypt": ["row", B16, SEQ, SEQ, SEQ]}
ENTRY = {
    "v": V, "seq": SEQ, "prev": B32, "at": TIME, "who": NAME, "case": NAME, "reason": (str, 0, 400), "count": SEQ,
    "action": ["one of", "value", "keys", "open", "search", "hold", "destroy", "export", "mend", "lost", "close",
    "passphrase", "copy"], "?": {"serial": SEQ, "ids": ["all", B32, 0, 4096], "by": ["all", NAME, 0, 8],
    "camera": NAME, "from": TIME, "until": TIME, "before": TIME, "head": ["one of", "value", True]}}

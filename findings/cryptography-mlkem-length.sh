#!/usr/bin/env bash
# cryptography 50.0.2: an ML-KEM-768 public key of the right length that is none is refused for its length.
# FIPS 203 (7.2) has each of the 768 numbers of a public key checked: none may be 3329 or more. Bytes that fail this are
# refused, as they must be, with the words of a wrong length, so that who got a key damaged on its way looks for bytes that are
# missing. Seen:
#   1184 bytes of a key: taken
#   the same, one number too large: An ML-KEM-768 public key is 1184 bytes long
#   1183 bytes of it: An ML-KEM-768 public key is 1184 bytes long
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check cryptography==50.0.2
cd "$scratch"
venv/bin/python - <<'END'
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey

key = MLKEM768PrivateKey.generate().public_key().public_bytes_raw()
assert len(key) == 1184
SAID = "An ML-KEM-768 public key is 1184 bytes long"
for name, raw, expected in (
    ("1184 bytes of a key", key, "taken"),
    ("the same, one number too large", b"\xff\xff" + key[2:], SAID),
    ("1183 bytes of it", key[:-1], SAID),
):
    try:
        MLKEM768PublicKey.from_public_bytes(raw)
        seen = "taken"
    except ValueError as error:
        seen = str(error)
    print(f"{name}: {seen}")
    assert seen == expected
END

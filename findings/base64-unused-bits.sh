#!/usr/bin/env bash
# CPython 3.11.7: `base64.b64decode(text, validate=True)` takes texts that no encoder writes. With one or two bytes at the end, the
# last character has two or four bits that mean nothing; RFC 4648, section 3.5, lets a decoder refuse others than zero. One would
# expect that of "validate", which refuses a character outside the alphabet and padding that is missing or too long. It takes 16
# texts for one byte, so a signed or hashed text is not fixed by the bytes that it says. Encode again, and compare. Seen:
#   one byte 00: 16 texts, AA== AB== AC== AD== ... AP==
#   two bytes 00 00: 4 texts, AAA= AAB= AAC= AAD=
#   padding too long: Error; a character outside: Error
set -euo pipefail
python3 - <<'END'
import base64
import binascii
import string

ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


def taken(head, tail, wanted):
    """Return the texts that mean the same bytes."""
    texts = [f"{head}{letter}{tail}" for letter in ALPHABET]
    return [text for text in texts if base64.b64decode(text, validate=True) == wanted]


def refused(text):
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return "Error"
    return "taken"


one, two = taken("A", "==", b"\0"), taken("AA", "=", b"\0\0")
print(f"one byte 00: {len(one)} texts, {' '.join(one[:4])} ... {one[-1]}")
print(f"two bytes 00 00: {len(two)} texts, {' '.join(two)}")
print(f"padding too long: {refused('AA===')}; a character outside: {refused('A-==')}")
assert len(one) == 16 and two == ["AAA=", "AAB=", "AAC=", "AAD="]
assert refused("AA===") == refused("A-==") == "Error"
END

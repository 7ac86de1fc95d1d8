"""The worked example of docs/FORMAT.md: makes a new one, and renders an envelope in diagnostic notation.

    python -m tests.vectors.worked_example > section.md

The keys are hashes of published words, for this example only.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Final

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.keys.keyring import KeyringBook
from agent.seal.sealer import Sealer
from agent.wire import cbor, suites
from agent.wire.envelope import parse_envelope
from agent.wire.header import ZERO_DIGEST, ChainPosition
from agent.wire.keyring import Keyring, RecipientKey
from agent.wire.plaintext import encode_plaintext
from tests.fakes.reads import make_plaintext

DEVICE_WORDS: Final = b"plateseal worked example: device key, for no other use"
RECIPIENT_WORDS: Final = b"plateseal worked example: recipient key, for no other use"
CHAIN_WORDS: Final = b"plateseal worked example: chain"
WRAP: Final = 96
"""Hex digits on a line."""

DEVICE: Final = Ed25519PrivateKey.from_private_bytes(cbor.sha256(DEVICE_WORDS))
RECIPIENT_RAW: Final = cbor.sha256(RECIPIENT_WORDS)
READ: Final = make_plaintext("AB123CD", crop=b"", region="Portugal")


def make(run: int | None = 0) -> bytes:
    """Seal the example's read, in version 1 without a run; nonce and keys are new each time."""
    suite = suites.SUITES[suites.KeyType.X25519]
    public = suite.derive_public(RECIPIENT_RAW)
    key = RecipientKey(
        suite=suite,
        public=public,
        kid=suite.kid(public),
        recipient="agency",
        valid_from=datetime(2026, 3, 1, tzinfo=UTC),
        valid_until=datetime(2026, 3, 2, tzinfo=UTC),
    )
    sealer = Sealer(
        signing_key=DEVICE,
        book=KeyringBook(Keyring(serial=1, keys=(key,))),
        cipher=suites.ContentCipher.AES_256_GCM,
    )
    chain = cbor.sha256(CHAIN_WORDS)[:16]
    return sealer.seal(READ, ChainPosition(chain=chain, seq=0, prev=ZERO_DIGEST, run=run)).data


def diagnostic(value: object, *, indent: int = 0) -> str:  # noqa: PLR0911  one return per type of CBOR
    """Render a value in diagnostic notation (RFC 8949, section 8); byte strings that hold CBOR as `<< .. >>`."""
    pad, inner = "  " * indent, "  " * (indent + 1)
    match value:
        case bytes():
            return _bytes(value, indent)
        case str():
            return f'"{value}"'
        case cbor2.CBORTag(tag=tag, value=content):
            return f"{tag}({diagnostic(content, indent=indent)})"
        case dict():
            rows = [f"{inner}{diagnostic(key)}: {diagnostic(item, indent=indent + 1)}" for key, item in value.items()]
            return "{\n" + ",\n".join(rows) + f"\n{pad}}}" if rows else "{}"
        case list() if all(isinstance(item, int) for item in value):
            return "[" + ", ".join(map(str, value)) + "]"
        case list():
            rows = [inner + diagnostic(item, indent=indent + 1) for item in value]
            return "[\n" + ",\n".join(rows) + f"\n{pad}]"
        case _:
            return str(value)


def section(data: bytes) -> str:
    """Return the document's section for one envelope."""
    version = parse_envelope(data).position.version
    plaintext = encode_plaintext(READ, version=version)
    read: object = cbor.decode_padded(plaintext, max_bytes=len(plaintext), what="example")
    zeros = len(plaintext) - len(cbor.encode(read))
    behind = f", {zeros} zero bytes at its end among them" if version > 1 else ""
    return "\n".join(
        [
            f"### Version {version}",
            "",
            f"The plaintext, {len(plaintext)} bytes{behind}, in diagnostic notation:",
            "",
            "```text",
            diagnostic(read),
            "```",
            "",
            f"The envelope, {len(data)} bytes. Its id is `{cbor.sha256(data).hex()}`.",
            "",
            "```hex",
            *(data.hex()[at : at + WRAP] for at in range(0, 2 * len(data), WRAP)),
            "```",
            "",
            "The same in diagnostic notation; `<< .. >>` is a byte string that holds CBOR:",
            "",
            "```text",
            diagnostic(cbor.decode(data, max_bytes=len(data), what="example")),
            "```",
        ]
    )


def keys_section() -> str:
    """Return what the document says of the keys."""
    return "\n".join(
        [
            "One read, sealed to one X25519 recipient. The keys are hashes of published words, for this example only:",
            f"the unit's Ed25519 seed is SHA-256 of `\"{DEVICE_WORDS.decode()}\"`, the recipient's X25519 private key",
            f'SHA-256 of `"{RECIPIENT_WORDS.decode()}"`.',
            "",
            f"The unit's public key: `{DEVICE.public_key().public_bytes_raw().hex()}`",
        ]
    )


def _bytes(value: bytes, indent: int) -> str:
    try:
        inside = cbor.decode(value, max_bytes=1 << 20, what="example")
    except Exception:  # noqa: BLE001  most byte strings hold no CBOR
        return f"h'{value.hex()}'"
    return (
        f"<< {diagnostic(inside, indent=indent)} >>"
        if isinstance(inside, dict | cbor2.CBORTag)
        else f"h'{value.hex()}'"
    )


if __name__ == "__main__":
    sys.stdout.write("\n\n".join([keys_section(), section(make()), section(make(run=None))]) + "\n")

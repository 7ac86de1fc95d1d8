"""Configurations as signed bundles: one file per camera unit, which any way may carry to it.

```
untrusted comment: ..        four lines in minisign's format: prehashed Ed25519 ("ED") over all that follows them,
RUR..                        and the global signature over signature and trusted comment
trusted comment: ..          says camera and serial, for people
base64
<TOML>                       the unit's configuration as its layers have it, and a table [signed]
```

`tail -n +5 FILE | minisign -V -x FILE -m /dev/stdin -P KEY` checks one without plateseal.

Owns: that layout, and the minisign forms of the owner's key. Leaves to others: files, and which serial is new enough
(`agent.unit.reload.trial`). The owner's key is the one that signs keyrings; its id in minisign's sense is the
beginning of its thumbprint. Neither kind of signature can pass for the other: a keyring signs a CBOR structure, a
bundle a digest of 64 bytes.

Invariant: the table of a `Bundle` that `verify_bundle` returns is what the pinned owner signed.

Source: https://jedisct1.github.io/minisign/, "Signature format", "Public key format".
"""

from __future__ import annotations

import base64
import hashlib
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import minisign
import tomli_w
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.config.check import PathRule, check_table, in_document, on_this_unit
from agent.config.document import Document, Table
from agent.config.models import UnitConfig
from agent.errors import BundleVerificationError, ConfigError, FormatError
from agent.wire.cose import ed25519_kid
from agent.wire.plaintext import MAX_NAME_CHARS

MAX_BUNDLE_BYTES: Final = 256 << 10
"""Longest bundle looked at. A unit's configuration has about 1 kB."""
MAX_SERIAL: Final = 2**53 - 1
SIGNED: Final = "signed"
"""The table that says what the bundle is: camera and serial."""
_SIGNATURE_LINES: Final = 4
_KEY_ID_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class Bundle:
    """A configuration that the pinned owner signed.

    Attributes:
        camera: The unit it is for, by its camera's name.
        serial: Grows with every bundle of a unit; 1 to 2^53 - 1.
        data: The file, whole.
        content: The TOML in it.
    """

    camera: str
    serial: int
    data: bytes = field(repr=False)
    content: Document = field(repr=False)

    def unit(self, rule: PathRule = on_this_unit) -> UnitConfig:
        """Return the configuration.

        Args:
            rule: What its paths are: those of this unit, or of one far away.

        Raises:
            ConfigError: It is wrong; the message names every mistake, with its line in the bundle.
        """
        table = {key: value for key, value in self.content.table.items() if key != SIGNED}
        unit, problems = check_table(table, in_document(self.content), rule)
        if unit is None:
            raise ConfigError("; ".join(f"{each.key}: {each.message}" for each in problems))
        return unit


def sign_bundle(table: Table, *, camera: str, serial: int, key: Ed25519PrivateKey) -> bytes:
    """Return a bundle.

    Args:
        table: The unit's configuration, merged from its layers and checked.
        camera: The unit.
        serial: Higher than that of any bundle it has had.
        key: The owner's signing key.

    Raises:
        ConfigError: The serial is none.
    """
    if not 1 <= serial <= MAX_SERIAL:
        raise ConfigError(f"serial {serial}: from 1 to {MAX_SERIAL} are allowed")
    content = tomli_w.dumps({**table, SIGNED: {"camera": camera, "serial": serial}}).encode()
    with minisign.SecretKey.from_base64(_secret_key(key)) as secret:
        signature = secret.sign(
            content,
            untrusted_comment="plateseal configuration, signature of the owner's key",
            trusted_comment=f"plateseal configuration of {camera}, serial {serial}",
        )
    return bytes(signature) + b"\n" + content


def verify_bundle(data: bytes, owner_key: Ed25519PublicKey) -> Bundle:
    """Check who signed a bundle, and take it apart.

    Raises:
        FormatError: It is no bundle.
        BundleVerificationError: Another key's, or changed since it was signed.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise FormatError(f"no bundle: longer than {MAX_BUNDLE_BYTES} bytes")
    lines = data.split(b"\n", _SIGNATURE_LINES)
    if len(lines) <= _SIGNATURE_LINES:
        raise FormatError("no bundle: four lines of a minisign signature are needed at its beginning")
    content = lines.pop()
    try:
        signature = minisign.Signature.from_bytes(b"\n".join(lines))
        signed_by = base64.b64decode(lines[1])[2 : 2 + _KEY_ID_BYTES]
    except (minisign.ParseError, UnicodeDecodeError) as error:
        raise FormatError(f"no bundle: its minisign signature: {error}") from None
    if bytes(signature) != b"\n".join(lines):  # Base64 leaves bits unused; one bundle has one form
        raise FormatError("no bundle: its minisign signature is not as minisign writes it")
    if not signature.is_prehashed():
        raise FormatError("no bundle: its minisign signature is of the old kind, 'Ed' instead of 'ED'")
    pinned = key_id(owner_key)
    if signed_by != pinned:
        raise BundleVerificationError(
            f"signed by key {signed_by.hex().upper()}, this unit's owner is key {pinned.hex().upper()}"
        )
    try:
        minisign.PublicKey.from_base64(public_key(owner_key)).verify(content, signature)
    except minisign.VerifyError:
        raise BundleVerificationError("wrong signature: changed since its owner signed it") from None
    return _parsed(data, content)


def public_key(key: Ed25519PublicKey) -> str:
    """Return a key as minisign's option -P takes it."""
    return base64.b64encode(b"Ed" + key_id(key) + key.public_bytes_raw()).decode("ascii")


def key_id(key: Ed25519PublicKey) -> bytes:
    """Return a key's id in minisign's sense, 8 bytes."""
    return ed25519_kid(key)[:_KEY_ID_BYTES]


def unit_toml(table: Table) -> str:
    """Return a unit's own configuration file."""
    return tomli_w.dumps(table)


def _parsed(data: bytes, content: bytes) -> Bundle:
    try:
        text = content.decode("utf-8")
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"no bundle: not TOML: {error}") from None
    match table.get(SIGNED):
        case {"camera": str(camera), "serial": int(serial), **others} if (
            not others and len(camera) <= MAX_NAME_CHARS and type(serial) is int and 1 <= serial <= MAX_SERIAL
        ):
            return Bundle(camera, serial, data, Document(Path(f"{camera}.bundle"), text, table))
        case _:
            raise FormatError(f"no bundle: a table [{SIGNED}] with camera and serial, and nothing else, is needed")


def _secret_key(key: Ed25519PrivateKey) -> str:
    """Return a key in the form of minisign's secret key file without a password: no KDF, so salt and limits are 0."""
    public = key.public_key()
    number = key_id(public) + key.private_bytes_raw() + public.public_bytes_raw()
    checksum = hashlib.blake2b(b"Ed" + number, digest_size=32).digest()
    return base64.b64encode(b"Ed\0\0B2" + bytes(32 + 8 + 8) + number + checksum).decode("ascii")

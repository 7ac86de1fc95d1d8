"""Private key files under a passphrase: COSE_Encrypt0, its key derived by scrypt.

```
key-file = COSE_Encrypt0 (tag 16)
  protected: {1: 3 (A256GCM), 3: "application/plateseal-key+cbor",
              "ps": {"v": 1, "use": "owner" | "epoch" | "case", "kid": key id},
              "scrypt": [salt, N, r, p]}
  unprotected: {5: nonce}
  ciphertext of the COSE_Key; external AAD [use, key id]
```

Owns: that layout, the derivation, and the limits on what a file may ask for. Leaves to others: which keys there are,
and how files are read and written.

Invariants: all files of one owner share salt and parameters, so one derivation opens them all; every file has a nonce
of its own. A file under another name or for another use does not open. Nothing here shows a key or the passphrase.

Source: RFC 7914 (scrypt), RFC 9052 section 5.3 (Enc_structure), OWASP Password Storage Cheat Sheet
(N = 2^17, r = 8, p = 1).
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import cbor2
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from agent.errors import FormatError, KeyFileError
from agent.wire import cbor, cose, suites

CONTENT_TYPE: Final = "application/plateseal-key+cbor"
KEY_FILE_VERSION: Final = 1
TAG_ENCRYPT0: Final = 16
ALG_A256GCM: Final = suites.CONTENT_ALGS[suites.ContentCipher.AES_256_GCM]
HEADER_SCRYPT: Final = "scrypt"
SALT_BYTES: Final = 16
KEY_BYTES: Final = 32
MAX_FILE_BYTES: Final = 8 << 10
"""A hybrid key's file has about 1.5 kB."""

MAX_N: Final = 1 << 20
MAX_R: Final = 32
MAX_P: Final = 16
MAX_MEMORY_BYTES: Final = 1 << 30
"""128 N r: what a file may make the one who opens it spend. The default takes 128 MiB."""

_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, "ps", HEADER_SCRYPT})
_PS_KEYS: Final = frozenset({"v", "use", "kid"})


class KeyUse(StrEnum):
    """What a private key is for; a file made for one use does not open for another."""

    OWNER = "owner"
    EPOCH = "epoch"
    CASE = "case"


@dataclass(frozen=True, slots=True)
class ScryptParameters:
    """The cost of one guess at the passphrase.

    Attributes:
        n: CPU and memory cost, a power of two.
        r: Block size.
        p: Parallelisation.
    """

    n: int = 1 << 17
    r: int = 8
    p: int = 1

    def __post_init__(self) -> None:
        """Refuse what scrypt cannot do, and what would exhaust the machine.

        Raises:
            FormatError: Out of bounds.
        """
        cbor.as_uint(self.n, MAX_N, "scrypt: N")
        cbor.as_uint(self.r, MAX_R, "scrypt: r")
        cbor.as_uint(self.p, MAX_P, "scrypt: p")
        if self.n < 2 or self.n & (self.n - 1) or not self.r or not self.p:
            raise FormatError("scrypt: N must be a power of two, r and p at least 1")
        if 128 * self.n * self.r > MAX_MEMORY_BYTES:
            raise FormatError(f"scrypt: N {self.n} and r {self.r} take more than {MAX_MEMORY_BYTES} bytes of memory")


DEFAULT_SCRYPT: Final = ScryptParameters()


@dataclass(frozen=True, slots=True)
class LockedKey:
    """A key file that has been parsed and not opened.

    Attributes:
        use, kid: Which key it says it holds.
        salt: The salt of scrypt, 16 bytes.
        scrypt: The cost it asks for.
        protected_bytes: Its protected header, as authenticated.
        nonce: The nonce of AES-GCM, 12 bytes.
        ciphertext: The sealed COSE_Key.
    """

    use: KeyUse
    kid: bytes
    salt: bytes
    scrypt: ScryptParameters
    protected_bytes: bytes = field(repr=False)
    nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


class KeyLock:
    """What opens and closes the key files of one owner: a passphrase, and the key it derives to."""

    def __init__(
        self, passphrase: bytes, *, salt: bytes | None = None, scrypt: ScryptParameters = DEFAULT_SCRYPT
    ) -> None:
        """Close new files under `passphrase` with this salt (a fresh one if None) and cost."""
        self._passphrase = passphrase
        self._salt = os.urandom(SALT_BYTES) if salt is None else salt
        self._scrypt = scrypt
        self._derived: dict[tuple[bytes, ScryptParameters], bytes] = {}

    @property
    def salt(self) -> bytes:
        """The salt of the files that this closes, 16 bytes."""
        return self._salt

    @property
    def scrypt(self) -> ScryptParameters:
        """The cost of the files that this closes."""
        return self._scrypt

    def close(self, cose_key: bytes, *, use: KeyUse, kid: bytes) -> bytes:
        """Return the key file that holds a COSE_Key."""
        header: cbor.CborMap = {
            cose.HEADER_ALG: ALG_A256GCM,
            cose.HEADER_CONTENT_TYPE: CONTENT_TYPE,
            "ps": {"v": KEY_FILE_VERSION, "use": str(use), "kid": kid},
            HEADER_SCRYPT: [self._salt, self._scrypt.n, self._scrypt.r, self._scrypt.p],
        }
        protected, nonce = cose.encode_protected(header), os.urandom(suites.NONCE_BYTES)
        aead = AESGCM(self._derive(self._salt, self._scrypt))
        ciphertext = aead.encrypt(nonce, cose_key, _enc_structure(protected, use, kid))
        return cbor.encode(cbor2.CBORTag(TAG_ENCRYPT0, [protected, {cose.HEADER_IV: nonce}, ciphertext]))

    def open(self, locked: LockedKey, *, use: KeyUse, kid: bytes | None, what: str) -> bytes:
        """Return the COSE_Key in a key file.

        Args:
            locked: The parsed file.
            use: What the key must be for.
            kid: Which key it must be; None where the file alone says it.
            what: The file's name, for messages.

        Raises:
            KeyFileError: Another key, the wrong passphrase, or altered.
        """
        if locked.use is not use or (kid is not None and locked.kid != kid):
            raise KeyFileError(
                f"{what}: holds another key than its name says; bring it back from a whole copy of the folder"
            )
        aad = _enc_structure(locked.protected_bytes, use, locked.kid)
        try:
            return AESGCM(self._derive(locked.salt, locked.scrypt)).decrypt(locked.nonce, locked.ciphertext, aad)
        except InvalidTag:
            raise KeyFileError(f"{what}: does not open: the passphrase is wrong, or the file was altered") from None

    def _derive(self, salt: bytes, scrypt: ScryptParameters) -> bytes:
        """Return the key for a salt and cost; each is derived once, which takes most of a second."""
        if (salt, scrypt) not in self._derived:
            kdf = Scrypt(salt=salt, length=KEY_BYTES, n=scrypt.n, r=scrypt.r, p=scrypt.p)
            self._derived[salt, scrypt] = kdf.derive(self._passphrase)
        return self._derived[salt, scrypt]


def is_locked(data: bytes) -> bool:
    """Whether a key file is under a passphrase: it begins with the tag of a COSE_Encrypt0."""
    return data[:1] == bytes([0xC0 | TAG_ENCRYPT0])


def parse_locked(data: bytes) -> LockedKey:
    """Parse a key file without opening it.

    Raises:
        FormatError: Anything but the one layout, or a cost out of bounds.
    """
    what = "key file"
    value = cbor.decode(data, max_bytes=MAX_FILE_BYTES, what=what)
    if not isinstance(value, cbor2.CBORTag) or value.tag != TAG_ENCRYPT0:
        raise FormatError(f"{what}: not a COSE_Encrypt0 (tag {TAG_ENCRYPT0})")
    protected_raw, unprotected_raw, ciphertext = cbor.as_list(value.value, 3, what)
    protected_bytes = cbor.as_bytes(protected_raw, None, what)
    protected = cbor.as_map(cbor.decode(protected_bytes, max_bytes=MAX_FILE_BYTES, what=what), what)
    cbor.exact_keys(protected, _HEADER_KEYS, what)
    if protected[cose.HEADER_ALG] != ALG_A256GCM or protected[cose.HEADER_CONTENT_TYPE] != CONTENT_TYPE:
        raise FormatError(f"{what}: another algorithm than A256GCM, or another content type than {CONTENT_TYPE}")
    unprotected = cbor.as_map(unprotected_raw, what)
    cbor.exact_keys(unprotected, frozenset({cose.HEADER_IV}), what)
    use, kid = _parse_ps(protected["ps"])
    salt, scrypt = _parse_scrypt(protected[HEADER_SCRYPT])
    return LockedKey(
        use=use,
        kid=kid,
        salt=salt,
        scrypt=scrypt,
        protected_bytes=protected_bytes,
        nonce=cbor.as_bytes(unprotected[cose.HEADER_IV], suites.NONCE_BYTES, f"{what}: nonce"),
        ciphertext=cbor.as_bytes(ciphertext, None, what),
    )


def _parse_ps(value: object) -> tuple[KeyUse, bytes]:
    ps = cbor.as_map(value, "key file: ps")
    if type(ps.get("v")) is not int or ps["v"] != KEY_FILE_VERSION:
        raise FormatError(f"key file: version {ps.get('v')!r:.20}, only {KEY_FILE_VERSION} is allowed")
    cbor.exact_keys(ps, _PS_KEYS, "key file: ps")
    return (
        cbor.as_choice(KeyUse, ps["use"], "key file: use"),
        cbor.as_bytes(ps["kid"], cose.KID_BYTES, "key file: key id"),
    )


def _parse_scrypt(value: object) -> tuple[bytes, ScryptParameters]:
    salt, n, r, p = cbor.as_list(value, 4, "key file: scrypt")
    parameters = ScryptParameters(
        n=cbor.as_uint(n, MAX_N, "scrypt: N"),
        r=cbor.as_uint(r, MAX_R, "scrypt: r"),
        p=cbor.as_uint(p, MAX_P, "scrypt: p"),
    )
    return cbor.as_bytes(salt, SALT_BYTES, "key file: salt"), parameters


def _enc_structure(protected: bytes, use: KeyUse, kid: bytes) -> bytes:
    return cbor.encode(["Encrypt0", protected, cbor.encode([str(use), kid])])

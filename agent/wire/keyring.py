"""The keyring: the owner's recipient public keys and their epochs, signed by the owner.

Owns: its layout (COSE_Sign1 around a CBOR map) and the rule which key is valid when. Leaves to others: files
(`agent.keys.keyring`) and private keys (`agent.custody`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError, KeyringVerificationError
from agent.wire import cbor, cose, suites
from agent.wire.envelope import MAX_RECIPIENTS
from agent.wire.header import FORMAT_VERSION, MAX_SEQ, VERSION_1
from agent.wire.plaintext import MAX_NAME_CHARS
from agent.wire.times import as_time, to_ms

CONTENT_TYPE: Final = "application/plateseal-keyring+cbor"
MAX_KEYRING_KEYS: Final = 4096
"""Eleven years of daily epochs for one recipient."""
MAX_KEYRING_BYTES: Final = 8 << 20
"""`MAX_KEYRING_KEYS` hybrid keys of about 1,400 bytes each, and room."""

_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})
_KEYS_1: Final = frozenset({"v", "serial", "keys"})
_KEYS_2: Final = _KEYS_1 | {"issued", "recorded"}
_KEY_KEYS: Final = frozenset({"kid", "alg", "pub", "for", "from", "until"})


@dataclass(frozen=True, slots=True)
class RecipientKey:
    """One recipient's public key for one epoch.

    Attributes:
        suite: The row of the suite table for its type.
        public: Raw public key, `suite.public_bytes` long.
        kid: 32 bytes, its thumbprint.
        recipient: Whose it is, for example "agency" or "auditor".
        valid_from, valid_until: The epoch, aware UTC, half open.
    """

    suite: suites.RecipientSuite
    public: bytes = field(repr=False)
    kid: bytes
    recipient: str
    valid_from: datetime
    valid_until: datetime

    def is_valid_at(self, moment: datetime) -> bool:
        """Whether `moment` (aware) lies in the epoch."""
        return self.valid_from <= moment < self.valid_until


@dataclass(frozen=True, slots=True)
class Keyring:
    """All recipient keys that a device may seal to.

    Attributes:
        serial: Grows with every keyring that the owner signs.
        keys: In order of `valid_from`; at least one. A keyring lists no key whose private half was destroyed.
        issued: Aware UTC time at which the owner signed it. It is over for every unit that has this keyring. None in
            version 1.
        recorded: Whether a recording may be sealed to the epoch of the day it was recorded on, if every recipient has
            an epoch for that day.
    """

    serial: int
    keys: tuple[RecipientKey, ...]
    issued: datetime | None = None
    recorded: bool = False

    @property
    def version(self) -> int:
        """The version of the format: 1 or 2."""
        return VERSION_1 if self.issued is None else FORMAT_VERSION

    def covers(self, moment: datetime) -> bool:
        """Whether every recipient has an epoch that holds `moment` (aware)."""
        return all(key.is_valid_at(moment) for key in self.keys_at(moment))

    def may_seal_to_day_of(self, recording: datetime) -> bool:
        """Whether a recording from that aware time may be sealed to the epoch that holds it."""
        return self.recorded and self.covers(recording)

    def keys_at(self, moment: datetime) -> tuple[RecipientKey, ...]:
        """Return one key per recipient for a read that is sealed at `moment` (aware).

        The key whose epoch holds the moment; where none does, the newest key that began before it. Where none had
        begun, the next to begin; a keyring of version 1 may list destroyed keys, so there it is the last to begin.
        So a read is always sealed, and never to two epochs of one recipient. This method believes the moment that it
        is given. The caller must not give one from before `issued`, or before any other time that is over for certain:
        the key of that epoch may be destroyed, and nobody could open the read.
        """
        chosen: dict[str, RecipientKey] = {}
        for key in self.keys:  # by valid_from: a later match is a newer epoch
            best = chosen.get(key.recipient)
            began = key.valid_from <= moment
            is_last_resort = self.issued is None and best is not None and best.valid_from > moment
            if best is None or key.is_valid_at(moment) or (began and not best.is_valid_at(moment)) or is_last_resort:
                chosen[key.recipient] = key
        return tuple(chosen[name] for name in sorted(chosen))


def encode_keyring(keyring: Keyring, owner_key: Ed25519PrivateKey) -> bytes:
    """Sign a keyring as its owner."""
    fields: cbor.CborMap = {
        "v": keyring.version,
        "serial": keyring.serial,
        "keys": [
            {
                "kid": key.kid,
                "alg": key.suite.alg,
                "pub": key.public,
                "for": key.recipient,
                "from": to_ms(key.valid_from),
                "until": to_ms(key.valid_until),
            }
            for key in keyring.keys
        ],
    }
    if keyring.issued is not None:
        fields |= {"issued": to_ms(keyring.issued), "recorded": keyring.recorded}
    header = cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(owner_key.public_key()))
    return cose.sign1(cose.encode_protected(header), cbor.encode(fields), owner_key)


def parse_keyring(data: bytes, owner_key: Ed25519PublicKey) -> Keyring:
    """Parse a keyring and check that the pinned owner signed it.

    Raises:
        FormatError: Anything but the one layout of the format.
        KeyringVerificationError: Another owner's, or a wrong signature.
    """
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_KEYRING_BYTES, what="keyring")
    cbor.exact_keys(message.protected, _HEADER_KEYS, "keyring header")
    cose.verify_sign1(message, owner_key, what="keyring", error=KeyringVerificationError)
    value = cbor.as_map(cbor.decode(message.payload, max_bytes=MAX_KEYRING_BYTES, what="keyring"), "keyring")
    version = value.get("v")
    if type(version) is not int or version not in (VERSION_1, FORMAT_VERSION):
        raise FormatError(f"keyring: version {version!r:.20}, only {VERSION_1} and {FORMAT_VERSION} are allowed")
    cbor.exact_keys(value, _KEYS_1 if version == VERSION_1 else _KEYS_2, "keyring")
    rows = cbor.as_list(value["keys"], None, "keyring: keys")
    if not 1 <= len(rows) <= MAX_KEYRING_KEYS:
        raise FormatError(f"keyring: {len(rows)} keys, 1 to {MAX_KEYRING_KEYS} are allowed")
    keys = tuple(_parse_key(row) for row in rows)
    if list(keys) != sorted(keys, key=lambda key: key.valid_from):
        raise FormatError("keyring: keys are not in order of their epochs")
    if len({key.recipient for key in keys}) > MAX_RECIPIENTS:
        raise FormatError(f"keyring: more than {MAX_RECIPIENTS} recipients")
    serial = cbor.as_uint(value["serial"], MAX_SEQ, "keyring: serial")
    if version == VERSION_1:
        return Keyring(serial=serial, keys=keys)
    _refuse_overlaps(keys)
    return Keyring(
        serial=serial,
        keys=keys,
        issued=as_time(value["issued"], "keyring: issued"),
        recorded=cbor.as_bool(value["recorded"], "keyring: recorded"),
    )


def _refuse_overlaps(keys: tuple[RecipientKey, ...]) -> None:
    ends: dict[str, datetime] = {}
    for key in keys:
        if key.valid_from < ends.get(key.recipient, key.valid_from):
            raise FormatError(f"keyring: the epoch of key {key.kid.hex()[:16]} begins before the one before it ends")
        ends[key.recipient] = key.valid_until


def _parse_key(row: object) -> RecipientKey:
    value = cbor.as_map(row, "keyring: key")
    cbor.exact_keys(value, _KEY_KEYS, "keyring: key")
    suite = suites.suite_by_alg(value["alg"], what="keyring")
    public = cbor.as_bytes(value["pub"], suite.public_bytes, "keyring: public key")
    try:
        suite.load_public(public)
    except ValueError:
        raise FormatError("keyring: bytes that are no public key of their type") from None
    kid = cbor.as_bytes(value["kid"], cose.KID_BYTES, "keyring: key id")
    if kid != suite.kid(public):
        raise FormatError(f"keyring: key id {kid.hex()[:16]} is not its key's thumbprint")
    valid_from, valid_until = as_time(value["from"], "keyring: from"), as_time(value["until"], "keyring: until")
    if valid_from >= valid_until:
        raise FormatError(f"keyring: the epoch of key {kid.hex()[:16]} ends before it begins")
    return RecipientKey(
        suite=suite,
        public=public,
        kid=kid,
        recipient=cbor.as_text(value["for"], MAX_NAME_CHARS, "keyring: recipient"),
        valid_from=valid_from,
        valid_until=valid_until,
    )

"""Who may send: one file per device key, looked up for every request.

Owns: `devices/<key id>.json` and what it says. A device is one name; it may hold several keys (one after a repair,
two after a rotation). Removing a file ends that key at once: no restart, no cache.

After a rotation the old key's file says which key followed it and until when its TLS certificates may still connect
(the overlap). Envelopes that the old key signed are taken for as long as its file is there, whenever they come: a read
that was sealed before the rotation may lie in a spool behind a dead link for weeks, and refusing it would lose it.
That is safe, because an envelope reaches the intake only over a connection of the same device, and after the overlap
the old TLS key makes none: whoever has stolen both old keys can deliver nothing. The file is also what the old
envelopes in the store are verified with. To end an old key at once, after a theft, remove its file: its envelopes are
put off then.

Invariant: a file's content names the key that its file name names.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID
from pydantic import Field, model_validator

from agent.errors import FormatError, ReceiverError
from agent.keys.keyfiles import PUBLIC_MODE, replace_file
from agent.receiver.admission import strictjson
from agent.wire import cose

DEVICE_VERSION: Final = 1
MAX_CERTIFICATES: Final = 2
"""A renewed device goes on with its old certificate until it has been given the new one."""
_ROTATED_KEYS: Final = frozenset({"rotated_to", "certificates_until"})
"""In the file of a key that another one has followed; both or none."""
_PUBLIC_KEY_BYTES: Final = 32
_Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _DeviceFile(strictjson.Document):
    v: Annotated[int, strictjson.version(DEVICE_VERSION)]
    name: str
    key_id: str
    public_key: Annotated[bytes, strictjson.base64_of(_PUBLIC_KEY_BYTES)]
    certificate_sha256: Annotated[list[_Sha256], Field(min_length=1, max_length=MAX_CERTIFICATES)]
    enrolled_at: strictjson.Moment
    rotated_to: _Sha256 | None = None
    certificates_until: strictjson.Moment | None = None

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        there = _ROTATED_KEYS & self.model_fields_set
        if there and (there != _ROTATED_KEYS or self.rotated_to is None or self.certificates_until is None):
            raise ValueError("'rotated_to' and 'certificates_until' belong together")
        return self


@dataclass(frozen=True, slots=True)
class Rotated:
    """What a rotation left in the old key's file.

    Attributes:
        to: 32 bytes, id of the key that followed.
        certificates_until: Aware UTC time after which the old key's certificates no longer connect.
    """

    to: bytes
    certificates_until: datetime


@dataclass(frozen=True, slots=True)
class Device:
    """One enrolled key of one device.

    Attributes:
        name: The device.
        key_id: 32 bytes, id of the signing key.
        signing_key: Its public half.
        fingerprints: SHA-256 of the TLS certificates it may come with, lower-case hex, newest first; 1 or 2.
        enrolled_at: Aware UTC time of the newest certificate.
        rotated: What followed this key, if one has.
    """

    name: str
    key_id: bytes
    signing_key: Ed25519PublicKey = field(repr=False)
    fingerprints: tuple[str, ...]
    enrolled_at: datetime
    rotated: Rotated | None = None


class DeviceBook:
    """The enrolled devices of one receiver. Holds no state but the folder's path; safe for threads."""

    def __init__(self, directory: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Look into `directory`, the `devices` folder, from now on; `now` is the aware time that ends an overlap."""
        self._directory = directory
        self._now = now

    def by_key_id(self, key_id: bytes) -> Device | None:
        """Return the device that signs with this key, or None.

        Raises:
            ReceiverError: Its file is there but cannot be read or is damaged.
        """
        path = self._path(key_id)
        return strictjson.look_up(
            path, lambda: _device(strictjson.load_document(path, _DeviceFile, what=path.name), key_id)
        )

    def by_certificate(self, certificate_der: bytes) -> Device | None:
        """Return the device that this TLS certificate was issued to and still belongs to, or None.

        A certificate of a key that was rotated belongs to its device until the overlap is over.

        Args:
            certificate_der: As the TLS layer has verified it against the CA.

        Raises:
            ReceiverError: Its file is there but cannot be read or is damaged.
        """
        certificate = x509.load_der_x509_certificate(certificate_der)
        key_id = key_id_of(certificate)
        device = None if key_id is None else self.by_key_id(key_id)
        if device is None or certificate.fingerprint(hashes.SHA256()).hex() not in device.fingerprints:
            return None
        if device.rotated is not None and self._now() >= device.rotated.certificates_until:
            return None
        return device

    def named(self, name: str) -> list[Device]:
        """Return all keys of one device, in no special order.

        Raises:
            ReceiverError: The folder or a file in it cannot be read or is damaged.
        """
        return [device for device in self.all() if device.name == name]

    def all(self) -> list[Device]:
        """Return every enrolled key.

        Raises:
            ReceiverError: The folder or a file in it cannot be read or is damaged.
        """
        try:
            stems = sorted(path.stem for path in self._directory.iterdir() if path.suffix == ".json")
        except OSError as error:
            raise ReceiverError(f"{self._directory}: {error.strerror}") from None
        found = [self.by_key_id(bytes.fromhex(stem)) for stem in stems if _is_key_id(stem)]
        return [device for device in found if device is not None]

    def save(self, device: Device) -> None:
        """Write a device's file, durably, in the place of the one that may be there.

        Raises:
            KeyFileError: The disk refused.
        """
        value: dict[str, object] = {
            "v": DEVICE_VERSION,
            "name": device.name,
            "key_id": device.key_id.hex(),
            "public_key": base64.b64encode(device.signing_key.public_bytes_raw()).decode("ascii"),
            "certificate_sha256": list(device.fingerprints),
            "enrolled_at": _text_of(device.enrolled_at),
        }
        if device.rotated is not None:
            value["rotated_to"] = device.rotated.to.hex()
            value["certificates_until"] = _text_of(device.rotated.certificates_until)
        replace_file(self._path(device.key_id), json.dumps(value, indent=1).encode("ascii") + b"\n", PUBLIC_MODE)

    def _path(self, key_id: bytes) -> Path:
        return self._directory / f"{key_id.hex()}.json"


def key_id_of(certificate: x509.Certificate) -> bytes | None:
    """Return the signing key's id that a device certificate carries as its subject's serialNumber, or None."""
    values = [name.value for name in certificate.subject.get_attributes_for_oid(NameOID.SERIAL_NUMBER)]
    if len(values) != 1 or not isinstance(values[0], str) or not _is_key_id(values[0]):
        return None
    return bytes.fromhex(values[0])


def _is_key_id(text: str) -> bool:
    return len(text) == 2 * cose.KID_BYTES and all(char in "0123456789abcdef" for char in text)


def _device(file: _DeviceFile, key_id: bytes) -> Device:
    signing_key = Ed25519PublicKey.from_public_bytes(file.public_key)
    if file.key_id != key_id.hex() or cose.ed25519_kid(signing_key) != key_id:
        raise FormatError(f"{key_id.hex()}.json: holds another key than its name says")
    rotated = None
    if file.rotated_to is not None and file.certificates_until is not None:
        rotated = Rotated(to=bytes.fromhex(file.rotated_to), certificates_until=file.certificates_until)
    return Device(
        name=file.name,
        key_id=key_id,
        signing_key=signing_key,
        fingerprints=tuple(file.certificate_sha256),
        enrolled_at=file.enrolled_at,
        rotated=rotated,
    )


def _text_of(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")

"""Who may send: one file per device key, looked up for every request.

Owns: the folder `devices` and who is found in it. A device is one name; it may hold several keys (one after a repair,
two after a rotation). Leaves to others: what a record says and its signature (`records`).

A record is never removed: the envelopes in the store are verified with it. To end a key, `plateseal receiver revoke`
adds the end to its history, with the entry of the log up to which its envelopes stay the device's; it takes effect at
once, without a restart, and no request is answered from a cache.

After a rotation the old key's record says which key followed it and until when its TLS certificates may still connect
(the overlap). Envelopes that the old key signed before the rotation are taken whenever they come: a read may lie in a
spool behind a dead link for weeks, and refusing it would lose it. What it signed later is not (`stores.keeping`).

Invariant: a record names the key that its file's name names.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError, KeyFileError, ReceiverError
from agent.keys.certificate import is_key_id, key_id_of
from agent.keys.keyfiles import PUBLIC_MODE, load_ed25519_public, load_ed25519_publics, replace_file
from agent.receiver.admission import strictjson
from agent.receiver.admission.records import (
    MAX_CERTIFICATES,
    MAX_RECORD_BYTES,
    Device,
    Event,
    EventKind,
    Revoked,
    Rotated,
    encode_record,
    parse_record,
)
from agent.receiver.layout import ReceiverLayout
from agent.wire import cose

MAX_EARLIER_KEYS: Final = 64
"""Receipt keys that a receiver had before the one in use: one a year, or a change for each of many accidents."""
_MAX_ROTATIONS: Final = 100
"""Keys of one device that are followed from one to the next."""


class DeviceBook:
    """The enrolled devices of one receiver. Holds no state but the folder's path; safe for threads."""

    def __init__(self, directory: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Look into `directory` from now on: `devices` in a receiver's folder, whose receipt key signs the records.

        `now` is the aware time that ends an overlap.
        """
        self._directory = directory
        self._layout = ReceiverLayout(directory.parent)
        self._now = now

    def by_key_id(self, key_id: bytes) -> Device | None:
        """Return the device that signs with this key, or None.

        Raises:
            ReceiverError: Its file is there but cannot be read or is damaged.
        """
        path = self._path(key_id)
        return strictjson.look_up(path, lambda: self._load(path, key_id))

    def by_certificate(self, certificate_der: bytes) -> Device | None:
        """Return the device that this TLS certificate was issued to and still belongs to, or None.

        A certificate of a key that was rotated belongs to its device until the overlap is over, one of a key that was
        revoked to nobody.

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
        if device.revoked is not None:
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
        found = [self.by_key_id(key_id) for key_id in self.key_ids()]
        return [device for device in found if device is not None]

    def key_ids(self) -> list[bytes]:
        """Return the ids of all enrolled keys, whether their records hold or not.

        Raises:
            ReceiverError: The folder cannot be read.
        """
        try:
            stems = sorted(path.stem for path in self._directory.iterdir() if path.suffix == ".json")
        except OSError as error:
            raise ReceiverError(f"{self._directory}: {error.strerror}") from None
        return [bytes.fromhex(stem) for stem in stems if is_key_id(stem)]

    def stamps(self) -> dict[bytes, tuple[int, ...]]:
        """Return by the id of each enrolled key what is another one once its record has been written anew.

        Raises:
            ReceiverError: The folder or a file in it cannot be looked at.
        """
        found: dict[bytes, tuple[int, ...]] = {}
        try:
            with os.scandir(self._directory) as entries:
                for entry in entries:
                    stem, _, kind = entry.name.rpartition(".")
                    if kind == "json" and is_key_id(stem):
                        status = entry.stat()
                        found[bytes.fromhex(stem)] = (
                            status.st_ino,
                            status.st_size,
                            status.st_mtime_ns,
                            status.st_ctime_ns,
                        )
        except OSError as error:
            raise ReceiverError(f"{self._directory}: {error.strerror}") from None
        return found

    def followers(self, device: Device) -> tuple[bytes, ...]:
        """Return the ids of the keys that followed a device's key, the next one first.

        Raises:
            ReceiverError: The file of one is there but cannot be read or is damaged.
        """
        found: list[bytes] = []
        at: Device | None = device
        while at is not None and at.rotated is not None and len(found) < _MAX_ROTATIONS:
            if at.rotated.to in found:
                break
            found.append(at.rotated.to)
            at = self.by_key_id(at.rotated.to)
        return tuple(found)

    def save(self, device: Device, key: Ed25519PrivateKey) -> None:
        """Write a device's record, durably, in the place of the one that may be there, signed by the receipt key.

        Raises:
            KeyFileError: The disk refused.
        """
        replace_file(self._path(device.key_id), encode_record(device, key), PUBLIC_MODE)

    def _load(self, path: Path, key_id: bytes) -> Device:
        with path.open("rb") as file:
            data = file.read(MAX_RECORD_BYTES + 1)
        device = parse_record(data, self.receipt_keys(), what=path.name)
        if device.key_id != key_id:
            raise FormatError(f"{path.name}: holds another key than its name says")
        return device

    def receipt_keys(self) -> dict[bytes, Ed25519PublicKey]:
        """Return the receiver's public receipt keys by key id, which records and receipts are checked with.

        The one in use comes first, then those before it; none without `receipt.pub`.

        Raises:
            ReceiverError: The file of those before it is there and cannot be used.
        """
        try:
            keys = [load_ed25519_public(self._layout.receipt_public)]
        except KeyFileError:
            return {}
        if self._layout.receipt_earlier.exists():
            try:
                keys += load_ed25519_publics(self._layout.receipt_earlier, most=MAX_EARLIER_KEYS)
            except KeyFileError as error:
                raise ReceiverError(str(error)) from None
        return {cose.ed25519_kid(key): key for key in keys}

    def _path(self, key_id: bytes) -> Path:
        return self._directory / f"{key_id.hex()}.json"


__all__ = ["MAX_CERTIFICATES", "Device", "DeviceBook", "Event", "EventKind", "Revoked", "Rotated", "key_id_of"]

"""Who may send: one record per device key, looked up for every request.

Owns: the folder `devices`, or those records in the receiver's database (`shelf`), and who is found there. A device is
one name; it may hold several keys (one after a repair, two after a rotation). Leaves to others: what a record says and
its signature (`records`).

A record is never removed: the envelopes in the store are verified with it. To end a key, `plateseal receiver revoke`
adds the end to its history, with the entry of the log up to which its envelopes stay the device's; it takes effect at
once, without a restart, and no request is answered from a cache.

After a rotation the old key's record says which key followed it and until when its TLS certificates may still connect
(the overlap). Envelopes that the old key signed before the rotation are taken whenever they come: a read may lie in a
spool behind a dead link for weeks, and refusing it would lose it. What it signed later is not (`stores.keeping`).

Invariant: a record names the key that its file's name names.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError, KeyFileError, ReceiverError
from agent.keys.certificate import is_key_id, key_id_of
from agent.keys.keyfiles import load_ed25519_public, load_ed25519_publics
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
from agent.receiver.admission.shelf import parsed, shelf_of
from agent.receiver.layout import ReceiverLayout
from agent.wire import cose

MAX_EARLIER_KEYS: Final = 64
"""Receipt keys that a receiver had before the one in use: one a year, or a change for each of many accidents."""
_SUFFIX: Final = ".json"
_MAX_ROTATIONS: Final = 100
"""Keys of one device that are followed from one to the next."""


class DeviceBook:
    """The enrolled devices of one receiver. Remembers none of them; safe for threads."""

    def __init__(self, directory: Path, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Look into `directory` from now on: `devices` in a receiver's folder, whose receipt key signs the records.

        `now` is the aware time that ends an overlap.
        """
        self._shelf = shelf_of(directory)
        self._layout = ReceiverLayout(directory.parent)
        self._now = now

    def by_key_id(self, key_id: bytes) -> Device | None:
        """Return the device that signs with this key, or None.

        Raises:
            ReceiverError: Its file is there but cannot be read or is damaged.
        """
        name = _name_of(key_id)
        return parsed(self._shelf, name, lambda data: self._parse(data, name, key_id), max_bytes=MAX_RECORD_BYTES)

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
        stems = (name.removesuffix(_SUFFIX) for name in self._shelf.names() if name.endswith(_SUFFIX))
        return [bytes.fromhex(stem) for stem in stems if is_key_id(stem)]

    def stamps(self) -> dict[bytes, Hashable]:
        """Return by the id of each enrolled key what is another one once its record has been written anew.

        Raises:
            ReceiverError: The folder or a file in it cannot be looked at.
        """
        stems = ((name.removesuffix(_SUFFIX), stamp) for name, stamp in self._shelf.stamps().items())
        return {bytes.fromhex(stem): stamp for stem, stamp in stems if is_key_id(stem)}

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
            KeyFileError, ReceiverError: The disk or the database refused.
        """
        self._shelf.write(_name_of(device.key_id), encode_record(device, key))

    def _parse(self, data: bytes, name: str, key_id: bytes) -> Device:
        device = parse_record(data, self.receipt_keys(), what=name)
        if device.key_id != key_id:
            raise FormatError(f"{name}: holds another key than its name says")
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


def _name_of(key_id: bytes) -> str:
    return f"{key_id.hex()}{_SUFFIX}"


__all__ = ["MAX_CERTIFICATES", "Device", "DeviceBook", "Event", "EventKind", "Revoked", "Rotated", "key_id_of"]

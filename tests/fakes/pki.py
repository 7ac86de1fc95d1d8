"""A bench in a temporary folder: a receiver, and devices that are enrolled with it."""

from __future__ import annotations

import json
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.keys import keyfiles
from agent.keys.identity import SIGNING_KEY_NAME, TLS_CERTIFICATE_NAME, TLS_KEY_NAME, create_identity
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.layout import ReceiverLayout
from agent.wire import cose


@dataclass(frozen=True, slots=True)
class BenchDevice:
    """An enrolled device: its folder, and what the receiver knows of it."""

    name: str
    directory: Path
    key_id: bytes

    @property
    def signing_key_path(self) -> Path:
        """Ed25519 private key (PEM, 0600)."""
        return self.directory / SIGNING_KEY_NAME

    @property
    def tls_key(self) -> Path:
        """TLS client key (PEM, 0600)."""
        return self.directory / TLS_KEY_NAME

    @property
    def certificate(self) -> Path:
        """TLS client certificate (PEM)."""
        return self.directory / TLS_CERTIFICATE_NAME

    @property
    def signing_key(self) -> Ed25519PrivateKey:
        """The loaded signing key."""
        return keyfiles.load_ed25519_private(self.signing_key_path)


@dataclass(frozen=True, slots=True)
class Bench:
    """A receiver's folder with one enrolled device."""

    root: Path
    receiver: ReceiverLayout
    device: BenchDevice

    @property
    def receipt_key(self) -> Ed25519PrivateKey:
        """The key that signs receipts."""
        return keyfiles.load_ed25519_private(self.receiver.receipt_key)

    @property
    def receipt_public(self) -> Ed25519PublicKey:
        """The key that receipts verify with."""
        return keyfiles.load_ed25519_public(self.receiver.receipt_public)

    @property
    def receiver_keys(self) -> dict[bytes, Ed25519PublicKey]:
        """What `verify_receipt` takes."""
        return {cose.ed25519_kid(self.receipt_public): self.receipt_public}

    def client_context(self, device: BenchDevice | None = None) -> ssl.SSLContext:
        """Return a TLS 1.3 client context with a device's certificate (the bench's own device if left out)."""
        device = device or self.device
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(self.receiver.ca)
        context.load_cert_chain(device.certificate, device.tls_key)
        return context


def make_bench(root: Path, *, name: str = "cam-1", store: str | None = None) -> Bench:
    """Make `root/receiver` and `root/device` with a device of this name enrolled; `store` is a database's address."""
    receiver = init_receiver(root / "receiver", store=store)
    return Bench(root=root, receiver=receiver, device=add_device(receiver, root / "device", name=name))


def add_device(receiver: ReceiverLayout, directory: Path, *, name: str) -> BenchDevice:
    """Make a device's identity in `directory` and enrol it."""
    identity = create_identity(directory, name=name)
    issued = enrol(receiver.directory, identity.enrolment)
    keyfiles.write_public(directory / TLS_CERTIFICATE_NAME, issued.pem)
    return BenchDevice(name=name, directory=directory, key_id=identity.key_id)


def record_of_version_1(path: Path) -> dict[str, object]:
    """Return what an earlier plateseal would have written into a device's file that this one wrote."""
    record = json.loads(path.read_text())
    fields = ("name", "key_id", "public_key", "certificate_sha256")
    value = {"v": 1, **{name: record[name] for name in fields}, "enrolled_at": record["history"][0]["at"]}
    rotated = [event for event in record["history"] if event["event"] == "rotated"]
    if rotated:
        value |= {"rotated_to": rotated[0]["to"], "certificates_until": rotated[0]["certificates_until"]}
    return value

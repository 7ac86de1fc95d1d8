"""The receiver's own certificate: what it must contain, whoever issued it, and its renewal by the bench CA.

Owns: the checks that spare a fleet a certificate which no unit takes, and `plateseal receiver renew`. Leaves to others:
TLS itself (`agent.receiver.intake.server_tls`), and what is in a certificate of the bench CA (`certificates`).

`server.pem` holds the server's certificate first, then the CAs between it and the one that units pin, if there are any.
Its key (`server.key`) is ECDSA P-256 or P-384, or RSA of 2048 bits or more. Its certificate has

| part | what | because otherwise |
|---|---|---|
| subjectAltName | each name and address that units use in `upload.url` | a common name (CN) alone is taken by no unit |
| extendedKeyUsage | serverAuth among it, or the part is left out | TLS clients refuse it for a server |
| keyUsage | digitalSignature among it, or the part is left out | TLS 1.3 signs with the key |
| authorityKeyIdentifier | there, unless it signed itself | units check chains strictly (RFC 5280) |
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID

from agent.errors import KeyFileError, UsageError
from agent.keys import keyfiles
from agent.receiver.admission.certificates import issue_server
from agent.receiver.admission.foreign import is_issued_by, load_chain
from agent.receiver.admission.pki import general_names, load_issuer
from agent.receiver.layout import ReceiverLayout


@dataclass(frozen=True, slots=True)
class RenewedServer:
    """The receiver's new certificate.

    Attributes:
        file: Where it lies.
        names: What units may call the receiver.
        expires_at: Aware UTC time after which units refuse it.
    """

    file: Path
    names: tuple[str, ...]
    expires_at: datetime


def load_server_chain(path: Path) -> list[x509.Certificate]:
    """Read the server's certificate and the CAs that are sent with it.

    Raises:
        KeyFileError: It cannot be read, holds no PEM certificate, or its first one is none for a server.
    """
    chain = load_chain(path)
    fault = _fault(chain[0])
    if fault is not None:
        cure = f"plateseal receiver renew {path.parent} --host NAME"
        raise KeyFileError(f"{path}: {fault}; let its CA issue it anew, if that is the receiver's own: {cure}")
    return chain


def names_in(certificate: x509.Certificate) -> tuple[str, ...]:
    """Return the names and addresses that a certificate holds for."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = (str(address) for address in names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)


def renew_server(
    directory: Path, *, hosts: list[str] | None = None, ca_key: Path | None = None, now: datetime | None = None
) -> RenewedServer:
    """Issue the receiver's certificate anew, for the same key, by the bench CA; a running receiver takes it.

    Args:
        directory: The receiver's.
        hosts: Names and addresses that units use; those of the certificate before if left out.
        ca_key: The CA's private key, where it is kept elsewhere.
        now: Aware time of issue; the clock's if left out.

    Raises:
        UsageError: A host that is neither a name nor an address, or another CA issued the certificate before.
        KeyFileError: A key or certificate cannot be read, or the disk refused. The certificate before is still there.
    """
    layout = ReceiverLayout(directory)
    key = keyfiles.load_server_private(layout.server_key)
    before = load_chain(layout.server_certificate)[0]
    issuer = load_issuer(layout, ca_key)
    if not is_issued_by(before, issuer.certificate):
        raise UsageError(
            f"{layout.server_certificate}: was issued by another CA ({before.issuer.rfc4514_string()}) than "
            f"{layout.ca.name}; let that one renew it, and put it here: a running receiver takes it"
        )
    if not hosts and not names_in(before):
        raise UsageError(f"--host: needed, as {layout.server_certificate} has no subjectAltName with the names so far")
    names = general_names(hosts) if hosts else _names_of(before)
    certificate = issue_server(issuer, key.public_key(), names, now or datetime.now(UTC))
    keyfiles.replace_file(layout.server_certificate, certificate.public_bytes(Encoding.PEM), keyfiles.PUBLIC_MODE)
    return RenewedServer(layout.server_certificate, names_in(certificate), certificate.not_valid_after_utc)


def _names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


def _fault(certificate: x509.Certificate) -> str | None:
    """Return why units would refuse a server's certificate, as far as it alone shows; None if it is good."""
    try:
        extensions = certificate.extensions
    except ValueError as error:
        return f"its extensions cannot be read: {error}"
    if not names_in(certificate):
        return (
            "has no subjectAltName with the names and addresses in the units' upload.url; units take no certificate "
            "that has only a common name (CN)"
        )
    found = {each.oid: each.value for each in extensions}
    usage = found.get(x509.ExtendedKeyUsage.oid)
    if isinstance(usage, x509.ExtendedKeyUsage) and not (
        {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usage)
    ):
        return "is not for a TLS server: its extendedKeyUsage has no serverAuth"
    signs = found.get(x509.KeyUsage.oid)
    if isinstance(signs, x509.KeyUsage) and not signs.digital_signature:
        return "is not for TLS 1.3: its keyUsage has no digitalSignature"
    if certificate.issuer != certificate.subject and x509.AuthorityKeyIdentifier.oid not in found:
        return "has no authorityKeyIdentifier; units check chains strictly and refuse it"
    return None

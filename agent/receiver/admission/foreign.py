"""Certificates that a CA of the fleet's own has issued: what a receiver must find in them.

Owns: the checks of a device's certificate that the bench CA did not make, and who issued whom. Leaves to others: the
receiver's own certificate (`server_certificate`), and TLS, which checks the chain with each connection.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agent.errors import KeyFileError
from agent.keys import keyfiles
from agent.keys.certificate import key_id_of
from agent.receiver.admission.enrolment import Enrolment


def is_issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether a certificate carries an issuer's name and its signature."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):  # another name, a key that signs no certificates, another key
        return False
    return True


def load_chain(path: Path) -> list[x509.Certificate]:
    """Load all certificates of a PEM file, in their order.

    Raises:
        KeyFileError: It cannot be read, or holds none.
    """
    try:
        return x509.load_pem_x509_certificates(keyfiles.read_public_file(path))
    except ValueError:
        raise KeyFileError(f"{path}: not a PEM certificate") from None


def load_client(path: Path, request: Enrolment, ca: Path) -> tuple[x509.Certificate, bytes]:
    """Load a device's certificate, with the CAs between it and `ca` behind it in the file.

    Returns:
        The certificate, and the whole file.

    Raises:
        KeyFileError: It cannot be read, or the receiver would not know the device by it.
    """
    chain = load_chain(path)
    fault = _fault(chain[0], request)
    if fault is not None:
        raise KeyFileError(f"{path}: {fault}")
    if not any(is_issued_by(each, authority) for each in chain for authority in load_chain(ca)):
        raise KeyFileError(f"{path}: no CA of {ca} has issued it, nor a certificate behind it in the file")
    return chain[0], keyfiles.read_public_file(path)


def _fault(certificate: x509.Certificate, request: Enrolment) -> str | None:
    if certificate.public_key() != request.tls_key:
        return "is for another key than the request"
    names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if names != [request.device] or key_id_of(certificate) != request.key_id:
        return f"its subject must have CN={request.device} and serialNumber={request.key_id.hex()}"
    found = {each.oid: each.value for each in certificate.extensions}
    usage = found.get(x509.ExtendedKeyUsage.oid)
    if not isinstance(usage, x509.ExtendedKeyUsage) or ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        return "is not for a TLS client: its extendedKeyUsage has no clientAuth"
    if x509.AuthorityKeyIdentifier.oid not in found:
        return "has no authorityKeyIdentifier; the receiver checks chains strictly and refuses it"
    return None

"""The four kinds of certificate of the bench CA.

The profile holds for OpenSSL with VERIFY_X509_STRICT and VERIFY_X509_PARTIAL_CHAIN: version 3, critical
basicConstraints and keyUsage, subject and authority key identifiers, an extended key usage per role.

Owns: that profile, and how long each kind is valid. Leaves to others: files, and who gets one (`pki`).

Source: RFC 5280 section 4.2; field notes on private CAs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_DAYS: Final = 3650
SERVER_DAYS: Final = 824
"""With the slack, 825: the longest that common TLS clients take from a private CA."""
CLIENT_DAYS: Final = 365
TlsPublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
CLOCK_SLACK: Final = timedelta(days=1)
"""Certificates begin this much before they are made: a unit's clock may be behind."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """The CA: its certificate and the private key of it."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)


def make_ca(moment: datetime) -> Issuer:
    """Make a CA of its own, valid for `CA_DAYS`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plateseal bench CA")])
    builder = _builder(name, name, key.public_key(), moment, CA_DAYS)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_key_usage(ca=True), critical=True)
    return Issuer(builder.sign(key, hashes.SHA256()), key)


def issue_server(
    issuer: Issuer, key: TlsPublicKey, names: list[x509.GeneralName], moment: datetime
) -> x509.Certificate:
    """Issue the receiver's own certificate, for the names that units reach it by."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "plateseal receiver")])
    builder = _leaf(issuer, subject, key, moment=moment, days=SERVER_DAYS, role=ExtendedKeyUsageOID.SERVER_AUTH)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer.key, hashes.SHA256())


def issue_client(
    issuer: Issuer, device: str, key_id: bytes, tls_key: ec.EllipticCurvePublicKey, moment: datetime
) -> x509.Certificate:
    """Issue a device's certificate: CN is its name, serialNumber the id of its signing key."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, device),
            x509.NameAttribute(NameOID.SERIAL_NUMBER, key_id.hex()),
        ]
    )
    builder = _leaf(issuer, subject, tls_key, moment=moment, days=CLIENT_DAYS, role=ExtendedKeyUsageOID.CLIENT_AUTH)
    return builder.sign(issuer.key, hashes.SHA256())


def issue_person(issuer: Issuer, name: str, key: ec.EllipticCurvePublicKey, moment: datetime) -> x509.Certificate:
    """Issue an operator's certificate: CN is the person's name."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "plateseal operator"),
        ]
    )
    builder = _leaf(issuer, subject, key, moment=moment, days=CLIENT_DAYS, role=ExtendedKeyUsageOID.CLIENT_AUTH)
    return builder.sign(issuer.key, hashes.SHA256())


def _leaf(
    issuer: Issuer,
    subject: x509.Name,
    key: TlsPublicKey,
    *,
    moment: datetime,
    days: int,
    role: x509.ObjectIdentifier,
) -> x509.CertificateBuilder:
    builder = _builder(subject, issuer.certificate.subject, key, moment, days)
    authority = issuer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(ca=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([role]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False)
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: TlsPublicKey, moment: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - CLOCK_SLACK)
        .not_valid_after(moment + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )

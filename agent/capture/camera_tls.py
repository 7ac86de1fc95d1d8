"""Whether the camera behind an `rtsps://` URL is the one that it should be.

Owns: what FFmpeg is told to check, and the words where it refuses, for FFmpeg itself says nothing. FFmpeg checks each
connection before it asks for anything, so that no password goes to another one. It knows certificates of authorities,
and no pinned keys; so the certificate is fetched first, its key is compared, and FFmpeg is given that certificate as
the only authority. It accepts then what shows this certificate, or one that its key has signed.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from agent.config.models import RTSPS_PREFIX, SourceConfig
from agent.errors import SourceError, SourceLostError

RTSPS_PORT: Final = 322
"""Where a camera is whose URL names no port: FFmpeg's, and RFC 7826, section 4.2."""
CONNECT_TIMEOUT_S: Final = 10.0
PROTECTED: Final = {"protocol_whitelist": "rtsps,tcp,tls"}
"""No video beside the connection that was checked: that needs `rtp` and `udp`."""
NAMES: Final = (x509.DNSName, x509.IPAddress)


def require_trust(config: SourceConfig, *, name: str) -> None:
    """Check that a camera with TLS has something to be known by, before it is connected for the first time.

    Raises:
        SourceError: The configuration has neither an authority nor a key, or the authority's file cannot be used.
    """
    if not _is_checked(config):
        return
    if config.ca is None and config.key_sha256 is None:
        raise SourceError(
            f"{name}: nothing says whose certificate the camera must have; set source.ca or source.key_sha256, or "
            'source.tls = "unchecked" (docs/CAMERAS.md)'
        )
    _context(config, name=name)


@contextmanager
def tls_options(url: str, config: SourceConfig, *, name: str, now: datetime) -> Iterator[dict[str, str]]:
    """Look at the camera's certificate; give FFmpeg's options for a connection, which hold inside the context.

    Args:
        url: Where the camera is.
        config: What it must be known by.
        name: What it is called in messages.
        now: The aware time of now.

    Raises:
        SourceLostError: It is another one's, or cannot be checked.
        OSError: The camera cannot be reached.
    """
    if not _is_checked(config):
        yield {**PROTECTED, "tls_verify": "0"} if config.uri.lower().startswith(RTSPS_PREFIX) else {}
        return
    certificate = _presented(url, config, name=name)
    if config.key_sha256 is None:
        yield {**PROTECTED, "tls_verify": "1", "ca_file": str(config.ca)}
        return
    _check_key(certificate, config.key_sha256, name=name)
    if not certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc:
        raise SourceLostError(
            f"{name}: the camera's certificate holds from {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}, and FFmpeg takes no other; make another one in the camera"
        )
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(certificate.public_bytes(Encoding.PEM))
        file.flush()
        known_by = {"ca_file": file.name, "verifyhost": _name_in(certificate, name=name)}
        yield {**PROTECTED, "tls_verify": "1", **known_by}


def _is_checked(config: SourceConfig) -> bool:
    return config.uri.lower().startswith(RTSPS_PREFIX) and config.tls != "unchecked"


def _context(config: SourceConfig, *, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if config.key_sha256 is not None:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    try:
        context.load_verify_locations(config.ca)
    except OSError as error:  # ssl.SSLError is one
        raise SourceError(
            f"{name}: source.ca, {config.ca}: not a file of certificates (PEM) that can be read"
        ) from error
    return context


def _presented(url: str, config: SourceConfig, *, name: str) -> x509.Certificate:
    parts, context = urlsplit(url), _context(config, name=name)
    address = parts.hostname or "", parts.port or RTSPS_PORT
    try:
        with (
            socket.create_connection(address, CONNECT_TIMEOUT_S) as plain,
            context.wrap_socket(plain, server_hostname=address[0]) as connection,
        ):
            shown = connection.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        raise SourceLostError(f"{name}: the camera's certificate is refused: {error.verify_message}") from None
    except ssl.SSLError:
        raise SourceLostError(f"{name}: what answers speaks no TLS that can be understood") from None
    try:
        return x509.load_der_x509_certificate(shown or b"")
    except ValueError:
        raise SourceLostError(f"{name}: the camera's certificate cannot be understood") from None


def _check_key(certificate: x509.Certificate, wanted: str, *, name: str) -> None:
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if (found := sha256(key).hexdigest()) != wanted:
        raise SourceLostError(
            f"{name}: the camera's key is another one than source.key_sha256: {found}; somebody may stand between, or "
            "the camera was reset"
        )


def _name_in(certificate: x509.Certificate, *, name: str) -> str:
    """Return a name that the certificate is made out to: who it is, its key says."""
    try:
        alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        alternatives = x509.SubjectAlternativeName([])
    found = [str(entry.value) for entry in alternatives if isinstance(entry, NAMES)]
    found += [str(entry.value) for entry in certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)]
    if not found:
        raise SourceLostError(f"{name}: the camera's certificate names nobody, so that FFmpeg cannot check it")
    return found[0].replace("*", "any")

"""The renewal of a unit's TLS certificate over the connection that it has: which certificate, when, and the request.

```
upload.certificate       what the owner has put there
STATE_DIR/renewed.pem    the certificate that came over the connection, for the same key
STATE_DIR/renewal.cose   the request for the next one, which capture signs and upload carries
```

Owns: these names, which certificate is the newest, and the request. Leaves to others: carrying it and proving the
answer (`agent.unit.upload.renewal`), and who gets one (`agent.receiver.admission.renewals`).

The process that has the signing key has no network, and the one that has the network cannot sign: capture signs a
request for the very certificate that is in use, once two thirds of its time are over. It signs nothing that upload asks
for, so upload in other hands gets no certificate for a key of its own.
"""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.errors import FormatError, KeyFileError
from agent.keys import keyfiles
from agent.keys.certificate import key_id_of, load_certificate
from agent.ports import Times
from agent.wire import cose
from agent.wire.renewal import MAX_RENEWAL_BYTES, Renewal, encode_renewal, parse_renewal

RENEWED_NAME: Final = "renewed.pem"
REQUEST_NAME: Final = "renewal.cose"
DUE_SHARE: Final = 3
"""With a third of its time left a certificate is to be renewed: four months of a year, for a person to answer."""
LOOK_EVERY_S: Final = 60.0

_log = logging.getLogger(__name__)


def newest_certificate(configured: Path, state_dir: Path) -> Path:
    """Return the file of the certificate that was issued last; the configured one where none can be read."""
    return max((configured, state_dir / RENEWED_NAME), key=issued_at)


def issued_at(path: Path) -> float:
    """Return when a certificate begins, seconds since 1970; less than any where it cannot be read."""
    try:
        return load_certificate(path).not_valid_before_utc.timestamp()
    except KeyFileError:
        return float("-inf")


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Whether a certificate should be renewed at an aware time."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return ends - now < (ends - begins) / DUE_SHARE


def load_request(state_dir: Path) -> Renewal | None:
    """Return the request that capture has signed; None where there is none that can be used."""
    try:
        return parse_renewal(keyfiles.read_public_file(state_dir / REQUEST_NAME, max_bytes=MAX_RENEWAL_BYTES))
    except (KeyFileError, FormatError):
        return None


class RenewalRequests:
    """Writes the request when it is due, on behalf of capture. Not safe for threads."""

    def __init__(self, configured: Path, state_dir: Path, clock: Times) -> None:
        """Look at the certificates in `configured` and `state_dir` with the time of `clock`."""
        self._configured = configured
        self._state_dir = state_dir
        self._clock = clock
        self._look_at_s = clock.monotonic_s()
        self._trouble: str | None = None

    def look(self, key: Ed25519PrivateKey) -> None:
        """Write a request if one is due and not there; asks the disk once a minute. A disk that refuses is logged."""
        now_s = self._clock.monotonic_s()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        try:
            self._request(key)
        except KeyFileError as error:
            if str(error) != self._trouble:
                _log.warning("no new TLS certificate can be asked for: %s", error)
            self._trouble = str(error)
        else:
            self._trouble = None

    def _request(self, key: Ed25519PrivateKey) -> None:
        path = newest_certificate(self._configured, self._state_dir)
        certificate = load_certificate(path)
        key_id = cose.ed25519_kid(key.public_key())
        names = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        # Of another key: a rotation is under way, and brings a certificate of its own.
        if not is_due(certificate, self._clock.now()) or key_id_of(certificate) != key_id or len(names) != 1:
            return
        der = certificate.public_bytes(Encoding.DER)
        before = load_request(self._state_dir)
        if before is not None and (before.key_id, before.certificate_der) == (key_id, der):
            return
        data = encode_renewal(device=names[0], certificate_der=der, key=key)
        keyfiles.replace_file(self._state_dir / REQUEST_NAME, data, keyfiles.PUBLIC_MODE)
        _log.info("%s ends on %s; upload asks for a new one", path, f"{certificate.not_valid_after_utc:%Y-%m-%d}")

"""Why a request did not get through, in words that name the cause.

Owns: what TLS and HTTP say, in a person's words. In TLS 1.3 a client learns only after the handshake that its
certificate is refused, and by then it has begun to send: what it sees is a connection that ends. So the question is
asked again, over a connection on which nothing is sent (`why_refused`).

Source: RFC 8446, 6.2 (alerts) and 4.4.2.4; the reasons are those of OpenSSL, ssl/ssl_err.c.
"""

from __future__ import annotations

import re
import socket
import ssl
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

ALERT_WITHIN_S: Final = 3.0
"""A receiver that refuses a certificate says so at once; one that takes it waits for a request."""

WITHOUT_A_WORD: Final = (
    "the connection ends without a word: the line is too slow for a handshake, something on the way ends it, or a "
    "receiver of an earlier version refuses this unit's certificate"
)
"""Said where `why_refused` returns an empty line; the state of the certificate itself follows it."""

_OWN: Final = {
    "TLSV1_ALERT_UNKNOWN_CA": "is by a CA that the receiver does not trust, or comes without its intermediate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "has expired, by the receiver's clock",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "was revoked",
    "SSLV3_ALERT_BAD_CERTIFICATE": "is not valid yet, by the receiver's clock, or is damaged",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "is not one for a client",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "is not acceptable",
    "TLSV1_ALERT_DECRYPT_ERROR": "does not fit the private key",
    "TLSV1_ALERT_ACCESS_DENIED": "has no access",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "was not sent",
}
"""What an alert says of the client's own certificate, by OpenSSL's reason."""
_NAMES: Final = "the name of upload.url must stand in the receiver's certificate, in its subjectAltName"
_OTHER_CA: Final = (
    "the receiver's certificate is by another CA than the one pinned here, or comes without its intermediate"
)
_RECEIVERS: Final = (
    ("not yet valid", "the receiver's certificate is not valid yet"),
    ("has expired", "the receiver's certificate has expired"),
    ("Hostname mismatch", f"the receiver's certificate is for another name; {_NAMES}"),
    ("IP address mismatch", f"the receiver's certificate is for another address; {_NAMES}"),
    ("unable to get local issuer", _OTHER_CA),
    ("unable to get issuer", _OTHER_CA),
    ("self-signed certificate", _OTHER_CA),
    ("self signed certificate", _OTHER_CA),
)
"""What verification says of the receiver's certificate, by a part of OpenSSL's words."""


def words_for(error: Exception, now: datetime) -> str:
    """Return a failure's cause in a line.

    Args:
        error: As the HTTP library raised it.
        now: The aware time of this unit, which is told where a certificate's times are in question.
    """
    text = str(error)
    own = _alert_in(text)
    if own is not None:
        return own
    if "WRONG_VERSION_NUMBER" in text:
        return f"{type(error).__name__}: {text}; what answers there speaks no TLS, so it is another program"
    for part, words in _RECEIVERS:
        if part in text and "certificate verify failed" in text:
            is_time = part in ("not yet valid", "has expired")
            clock = f", by this unit's clock, which shows {now:%Y-%m-%d %H:%M} UTC" if is_time else ""
            return f"{type(error).__name__}: {text}; {words}{clock}"
    return f"{type(error).__name__}: {text}"


def why_refused(url: str, context: ssl.SSLContext, *, timeout_s: float) -> str | None:
    """Connect once more, send nothing, and return what the receiver says against this unit's certificate.

    Args:
        url: `https://host:port`, with or without a path.
        context: As the request used it.
        timeout_s: For the connection.

    Returns:
        A line; an empty one where the receiver ends the connection without a word, as asyncio's servers do; None where
        it waits for a request, or cannot be reached now.
    """
    place = urlsplit(url)
    address = place.hostname or "", place.port or 443
    try:
        with (
            socket.create_connection(address, timeout=timeout_s) as plain,
            context.wrap_socket(plain, server_hostname=address[0]) as connection,
        ):
            connection.settimeout(ALERT_WITHIN_S)
            return "" if connection.recv(1) == b"" else None
    except ConnectionResetError:
        return ""
    except OSError as error:  # also of TLS
        return _alert_in(str(error))


def _alert_in(text: str) -> str | None:
    reason = re.search(r"\b(?:SSLV3|TLSV1|TLSV13)_ALERT_[A-Z_]+", text)
    said = _OWN.get(reason[0]) if reason else None
    return f"the receiver refuses this unit's certificate: it {said}" if said else None

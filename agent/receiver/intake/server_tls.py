"""The receiver's TLS: which certificate it shows, whom it lets in, and new files while it runs.

Owns: the TLS contexts, and taking up `server.pem`, `server.key` and `ca.pem` when they change on the disk, by whatever
hand (`plateseal receiver renew`, an ACME client, a person). Leaves to others: what a server's certificate must contain
(`agent.receiver.admission.server_certificate`), and connections.

asyncio keeps the context that it was started with. So that one hands each new connection on to the newest context, when
TLS asks it which certificate to show (`sni_callback`, which is called with or without a name). A connection that is
there stays as it is. Files that cannot be used, or a pair that does not fit, change nothing: the context before goes
on.
"""

from __future__ import annotations

import logging
import ssl
import time
from datetime import UTC, datetime
from typing import Final

from agent.disk.watch import FileWatch
from agent.errors import KeyFileError
from agent.health.limits import SERVER_CERTIFICATE_SHORT
from agent.keys import keyfiles
from agent.keys.certificate import CertificateWatch
from agent.ports import Times
from agent.receiver.admission.foreign import is_issued_by, load_chain
from agent.receiver.admission.server_certificate import load_server_chain, names_in
from agent.receiver.intake.door import TlsContext
from agent.receiver.layout import ReceiverLayout

HOW_TO_RENEW: Final = "renew it: plateseal receiver renew {directory}"

_log = logging.getLogger(__name__)


class _MachineTimes:
    """The machine's own clocks."""

    def now(self) -> datetime:
        """Return the aware UTC time."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Return seconds on a clock that never goes back."""
        return time.monotonic()


class ServerTls:
    """The TLS files of one receiver. Not safe for threads: it belongs to the event loop."""

    def __init__(self, layout: ReceiverLayout, clock: Times | None = None) -> None:
        """Load the files.

        Raises:
            KeyFileError: As `tls_context`.
        """
        clock = clock or _MachineTimes()
        self._layout = layout
        paths = (layout.server_certificate, layout.server_key, layout.ca)
        self._watch = FileWatch(*paths, clock=clock)  # before they are read
        self._end = CertificateWatch(
            layout.server_certificate,
            clock,
            short=SERVER_CERTIFICATE_SHORT,
            renewal=HOW_TO_RENEW.format(directory=layout.directory),
            ended=f"units refuse this receiver; {HOW_TO_RENEW.format(directory=layout.directory)}",
        )
        self._newest = self.context = tls_context(layout)
        self.context.sni_callback = self._choose
        self._tell_chain()

    def look(self) -> None:
        """Take up files that have changed, and tell when the certificate ends soon. Asks the disk once a second."""
        if self._watch.take_change():
            self._take_up()
        self._end.left_s()

    def _take_up(self) -> None:
        try:
            self._newest = tls_context(self._layout)
        except KeyFileError as error:
            if self._watch.refused(str(error)):
                _log.error("the changed TLS files are not used, those before go on: %s", error)
            return
        self._watch.accepted()
        shown = load_server_chain(self._layout.server_certificate)[0]
        names, end = ", ".join(names_in(shown)), f"{shown.not_valid_after_utc:%Y-%m-%d}"
        _log.info("TLS files have changed and are used for new connections: for %s, until %s", names, end)
        self._tell_chain()

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """Let a new connection have the newest files; TLS calls this for each, whatever name was asked for."""
        connection.context = self._newest

    def _tell_chain(self) -> None:
        """Warn of a chain that does not lead to a CA that is known here."""
        path = self._layout.server_certificate
        chain = load_server_chain(path)
        if not any(is_issued_by(chain[0], each) for each in (*chain, *load_chain(self._layout.ca))):
            _log.warning(
                "%s: it was issued neither by %s nor by a certificate behind it in the file; a unit that pins a CA "
                "further up refuses it until the CAs in between are in the file",
                path,
                self._layout.ca.name,
            )


def tls_context(layout: ReceiverLayout) -> TlsContext:
    """Build the server's TLS context: TLS 1.3 only, a client certificate of the receiver's own CA required.

    Raises:
        KeyFileError: A key or certificate is missing, unreadable, unsafe, of another kind, or does not fit; or the
            certificate is one that units refuse.
    """
    keyfiles.load_server_private(layout.server_key)  # names what is wrong better than OpenSSL does
    authority = keyfiles.read_public_file(layout.ca)
    load_server_chain(layout.server_certificate)
    context = TlsContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.num_tickets = 0  # no resumption: every connection shows its certificate, and no ticket key can leak
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise KeyFileError(f"{layout.ca}: not a PEM certificate") from None
    try:
        context.load_cert_chain(layout.server_certificate, layout.server_key)
    except ssl.SSLError:
        raise KeyFileError(
            f"{layout.server_certificate}: not a PEM certificate, or not that of {layout.server_key.name}; "
            "put back the pair that fits, or issue a certificate for this key: "
            f"plateseal receiver renew {layout.directory}"
        ) from None
    return context

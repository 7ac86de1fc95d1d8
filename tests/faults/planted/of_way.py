"""Faults on the way from a unit to its receiver: certificates, receipt key, names, and who answers in its place."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.bench.demo import CAMERA
from agent.keys.identity import create_identity
from agent.keys.keyfiles import private_pem, public_pem, write_public
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.admission.server_certificate import renew_server
from tests.faults.planted.acts import (
    DOCTOR,
    Plant,
    bring,
    command,
    cut_off,
    done,
    own_receiver,
    put,
    remove,
    setting,
    write,
)
from tests.faults.planted.fault import Fault, by_hand, printed
from tests.faults.planted.of_keys import NEW_IDENTITY
from tests.faults.planted.site import Site

NOW: Final = datetime.now(UTC)
LONG_AGO: Final = NOW - timedelta(days=1200)
SOON: Final = NOW + timedelta(days=30)
ENROLLED: Final = printed(
    "plateseal receiver enrol", {"RECEIVER": "{running}", "enrolment.json": "{identity}/enrolment.json"}
)
OWN_CA: Final = bring("bring ca.pem", "{running}/ca.pem", "{device}/ca.pem")
OWN_RECEIPT_KEY: Final = bring("bring receipt.pub", "{running}/receipt.pub", "{device}/receipt.pub")


def _other_receiver(site: Site) -> None:
    init_receiver(site.root / "other")


def _certificate_of(moment: datetime) -> Plant:
    """A certificate that this receiver issued at another time."""
    return lambda site: (site.identity / "tls.pem").write_bytes(
        enrol(site.running, site.identity / "enrolment.json", now=moment).pem
    )


def _certificate_of_another_receiver(site: Site) -> None:
    other = init_receiver(site.root / "other").directory
    (site.identity / "tls.pem").write_bytes(enrol(other, site.identity / "enrolment.json").pem)


def _identity_of_another_unit(site: Site) -> None:
    """All the keys of another unit that is enrolled, as a copied memory card has them."""
    remove("{identity}")(site)
    create_identity(site.identity, name="cam-2")
    pem = enrol(site.running, site.identity / "enrolment.json").pem
    write_public(site.identity / "tls.pem", pem)


def _forgotten(site: Site) -> None:
    for path in (site.running / "devices").iterdir():
        path.unlink()


def _port(site: Site, port: int, host: str = "localhost") -> None:
    site.change_setting("url", f'"https://{host}:{port}"')


def _own_server(*, hosts: list[str] | None = None, now: datetime | None = None) -> Plant:
    """Run this site's own receiver, with another certificate."""

    def plant(site: Site) -> None:
        renew_server(site.receiver, hosts=hosts, now=now)
        own_receiver(site)

    return plant


def _closed_port() -> int:
    """Return a port at which nothing listens; it is kept until the program ends, so that nobody else takes it."""
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    _KEPT.append(taken)
    return int(taken.getsockname()[1])


_KEPT: Final[list[socket.socket]] = []


class _Portal(http.server.BaseHTTPRequestHandler):
    """Answers everything with a page, as captive portals and proxies do."""

    def do_POST(self) -> None:
        """Answer."""
        page = b"<html><title>Please log in</title></html>"
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _page_server(site: Site, *, tls: bool) -> None:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Portal)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(site.receiver / "server.pem", site.receiver / "server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.stack.callback(server.server_close)
    site.stack.callback(server.shutdown)
    site.stack.callback(setting("url", site.config.read_text().split("url = ")[1].split("\n")[0]), site)
    _port(site, server.server_address[1])


def _silent(site: Site) -> None:
    """Somebody takes the connection and never says a word."""
    listener = site.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    before = site.config.read_text()
    site.stack.callback(lambda: site.config.write_text(before))
    _port(site, listener.getsockname()[1])
    site.change_config("poll_s = 0.2", "poll_s = 0.2\nconnect_timeout_s = 0.3")


def _url_again(site: Site) -> None:
    url = (site.running.parent / "device" / "unit.toml").read_text().split("url = ")[1].split("\n")[0]
    site.change_setting("url", url)


FAULTS: Final = (
    Fault(
        "the receipt key is another receiver's",
        DOCTOR,
        write("{device}/receipt.pub", public_pem(Ed25519PrivateKey.generate().public_key())),
        ("answer: signed by receipt key ",),
        (OWN_RECEIPT_KEY,),
        check="receiver",
    ),
    Fault(
        "the receipt key is not there",
        DOCTOR,
        remove("{device}/receipt.pub"),
        ("receipt.pub: is missing; it is the receiver's public receipt key",),
        (OWN_RECEIPT_KEY,),
        check="receipt key",
    ),
    Fault(
        "a certificate in the receipt key's place",
        DOCTOR,
        put("{device}/ca.pem", "{device}/receipt.pub"),
        ("receipt.pub: holds 0 PEM public keys",),
        (OWN_RECEIPT_KEY,),
        check="receipt key",
    ),
    Fault(
        "the TLS key is not the certificate's",
        DOCTOR,
        write("{identity}/tls.key", private_pem(ec.generate_private_key(ec.SECP256R1()))),
        ("tls.pem and ", "tls.key do not belong together: it is another key's"),
        (
            printed("plateseal device rotate", {"FILE": "{config}"}),
            printed(
                "plateseal receiver enrol",
                {"RECEIVER": "{running}", "rotation.cose": "{identity}/rotation.cose --out {root}/new.pem"},
            ),
            printed(
                "plateseal device rotate --config FILE --certificate", {"FILE": "{config}", "tls.pem": "{root}/new.pem"}
            ),
        ),
        check="TLS files",
    ),
    Fault(
        "the signing key is another one",
        DOCTOR,
        write("{identity}/signing.key", private_pem(Ed25519PrivateKey.generate())),
        ("tls.pem is for signing key ", "this unit's is "),
        NEW_IDENTITY,
        check="identity",
    ),
    Fault(
        "keys and certificate are another unit's",
        DOCTOR,
        _identity_of_another_unit,
        ("keys and certificate are of unit cam-2, and the configuration is of demo",),
        NEW_IDENTITY,
        check="identity",
        is_warning=True,
    ),
    Fault(
        "the certificate is not there",
        DOCTOR,
        remove("{identity}/tls.pem"),
        ("tls.pem: is missing; it is this unit's TLS certificate",),
        (ENROLLED,),
        check="certificate",
    ),
    Fault(
        "the certificate is half a file",
        DOCTOR,
        cut_off("{identity}/tls.pem", 200),
        ("tls.pem: not a PEM certificate",),
        (ENROLLED,),
        check="certificate",
    ),
    Fault(
        "the certificate has ended",
        DOCTOR,
        _certificate_of(LONG_AGO),
        (
            "ended 835 days ago",
            "tls.pem",
        ),
        (ENROLLED,),
        check="certificate",
    ),
    Fault(
        "the certificate is not valid yet",
        DOCTOR,
        _certificate_of(SOON),
        ("tls.pem is not valid before ", "this unit's clock shows "),
        (by_hand("timedatectl", remove("{identity}/tls.pem")), ENROLLED),
        check="certificate",
    ),
    Fault(
        "the certificate is another receiver's",
        DOCTOR,
        _certificate_of_another_receiver,
        ("the receiver refuses this unit's certificate",),
        (ENROLLED,),
        check="receiver",
    ),
    Fault(
        "the pinned CA is another receiver's",
        DOCTOR,
        done(_other_receiver, put("{root}/other/ca.pem", "{device}/ca.pem")),
        ("the receiver's certificate is by another CA than the one pinned here",),
        (OWN_CA,),
        check="receiver",
    ),
    Fault(
        "the pinned CA is not there",
        DOCTOR,
        remove("{device}/ca.pem"),
        ("ca.pem: is missing; it is the certificate of the CA",),
        (OWN_CA,),
        check="CA",
    ),
    Fault(
        "the pinned CA is half a file",
        DOCTOR,
        cut_off("{device}/ca.pem", 100),
        ("ca.pem: not a PEM certificate",),
        (OWN_CA,),
        check="CA",
    ),
    Fault(
        "the receiver does not know the unit",
        DOCTOR,
        _forgotten,
        ("answered 403: the client certificate is not that of an enrolled device",),
        (ENROLLED,),
        check="receiver",
    ),
    Fault(
        "the unit was revoked",
        DOCTOR,
        command(f"receiver revoke {{running}} {CAMERA} --reason stolen"),
        ("answered 403: ",),
        (
            printed(
                "plateseal receiver enrol",
                {"RECEIVER": "{running}", "enrolment.json": "{identity}/enrolment.json"},
                code=2,
            ),
            by_hand("was revoked", lambda _: None),
            NEW_IDENTITY[0],
            NEW_IDENTITY[1],
            printed(
                "plateseal receiver enrol RECEIVER enrolment.json --another-key",
                {"RECEIVER": "{running}", "enrolment.json": "{identity}/enrolment.json"},
            ),
        ),
        check="receiver",
    ),
    Fault(
        "nothing listens at the receiver's port",
        DOCTOR,
        lambda site: _port(site, _closed_port()),
        ("Connection refused",),
        (by_hand("correct upload.url", _url_again),),
        check="receiver",
    ),
    Fault(
        "the receiver's name is not known",
        DOCTOR,
        lambda site: _port(site, 8443, "receiver.invalid"),
        ("receiver.invalid",),
        (by_hand("correct upload.url", _url_again),),
        check="receiver",
    ),
    Fault(
        "the receiver's certificate is for another name",
        DOCTOR,
        _own_server(hosts=["receiver.example"]),
        ("the receiver's certificate is for another name", "subjectAltName"),
        (printed("plateseal receiver renew", {"RECEIVER": "{receiver}"}),),
        check="receiver",
        takes_a_moment=True,
    ),
    Fault(
        "the receiver's certificate has ended",
        DOCTOR,
        _own_server(now=LONG_AGO),
        ("the receiver's certificate has expired, by this unit's clock, which shows ",),
        (printed("plateseal receiver renew", {"RECEIVER": "{receiver}"}),),
        check="receiver",
        takes_a_moment=True,
        needs=("campaigns",),
    ),
    Fault(
        "the receiver's certificate is not valid yet",
        DOCTOR,
        _own_server(now=SOON),
        ("the receiver's certificate is not valid yet, by this unit's clock, which shows ",),
        (printed("plateseal receiver renew", {"RECEIVER": "{receiver}"}),),
        check="receiver",
        takes_a_moment=True,
        needs=("campaigns",),
    ),
    Fault(
        "a portal's page comes in the receiver's place",
        DOCTOR,
        lambda site: _page_server(site, tls=True),
        ("text/html, so something answers in its place",),
        (by_hand("portal", lambda site: site.stack.close()),),
        check="receiver",
    ),
    Fault(
        "a server without TLS answers at the port",
        DOCTOR,
        lambda site: _page_server(site, tls=False),
        ("speaks no TLS",),
        (by_hand("correct upload.url", lambda site: site.stack.close()),),
        check="receiver",
    ),
    Fault(
        "the receiver's port takes connections and is silent",
        DOCTOR,
        _silent,
        ("timed out",),
        (by_hand("openssl s_client", lambda site: site.stack.close()),),
        check="receiver",
    ),
)

"""Faults of a receiver's folder, as `receiver serve` and `enrol` find them."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from agent.bench.demo import CAMERA
from agent.disk.lock import FolderLock
from agent.keys import keyfiles
from agent.keys.identity import create_identity
from agent.keys.keyfiles import load_ed25519_private, private_pem, public_pem
from tests.faults.planted.acts import Plant, bring, command, done, mode, put, remove, write
from tests.faults.planted.fault import Act, Fault, by_hand, printed
from tests.faults.planted.site import Site

SERVE: Final = "receiver serve {receiver} --port 0"
ADDRESS: Final = f"127.{os.getpid() >> 8 & 255}.{os.getpid() & 255}.7"
"""Of this process alone: nobody else listens at it."""
SERVE_AT: Final = f"receiver serve {{receiver}} --host {ADDRESS} --port 8443"
ENROL: Final = "receiver enrol {receiver} {identity}/enrolment.json --out {root}/again.pem"
P256: Final = ec.generate_private_key(ec.SECP256R1())


def restored(says: str, *names: str) -> Act:
    """Restore files from a backup that was made before."""
    return by_hand(says, done(*(put(f"{{running}}/{name}", f"{{receiver}}/{name}") for name in names)))


def _common_name_only(site: Site) -> None:
    """A server's certificate as some CAs still make it: a common name, and no subjectAltName."""
    ca_key = keyfiles.load_p256_private(site.receiver / "ca.key")
    ca = x509.load_pem_x509_certificate((site.receiver / "ca.pem").read_bytes())
    key, now = keyfiles.load_server_private(site.receiver / "server.key"), datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")]))
    made = (
        builder.issuer_name(ca.subject).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now).not_valid_after(now + timedelta(days=90)).sign(ca_key, hashes.SHA256())
    )  # fmt: skip
    (site.receiver / "server.pem").write_bytes(made.public_bytes(Encoding.PEM))


def _change_cut_off(site: Site) -> None:
    """The change of the receipt key was killed after receipt.pub, before receipt.key."""
    command("receiver receipt-key {receiver}")(site)
    following = load_ed25519_private(site.receiver / "receipt.key.next").public_key()
    put("{receiver}/receipt.pub", "{receiver}/receipt-earlier.pub")(site)
    (site.receiver / "receipt.pub").write_bytes(public_pem(following))


def record(spoil: Callable[[bytes], bytes]) -> Plant:
    """Change the record of the unit."""

    def plant(site: Site) -> None:
        (path,) = (site.receiver / "devices").iterdir()
        path.write_bytes(spoil(path.read_bytes()))

    return plant


def _same_name(site: Site) -> None:
    """Another unit was given the name of one that is enrolled."""
    remove("{identity}")(site)
    create_identity(site.identity, name=CAMERA)


def _listens(site: Site) -> None:
    site.stack.enter_context(socket.create_server((ADDRESS, 8443)))


FAULTS: Final = (
    Fault(
        "receipt.pub is not receipt.key's",
        SERVE,
        write("{receiver}/receipt.pub", public_pem(Ed25519PrivateKey.generate().public_key())),
        ("receipt.key: is not the key of receipt.pub",),
        (restored("put back the one of the two that was replaced", "receipt.pub"),),
    ),
    Fault(
        "a change of the receipt key was cut off",
        SERVE,
        _change_cut_off,
        ("receipt.key: is not the key of receipt.pub", "a change was cut off"),
        (printed("plateseal receiver receipt-key"),),
    ),
    Fault(
        "the receipt key is open to others",
        SERVE,
        mode("{receiver}/receipt.key", 0o644),
        ("receipt.key: mode 0644 lets others at a private key",),
        (printed("chmod 600"),),
    ),
    Fault(
        "the server's key is open to its group",
        SERVE,
        mode("{receiver}/server.key", 0o640),
        ("server.key: mode 0640 lets others at a private key",),
        (printed("chmod 600"),),
    ),
    Fault(
        "the server's certificate is not its key's",
        SERVE,
        write("{receiver}/server.key", private_pem(P256)),
        ("server.pem: ", "not that of server.key"),
        (printed("plateseal receiver renew"),),
    ),
    Fault(
        "the server's certificate has a common name only",
        SERVE,
        _common_name_only,
        ("server.pem: has no subjectAltName",),
        (printed("plateseal receiver renew", {"NAME": "localhost"}),),
    ),
    Fault(
        "the server's certificate is not there",
        SERVE,
        remove("{receiver}/server.pem"),
        ("server.pem: is missing, a part of the receiver's folder",),
        (restored("put it back from a backup", "server.pem"),),
    ),
    Fault(
        "the receiver's receipt key is not there",
        SERVE,
        remove("{receiver}/receipt.key"),
        ("receipt.key: is missing, a part of the receiver's folder",),
        (restored("put it back from a backup", "receipt.key"),),
    ),
    Fault(
        "the folder is no receiver's",
        SERVE,
        done(remove("{receiver}"), lambda site: site.receiver.mkdir(mode=0o700)),
        ("receiver: holds no receiver",),
        (printed("plateseal receiver init"),),
    ),
    Fault(
        "the store is not there",
        SERVE,
        remove("{receiver}/envelopes.db"),
        ("envelopes.db: is missing, a part of the receiver's folder",),
        (restored("backup", "envelopes.db", "bodies"),),
    ),
    Fault(
        "the store is another kind of file",
        SERVE,
        write("{receiver}/envelopes.db", b"x" * 8192),
        ("envelopes.db: not a usable store: ",),
        (restored("backup", "envelopes.db", "bodies"),),
    ),
    Fault(
        "another program listens at the port",
        SERVE_AT,
        _listens,
        ("port 8443: cannot listen there: Address already in use",),
        (by_hand("end the program that listens there", lambda site: site.stack.close()),),
    ),
    Fault(
        "the folder of devices is not there",
        SERVE,
        remove("{receiver}/devices"),
        ("devices: is missing, a part of the receiver's folder",),
        (restored("put it back from a backup", "devices"),),
    ),
    Fault(
        "a unit's record is half a file",
        SERVE,
        record(lambda data: data[:-200]),
        ("devices: ", ".json: "),
        (restored("put it back from a backup", "devices"),),
    ),
    Fault(
        "a unit has the name of another one",
        ENROL,
        _same_name,
        ("device demo is enrolled with another key",),
        (printed("plateseal receiver revoke", {"TEXT": "replaced"}),),
    ),
    Fault(
        "what is enrolled is no enrolment",
        ENROL,
        put("{identity}/tls.csr", "{identity}/enrolment.json"),
        ("enrolment",),
        (
            restored_enrolment := bring(
                "bring the unit's enrolment.json",
                "{running}/../device/identity/enrolment.json",
                "{identity}/enrolment.json",
            ),
        ),
    ),
    Fault(
        "an enrolment was altered on its way",
        ENROL,
        lambda site: (site.identity / "enrolment.json").write_text(
            (site.identity / "enrolment.json").read_text().replace('"proof": "', '"proof": "AAAA')
        ),
        ("enrolment",),
        (restored_enrolment,),
    ),
    Fault(
        "the CA's key is not there",
        ENROL,
        remove("{receiver}/ca.key"),
        ("ca.key: is missing, a part of the receiver's folder",),
        (restored("put it back from a backup", "ca.key"),),
    ),
    Fault(
        "the CA's key is another one",
        ENROL,
        write("{receiver}/ca.key", private_pem(P256)),
        ("ca.pem: is not the certificate of ca.key",),
        (restored("put back the one of the two that was replaced", "ca.key"),),
    ),
    Fault(
        "the folder is a unit's",
        SERVE,
        put("{device}", "{receiver}"),
        ("receiver: is a unit's folder, not a receiver's folder",),
        (by_hand("not a receiver's folder", put("{running}", "{receiver}")),),
    ),
    Fault(
        "a second receiver works on the same folder",
        SERVE,
        lambda site: site.stack.enter_context(FolderLock(site.receiver)),
        ("receiver: a receiver runs with this folder already",),
        (by_hand("end that one first", lambda site: site.stack.close()),),
    ),
    Fault(
        "the making of a receiver was cut off",
        "receiver init {root}/new",
        done(lambda site: (site.root / "new").mkdir(mode=0o700), write("{root}/new/ca.key", private_pem(P256))),
        ("new: holds ca.key, part of a receiver",),
        (by_hand("remove them if its making was cut off, and run this again", remove("{root}/new")),),
    ),
    Fault(
        "a certificate with a common name only is renewed",
        "receiver renew {receiver}",
        _common_name_only,
        ("--host: needed, as ", "server.pem has no subjectAltName"),
        (by_hand("--host", command("receiver renew {receiver} --host localhost")),),
    ),
)

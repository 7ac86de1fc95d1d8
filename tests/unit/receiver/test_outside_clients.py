"""Units whose certificates a CA of the fleet's own has issued: real ones by openssl, and real handshakes."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.errors import KeyFileError
from agent.keys import keyfiles
from agent.keys.identity import Identity, create_identity
from agent.keys.renewal import RenewalRequests, load_request
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import enrol
from agent.receiver.admission.renewals import RenewalBook
from agent.receiver.intake.server_tls import ServerTls
from agent.upload.tls import client_context
from tests.fakes.clock import FakeClock
from tests.fakes.outside_ca import CLIENT, SERVER, OutsideCa, make_outside_ca
from tests.fakes.pki import Bench, make_bench
from tests.unit.receiver.test_server_tls import handshake, put

pytestmark = pytest.mark.needs("openssl")


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> OutsideCa:
    """Return a CA that openssl made."""
    return make_outside_ca(tmp_path_factory.mktemp("outside") / "ca")


@pytest.fixture
def bench(tmp_path: Path, outside: OutsideCa) -> Bench:
    """Return a receiver that has gone over to the outside CA altogether; the bench CA's key is gone."""
    made = make_bench(tmp_path)
    key, certificate = outside.server("server")
    put(made.receiver, key, certificate + outside.intermediate.read_bytes())
    keyfiles.replace_file(made.receiver.ca, outside.root.read_bytes(), keyfiles.PUBLIC_MODE)
    made.receiver.ca_key.unlink()
    return made


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    """Return a new unit's identity."""
    return create_identity(tmp_path / "unit", name="cam-9")


def subject(identity: Identity) -> str:
    """Return the subject that the receiver knows a unit by."""
    return f"/CN={identity.name}/serialNumber={identity.key_id.hex()}"


def certify(outside: OutsideCa, identity: Identity, *, chain: bool = True, days: int = 90) -> Path:
    """Let the outside CA certify a unit's request, and return the file."""
    leaf = outside.certify(identity.directory / "tls.csr", extensions=CLIENT, subject=subject(identity), days=days)
    path = identity.directory / "issued.pem"
    path.write_bytes(leaf + (outside.intermediate.read_bytes() if chain else b""))
    return path


def test_a_unit_with_an_outside_certificate_is_enrolled_and_connects(
    bench: Bench, outside: OutsideCa, identity: Identity
) -> None:
    """Without any key of a CA at the receiver; the CA in between comes with the unit."""
    out = identity.directory / "tls.pem"
    command = ["enrol", str(bench.receiver.directory), str(identity.enrolment), "--out", str(out)]
    done = CliRunner().invoke(app, [*command, "--certificate", str(certify(outside, identity))], catch_exceptions=False)
    assert done.exit_code == 0
    context = client_context(ca=outside.root, certificate=out, key=identity.directory / "tls.key")
    handshake(ServerTls(bench.receiver, FakeClock()).context, context)
    der = x509.load_pem_x509_certificate(out.read_bytes()).public_bytes(Encoding.DER)
    device = DeviceBook(bench.receiver.devices).by_certificate(der)
    assert device is not None
    assert device.name == "cam-9"


def test_a_waiting_unit_fetches_the_outside_certificate_itself(
    bench: Bench, outside: OutsideCa, identity: Identity, tmp_path: Path
) -> None:
    """`receiver enrol --certificate` answers its request; the CA in between comes with the answer."""
    first = enrol(bench.receiver.directory, identity.enrolment, certificate=certify(outside, identity, days=60))
    (tmp_path / "tls.pem").write_bytes(first.pem)
    clock = FakeClock(first.expires_at)
    RenewalRequests(tmp_path / "tls.pem", tmp_path, clock).look(
        keyfiles.load_ed25519_private(identity.directory / "signing.key")
    )
    request, book = load_request(tmp_path), RenewalBook(bench.receiver)
    device = DeviceBook(bench.receiver.devices).by_key_id(identity.key_id)
    assert request is not None
    assert device is not None
    assert book.ask(request.data, device) is None
    path = certify(outside, identity)
    command = ["enrol", str(bench.receiver.directory), str(identity.enrolment), "--certificate", str(path)]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert "fetches it itself" in done.output
    device = DeviceBook(bench.receiver.devices).by_key_id(identity.key_id)
    assert device is not None
    assert book.ask(request.data, device) == path.read_bytes()
    assert book.waiting() == []


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("another key", "another key than the request"),
        ("no serial number", "CN=cam-9 and serialNumber="),
        ("for a server", "no clientAuth"),
        ("no authority", "no authorityKeyIdentifier"),
        ("no chain", "no CA of .*ca.pem has issued it"),
    ],
)
def test_a_certificate_that_the_receiver_would_not_know_is_refused(
    bench: Bench, outside: OutsideCa, identity: Identity, fault: str, told: str
) -> None:
    """In one line, and nobody is enrolled."""
    asked, named, folder = identity, subject(identity), identity.directory
    extensions: tuple[str, ...] = CLIENT
    if fault == "another key":
        asked = create_identity(folder / "other", name="cam-9")
    if fault == "no serial number":
        named = "/CN=cam-9"
    if fault == "for a server":
        extensions = SERVER
    leaf = outside.certify(
        asked.directory / "tls.csr", extensions=extensions, subject=named, authority=fault != "no authority"
    )
    path = folder / "issued.pem"
    path.write_bytes(leaf + (b"" if fault == "no chain" else outside.intermediate.read_bytes()))
    with pytest.raises(KeyFileError, match=told) as caught:
        enrol(bench.receiver.directory, identity.enrolment, certificate=path)
    assert "\n" not in str(caught.value)
    assert DeviceBook(bench.receiver.devices).by_key_id(identity.key_id) is None

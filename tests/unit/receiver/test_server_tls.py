"""The receiver's TLS files: keys and certificates that it takes, real handshakes, and new ones on the disk."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.disk.watch import LOOK_EVERY_S, RETRY_AFTER_S
from agent.errors import KeyFileError, UsageError
from agent.health.assess import Level
from agent.keys import keyfiles
from agent.receiver.admission.pki import init_receiver
from agent.receiver.admission.server_certificate import names_in, renew_server
from agent.receiver.fleet.own import own_findings
from agent.receiver.fleet.page import render_fleet
from agent.receiver.intake.server import serve
from agent.receiver.intake.server_tls import ServerTls
from agent.receiver.layout import ReceiverLayout
from agent.upload.tls import client_context
from tests.fakes.clock import FakeClock
from tests.fakes.outside_ca import SERVER, OutsideCa, make_outside_ca
from tests.fakes.pki import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a receiver with one enrolled unit."""
    return make_bench(tmp_path)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> OutsideCa:
    """Return a CA that openssl made."""
    return make_outside_ca(tmp_path_factory.mktemp("outside") / "ca")


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, *, name: str = "localhost") -> x509.Certificate:
    """Shake hands in memory, as a unit does, and return the certificate that the server showed.

    Raises:
        ssl.SSLError: One of the two refuses.
    """
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    unit = client.wrap_bio(to_client, to_server, server_hostname=name)
    receiver = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [unit, receiver]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            break
    assert not waiting
    found = unit.getpeercert(binary_form=True)
    assert found is not None
    return x509.load_der_x509_certificate(found)


def unit_context(bench: Bench, ca: Path | None = None) -> ssl.SSLContext:
    """Return the context that a unit's upload makes."""
    device = bench.device
    return client_context(ca=ca or bench.receiver.ca, certificate=device.certificate, key=device.tls_key)


def put(receiver: ReceiverLayout, key: Path | None, certificate: bytes) -> None:
    """Replace the server's files as an ACME client does, one after the other."""
    if key is not None:
        keyfiles.replace_file(receiver.server_key, key.read_bytes(), keyfiles.PRIVATE_MODE)
    keyfiles.replace_file(receiver.server_certificate, certificate, keyfiles.PUBLIC_MODE)


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("kind", ["P-256", "P-384", "RSA-2048"])
def test_a_server_key_of_each_kind_by_an_outside_ca(bench: Bench, outside: OutsideCa, kind: str) -> None:
    """With the CA in between in the file, units that pin the outside root connect."""
    key, certificate = outside.server(f"server-{kind}", kind=kind)
    put(bench.receiver, key, certificate + outside.intermediate.read_bytes())
    tls = ServerTls(bench.receiver, FakeClock())
    shown = handshake(tls.context, unit_context(bench, outside.root))
    assert names_in(shown) == ("localhost", "127.0.0.1")


@pytest.mark.needs("openssl")
def test_without_the_ca_in_between_units_refuse_and_the_log_warns(
    bench: Bench, outside: OutsideCa, caplog: pytest.LogCaptureFixture
) -> None:
    """The one fault that a receiver cannot be sure of: a unit may pin the issuing CA itself."""
    key, certificate = outside.server("bare")
    put(bench.receiver, key, certificate)
    tls = ServerTls(bench.receiver, FakeClock())
    assert "CAs in between" in caplog.text
    with pytest.raises(ssl.SSLError, match="unable to get local issuer certificate"):
        handshake(tls.context, unit_context(bench, outside.root))
    handshake(tls.context, unit_context(bench, outside.intermediate))


NO_SAN = SERVER[1:]
WRONG_CERTIFICATES = {
    "common name only": (NO_SAN, True, "no subjectAltName", "not valid for 'localhost'"),
    "client only": ((*SERVER[:3], "extendedKeyUsage=clientAuth"), True, "has no serverAuth", "unsuitable certificate"),
    "no signature": (
        (SERVER[0], SERVER[1], "keyUsage=critical,keyEncipherment", SERVER[3]),
        True,
        "no digitalSignature",
        "",
    ),
    "no authority": (SERVER, False, "no authorityKeyIdentifier", "Missing Authority Key Identifier"),
}


@pytest.mark.needs("openssl")
@pytest.mark.parametrize("fault", WRONG_CERTIFICATES)
def test_a_certificate_that_no_unit_takes_is_refused_at_the_start(bench: Bench, outside: OutsideCa, fault: str) -> None:
    """In one line, before anything listens; and a unit would indeed refuse it."""
    extensions, authority, told, refusal = WRONG_CERTIFICATES[fault]
    key, certificate = outside.server(fault.replace(" ", "-"), extensions=extensions, authority=authority)
    put(bench.receiver, key, certificate + outside.intermediate.read_bytes())
    with pytest.raises(KeyFileError, match=rf"server\.pem: .*{told}") as caught:
        serve(bench.receiver.directory, host="127.0.0.1", port=0)
    assert "\n" not in str(caught.value)
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    bare.load_cert_chain(bench.receiver.server_certificate, bench.receiver.server_key)
    if refusal:
        with pytest.raises(ssl.SSLError, match=refusal):
            handshake(bare, unit_context(bench, outside.root))


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("kind", "told"), [("RSA-1024", "an RSA key of 1024 bits"), ("P-521", "an ECDSA secp521r1 key")]
)
def test_a_server_key_of_another_kind_is_named(bench: Bench, outside: OutsideCa, kind: str, told: str) -> None:
    """With what is allowed."""
    key = outside.key(f"other-{kind}", kind)
    keyfiles.replace_file(bench.receiver.server_key, key.read_bytes(), keyfiles.PRIVATE_MODE)
    with pytest.raises(KeyFileError, match=rf"server\.key: holds {told}, .*P-384 .*2048 bits"):
        ServerTls(bench.receiver, FakeClock())


def look(tls: ServerTls, clock: FakeClock, *, after_s: float = LOOK_EVERY_S) -> None:
    """Let a look be due."""
    clock.advance(after_s)
    tls.look()


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_renewed_certificate_is_shown_without_a_restart(bench: Bench, name: str) -> None:
    """The context that the server was started with shows the new one, for a name and for a bare address."""
    clock = FakeClock(datetime.now(UTC))
    tls = ServerTls(bench.receiver, clock)
    before = handshake(tls.context, unit_context(bench), name=name)
    renew_server(bench.receiver.directory)
    look(tls, clock)
    after = handshake(tls.context, unit_context(bench), name=name)
    assert (before.serial_number != after.serial_number, names_in(before)) == (True, names_in(after))
    assert after.public_key() == before.public_key()


@pytest.mark.needs("openssl")
def test_another_key_and_ca_are_taken_up(bench: Bench, outside: OutsideCa) -> None:
    """As when a fleet goes over to a CA of its own: units of both CAs are let in while ca.pem names both."""
    clock = FakeClock(datetime.now(UTC))
    tls = ServerTls(bench.receiver, clock)
    key, certificate = outside.server("moved", kind="P-384")
    put(bench.receiver, key, certificate + outside.intermediate.read_bytes())
    look(tls, clock)
    shown = handshake(tls.context, unit_context(bench, outside.root))
    assert shown.issuer.rfc4514_string() == "CN=Example Issuing CA"
    keyfiles.replace_file(bench.receiver.ca, outside.root.read_bytes(), keyfiles.PUBLIC_MODE)
    look(tls, clock)
    with pytest.raises(ssl.SSLError, match="certificate"):
        handshake(tls.context, unit_context(bench, outside.root))


@pytest.mark.needs("openssl")
def test_a_pair_that_does_not_fit_changes_nothing_until_it_does(
    bench: Bench, outside: OutsideCa, caplog: pytest.LogCaptureFixture
) -> None:
    """An ACME client replaces one file after the other: in between the pair before goes on, with one line."""
    clock = FakeClock(datetime.now(UTC))
    tls = ServerTls(bench.receiver, clock)
    before = handshake(tls.context, unit_context(bench))
    key, certificate = outside.server("acme")
    keyfiles.replace_file(bench.receiver.server_key, key.read_bytes(), keyfiles.PRIVATE_MODE)
    with caplog.at_level("INFO"):
        caplog.clear()
        look(tls, clock)
        look(tls, clock, after_s=RETRY_AFTER_S)
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert "those before go on" in caplog.text
        assert handshake(tls.context, unit_context(bench)) == before
        put(bench.receiver, None, certificate + outside.intermediate.read_bytes())
        look(tls, clock)
    assert "used for new connections" in caplog.text
    assert handshake(tls.context, unit_context(bench, outside.root)) != before


def test_the_log_warns_sixty_days_before_the_end_and_after_it(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """One line each, with the command that mends it; none while there is time."""
    clock = FakeClock(datetime.now(UTC))
    tls = ServerTls(bench.receiver, clock)
    end = x509.load_pem_x509_certificate(bench.receiver.server_certificate.read_bytes()).not_valid_after_utc
    for left, lines in ((61, 0), (59, 1), (58, 1), (-1, 2)):
        clock.current = end - timedelta(days=left)
        look(tls, clock)
        assert caplog.text.count("plateseal receiver renew") == lines
    assert [record.levelname for record in caplog.records] == ["WARNING", "ERROR"]


@pytest.mark.parametrize(
    ("left_days", "level"), [(61, None), (59, Level.LOOK), (6, Level.TROUBLE), (-1, Level.TROUBLE)]
)
def test_the_fleet_page_warns_as_well(bench: Bench, left_days: int, level: Level | None) -> None:
    """Above the units: when this certificate ends, all of them stop."""
    end = x509.load_pem_x509_certificate(bench.receiver.server_certificate.read_bytes()).not_valid_after_utc
    now = end - timedelta(days=left_days)
    found = list(own_findings(bench.receiver, now))
    assert [each.level for each in found] == ([] if level is None else [level])
    page = render_fleet([], now, own=found).decode()
    assert ("plateseal receiver renew" in page) == (level is not None)


def test_a_certificate_of_another_ca_is_not_renewed_here(bench: Bench, tmp_path: Path) -> None:
    """It is that CA's to renew; what lies there stays."""
    other = init_receiver(tmp_path / "other")
    put(bench.receiver, other.server_key, other.server_certificate.read_bytes())
    before = bench.receiver.server_certificate.read_bytes()
    with pytest.raises(UsageError, match="issued by another CA"):
        renew_server(bench.receiver.directory)
    assert bench.receiver.server_certificate.read_bytes() == before


def test_the_ca_key_may_be_kept_elsewhere(bench: Bench, tmp_path: Path) -> None:
    """`--ca-key` names it; without it the line says which file is missing."""
    away = bench.receiver.ca_key.rename(tmp_path / "vault.key")
    with pytest.raises(KeyFileError, match=r"ca\.key: No such file"):
        renew_server(bench.receiver.directory)
    done = CliRunner().invoke(
        app, ["renew", str(bench.receiver.directory), "--ca-key", str(away), "--host", "a.example"]
    )
    assert (done.exit_code, "for a.example" in done.output) == (0, True)


def test_a_receipt_key_that_is_not_that_of_receipt_pub_is_refused(bench: Bench) -> None:
    """Every unit would refuse every receipt, and deliver the same reads again and again."""
    other = init_receiver(bench.root / "other")
    keyfiles.replace_file(bench.receiver.receipt_key, other.receipt_key.read_bytes(), keyfiles.PRIVATE_MODE)
    with pytest.raises(KeyFileError, match=r"receipt\.key: is not the key of receipt\.pub"):
        serve(bench.receiver.directory, host="127.0.0.1", port=0)

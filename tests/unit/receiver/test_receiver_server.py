"""What keeps a receiver from starting: one line each, before anything listens."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import KeyFileError, PlatesealError, ReceiverError, UsageError
from agent.keys import keyfiles
from agent.receiver.admission.pki import init_receiver
from agent.receiver.intake.server import serve
from agent.receiver.intake.server_tls import tls_context
from agent.receiver.layout import ReceiverLayout


@pytest.fixture
def receiver(tmp_path: Path) -> ReceiverLayout:
    """Return a new receiver."""
    return init_receiver(tmp_path / "receiver")


def _swap(path: Path, content: bytes) -> None:
    mode = path.stat().st_mode
    path.write_bytes(content)
    path.chmod(mode)


_P256 = keyfiles.private_pem(ec.generate_private_key(ec.SECP256R1()))
_ED25519 = keyfiles.private_pem(Ed25519PrivateKey.generate())


@pytest.mark.parametrize(
    ("damage", "error", "expected"),
    [
        (lambda r: r.server_key.unlink(), KeyFileError, r"server\.key: No such file"),
        (lambda r: r.server_key.chmod(0o644), KeyFileError, r"server\.key: mode 0644 .*chmod 600"),
        (lambda r: _swap(r.server_key, _ED25519), KeyFileError, r"server\.key: holds an Ed25519 key"),
        (lambda r: _swap(r.server_key, _P256), KeyFileError, r"server\.pem: .*not that of server\.key"),
        (lambda r: _swap(r.server_certificate, b"?"), KeyFileError, r"server\.pem: not a PEM certificate"),
        (lambda r: r.ca.unlink(), KeyFileError, r"ca\.pem: No such file"),
        (lambda r: _swap(r.ca, b"?"), KeyFileError, r"ca\.pem: not a PEM certificate"),
        (lambda r: _swap(r.ca, b"\xff"), KeyFileError, r"ca\.pem: not a PEM certificate"),
        (lambda r: r.receipt_key.unlink(), KeyFileError, r"receipt\.key: No such file"),
        (lambda r: r.devices.rmdir(), ReceiverError, r"devices: No such file"),
        (lambda r: r.store.unlink(), ReceiverError, r"envelopes\.db: there is no store"),
    ],
)
def test_missing_or_wrong_part_is_named(
    receiver: ReceiverLayout, damage: Callable[[ReceiverLayout], None], error: type[PlatesealError], expected: str
) -> None:
    """A part that is missing, open to others or of another kind is named in one line."""
    damage(receiver)
    with pytest.raises(error, match=expected) as caught:
        serve(receiver.directory, host="127.0.0.1", port=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("port", [-1, 65536])
def test_port_that_is_none_is_named(receiver: ReceiverLayout, port: int) -> None:
    """A number that is no TCP port is a mistake of use."""
    with pytest.raises(UsageError, match="0 to 65535"):
        serve(receiver.directory, host="127.0.0.1", port=port)


@pytest.mark.parametrize("most", [0, 100_001])
def test_a_number_of_connections_that_is_none_is_named(receiver: ReceiverLayout, most: int) -> None:
    """Too few to serve anybody, or more than one machine holds, is a mistake of use."""
    with pytest.raises(UsageError, match="--connections .*: 1 to 100,000"):
        serve(receiver.directory, host="127.0.0.1", port=0, connections_most=most)


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_address_that_is_not_ours_is_named(receiver: ReceiverLayout, host: str) -> None:
    """An address of another machine, or a name that does not resolve, is named."""
    with pytest.raises(ReceiverError, match=f"{host} port 0"):
        serve(receiver.directory, host=host, port=0)


def test_port_file_that_cannot_be_replaced_is_named(receiver: ReceiverLayout, tmp_path: Path) -> None:
    """A folder in the port file's place is named before anything listens."""
    (tmp_path / "port").mkdir()
    with pytest.raises(KeyFileError, match="port: cannot be removed"):
        serve(receiver.directory, host="127.0.0.1", port=0, port_file=tmp_path / "port")


def test_tls_context_is_as_strict_as_promised(receiver: ReceiverLayout) -> None:
    """TLS 1.3 only, a client certificate required, strict checks, no tickets."""
    context = tls_context(receiver)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_3
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.num_tickets == 0

"""The upload service's TLS files: what replaces a pair, and what is refused."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.disk.watch import LOOK_EVERY_S
from agent.errors import KeyFileError
from agent.keys import keyfiles
from agent.keys.rotation import RotationState, rotate_identity
from agent.receiver.admission.pki import enrol
from agent.unit.upload.tls_files import TlsFiles
from tests.fakes.clock import FakeClock
from tests.fakes.pki import Bench, make_bench
from tests.unit.config.test_load import GOOD


class Unit:
    """A unit's TLS files on a bench, and the clock that paces the looks."""

    def __init__(self, root: Path) -> None:
        self.bench: Bench = make_bench(root)
        self.identity = self.bench.device.directory
        self.clock = FakeClock()
        text = GOOD.replace('"ca.pem"', '"receiver/ca.pem"').replace('"tls.', '"device/tls.')
        (root / "unit.toml").write_text(text)
        self.settings = load_config(root / "unit.toml").upload

    def start(self) -> TlsFiles:
        """Load the files."""
        return TlsFiles(self.settings, self.clock, state_dir=self.bench.root / "state")

    def look(self, files: TlsFiles) -> ssl.SSLContext | None:
        """Let a look be due, and return what is new."""
        self.clock.advance(LOOK_EVERY_S)
        return files.renewed()

    def certify(self, request: str) -> bytes:
        """Return the receiver's certificate for a request in the identity."""
        return enrol(self.bench.receiver.directory, self.identity / request).pem

    def place(self, pem: bytes) -> None:
        """Put a certificate into the identity."""
        keyfiles.replace_file(self.identity / "tls.pem", pem, keyfiles.PUBLIC_MODE)


@pytest.fixture
def unit(tmp_path: Path) -> Unit:
    """Return an enrolled unit."""
    return Unit(tmp_path)


def test_files_that_stay_give_no_new_context(unit: Unit) -> None:
    """A connection is not dropped without a reason."""
    files = unit.start()
    assert unit.look(files) is None
    assert files.renewed() is None


def test_a_renewed_certificate_is_taken_up(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    """The same key, a new certificate: a new context at the next look, once."""
    files = unit.start()
    before = files.context
    unit.place(unit.certify("enrolment.json"))
    with caplog.at_level("INFO"):
        after = unit.look(files)
        assert unit.look(files) is None
    assert after is files.context is not before
    assert len(caplog.records) == 1


def test_a_rotated_pair_is_taken_up_whatever_comes_first(unit: Unit) -> None:
    """The certificate decides between the key and the one that is to follow it; a restart at any point works too."""
    files = unit.start()
    rotate_identity(unit.identity)
    assert unit.look(files) is not None  # tls.key.next appeared; the pair in use is still the old one
    unit.place(unit.certify("rotation.cose"))
    assert unit.look(files) is not None
    unit.start()
    assert rotate_identity(unit.identity).state is RotationState.FINISHED
    assert unit.look(files) is not None
    unit.start()


def test_half_a_pair_changes_nothing(unit: Unit, caplog: pytest.LogCaptureFixture) -> None:
    """A certificate in part, or of another key: the context before goes on, with one line for each state."""
    files = unit.start()
    before, pem = files.context, (unit.identity / "tls.pem").read_bytes()
    (unit.identity / "tls.pem").write_bytes(pem[: len(pem) // 2])
    with caplog.at_level("INFO"):
        assert [unit.look(files) for _ in range(3)] == [None, None, None]
        assert len(caplog.records) == 1
        unit.place(pem)
        assert unit.look(files) is not before
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


def test_a_key_that_others_can_read_is_refused(unit: Unit) -> None:
    """At a start with an error, while running by going on; OpenSSL alone would take it."""
    files = unit.start()
    (unit.identity / "tls.key").chmod(0o644)
    assert unit.look(files) is None
    with pytest.raises(KeyFileError, match="chmod 600"):
        unit.start()


def test_a_pair_that_does_not_fit_names_the_configured_files(unit: Unit) -> None:
    """With a next key beside it that does not fit either, the message is about the key that is configured."""
    other = unit.certify("enrolment.json")
    rotate_identity(unit.identity)
    (unit.identity / "tls.key").unlink()
    unit.place(other)
    with pytest.raises(KeyFileError, match=r"tls\.key: No such file"):
        unit.start()

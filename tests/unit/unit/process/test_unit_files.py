"""A file that a unit misses is told with what it is and how to get it, by the daemon that needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.bench.demo import device_config, set_up_parts
from agent.config.load import load_config
from agent.errors import KeyFileError
from agent.unit.process.run import start_daemon
from agent.unit.process.unit_files import missing_file, unit_files
from agent.unit.status.last_error import last_error
from tests.fakes.waiting import WITHIN_S


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the file of a unit in order, whose daemons do not run."""
    set_up_parts(tmp_path / "bench")
    found = tmp_path / "bench" / "device" / "unit.toml"
    found.write_text(device_config(tmp_path / "bench" / "receiver", port=1, clip=Path("x.mp4"), models=None))
    return found


@pytest.mark.parametrize(
    ("daemon", "name", "what", "mend"),
    [
        ("upload", "tls.pem", "this unit's TLS certificate, which the receiver issues", "receiver enrol RECEIVER"),
        ("upload", "tls.key", "this unit's private TLS key", "make new keys: mv "),
        ("upload", "ca.pem", "the certificate of the CA", "bring ca.pem from the receiver to"),
        ("upload", "receipt.pub", "the receiver's public receipt key", "bring receipt.pub from"),
        ("capture", "signing.key", "this unit's private signing key", "make new keys: mv "),
        ("capture", "keyring.cose", "the owner's signed keyring", "bring keyring.cose from the owner"),
        ("capture", "owner.pub", "the owner's public key", "bring owner.pub from the owner"),
    ],
)
def test_a_missing_file_is_named_with_what_it_is(config: Path, daemon: str, name: str, what: str, mend: str) -> None:
    """In one line, which the unit's last error repeats."""
    (path,) = (each.path for each in unit_files(load_config(config)) if each.path.name == name)
    path.unlink()
    with start_daemon(daemon, config, *(["--drain"] if daemon == "upload" else []), log=None) as process:
        assert process.wait(WITHIN_S) == KeyFileError.exit_code
    noted = last_error(load_config(config).state_dir)
    assert noted is not None
    assert f"{path}: is missing; it is {what}" in noted.line
    assert mend in noted.line


def test_a_file_that_is_there_keeps_its_own_words(config: Path) -> None:
    """Only what is gone is called missing."""
    unit = load_config(config)
    files = [*unit_files(unit)]
    assert len(files) == 7
    assert all(missing_file(unit, KeyFileError(f"{each.path}: is wrong")) is None for each in files)
    unit.upload.certificate.unlink()
    gone = missing_file(unit, KeyFileError(f"{unit.upload.certificate}: No such file or directory"))
    assert gone is not None
    assert gone.path == unit.upload.certificate

"""A unit that is told to stop when its spool is full, as a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.keys import keyfiles
from agent.wire.keyring import encode_keyring
from tests.fakes.reads import make_keyring, make_recipient
from tests.fakes.waiting import WITHIN_S
from tests.unit.config.test_load import GOOD

pytestmark = pytest.mark.e2e


def test_it_does_not_start_while_the_spool_is_full(tmp_path: Path) -> None:
    """One line that says why and what to do, an exit status of its own, and nothing erased."""
    owner = Ed25519PrivateKey.generate()
    (tmp_path / "identity").mkdir(mode=0o700)
    keyfiles.write_private(tmp_path / "identity" / "signing.key", Ed25519PrivateKey.generate())
    keyfiles.write_public(tmp_path / "owner.pub", owner.public_key())
    keyring = encode_keyring(make_keyring(make_recipient()[0]), owner)
    keyfiles.replace_file(tmp_path / "keyring.cose", keyring, keyfiles.PUBLIC_MODE)
    config = tmp_path / "unit.toml"
    config.write_text(GOOD.replace("max_bytes = 10_000_000", 'max_bytes = 1_048_576\non_full = "stop"'))
    pending = tmp_path / "spool" / "pending"
    for directory in (pending.parent, pending):
        directory.mkdir(mode=0o700)
    (pending / ("a" * 64)).write_bytes(bytes(900_000))
    command = [sys.executable, "-m", "agent.cli.main", "capture", "--config", str(config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=WITHIN_S, check=False)
    lines = [line for line in ended.stderr.splitlines() if not line.startswith(("INFO", "WARNING"))]
    assert ended.returncode == 16
    assert len(lines) == 1
    assert "1 envelopes of 900000 bytes" in lines[0]
    assert 'spool.on_full is "stop"' in lines[0]
    assert (pending / ("a" * 64)).read_bytes() == bytes(900_000)

"""The settings of sealing: which values there are, and how a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.config.models import SealConfig
from agent.errors import ConfigError
from agent.wire.suites import ContentCipher
from tests.unit.config.test_load import GOOD

CIPHER = 'cipher = "ChaCha20/Poly1305"\n'


def seal_config(tmp_path: Path, lines: str) -> SealConfig:
    """Load a configuration whose section on sealing has `lines` instead of a cipher."""
    assert CIPHER in GOOD
    path = tmp_path / "unit.toml"
    path.write_text(GOOD.replace(CIPHER, lines))
    return load_config(path).seal


def test_the_defaults_measure_and_never_stop(tmp_path: Path) -> None:
    """Left out: the faster cipher of the machine, and sealing goes on when the keyring has run out."""
    settings = seal_config(tmp_path, "")
    assert (settings.cipher, settings.on_keyring_end) == ("auto", "seal")


@pytest.mark.parametrize("name", ["auto", *ContentCipher])
def test_every_cipher_may_be_named(tmp_path: Path, name: str) -> None:
    """By its COSE name, or left to a measurement."""
    assert seal_config(tmp_path, f'cipher = "{name}"\n').cipher == name


@pytest.mark.parametrize("value", ['"AUTO"', '"AES"', '""', "3", "true", '["auto"]'])
def test_another_cipher_is_named(tmp_path: Path, value: str) -> None:
    """The message has the key and what is allowed."""
    with pytest.raises(ConfigError, match=r"unit\.toml:\d+: seal\.cipher.*'auto'"):
        seal_config(tmp_path, f"cipher = {value}\n")


def test_the_unit_may_be_told_to_stop(tmp_path: Path) -> None:
    """For those who would rather read nothing than seal to an old key."""
    assert seal_config(tmp_path, 'on_keyring_end = "stop"\n').on_keyring_end == "stop"


@pytest.mark.parametrize("value", ['"Stop"', '"halt"', "true", "0"])
def test_another_end_is_named(tmp_path: Path, value: str) -> None:
    """The message has the key and both values."""
    with pytest.raises(ConfigError, match=r"seal\.on_keyring_end: is .*; should be 'seal' or 'stop'"):
        seal_config(tmp_path, f"on_keyring_end = {value}\n")

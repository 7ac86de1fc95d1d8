"""systemd credentials: `credential:NAME` in a configuration, and the files it stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.load import load_config
from agent.errors import ConfigError, KeyFileError
from agent.keys import keyfiles
from tests.unit.config.test_load import GOOD


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder as systemd makes it for a service."""
    directory = tmp_path / "credentials"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    return directory


def configured(tmp_path: Path, value: str, *, key: str = "signing_key") -> Path:
    """Write a configuration in which one path is `value`."""
    lines = [f'{key} = "{value}"' if line.startswith(f"{key} =") else line for line in GOOD.splitlines()]
    path = tmp_path / "unit.toml"
    path.write_text("\n".join(lines))
    return path


@pytest.mark.parametrize("name", ["signing.key", "a", "plateseal-signing_key.1"])
def test_a_credential_is_the_file_that_systemd_gave(tmp_path: Path, credentials: Path, name: str) -> None:
    """It is resolved when the configuration is loaded; other paths stay as they are."""
    config = load_config(configured(tmp_path, f"credential:{name}"))
    assert config.seal.signing_key == credentials / name
    assert config.seal.owner_key == tmp_path / "owner.pub"


@pytest.mark.parametrize("key", ["keyring", "owner_key", "ca", "certificate", "receiver_key"])
def test_any_path_may_be_a_credential(tmp_path: Path, credentials: Path, key: str) -> None:
    """Not only private keys."""
    text = load_config(configured(tmp_path, "credential:x", key=key)).model_dump_json()
    assert str(credentials / "x") in text


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../x", "/etc/passwd", "a b", "a" * 256])
def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, credentials: Path, name: str) -> None:
    """The message names file and key, and says what is allowed."""
    assert credentials.is_dir()
    with pytest.raises(ConfigError, match=r"unit\.toml:\d+: seal\.signing_key: .*a name of letters"):
        load_config(configured(tmp_path, f"credential:{name}"))


@pytest.mark.parametrize("value", [None, "", "relative/folder"])
def test_without_systemd_the_error_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """One line with file, key, variable and the setting of the service."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if value is not None:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", value)
    with pytest.raises(
        ConfigError, match=r"signing_key: .*CREDENTIALS_DIRECTORY is not set.*LoadCredential=sig"
    ) as caught:
        load_config(configured(tmp_path, "credential:sig"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600])
def test_a_credential_may_be_readable_by_its_group(credentials: Path, mode: int) -> None:
    """An access list for the service's user shows as the group's bits; the folder is closed to everyone else."""
    key = Ed25519PrivateKey.generate()
    keyfiles.write_private(credentials / "k", key)
    (credentials / "k").chmod(mode)
    assert keyfiles.load_ed25519_private(credentials / "k").private_bytes_raw() == key.private_bytes_raw()


@pytest.mark.parametrize("mode", [0o444, 0o404, 0o460, 0o450, 0o442])
def test_a_credential_is_still_closed_to_others(credentials: Path, mode: int) -> None:
    """No bit for others, and none that lets the group write or run."""
    keyfiles.write_private(credentials / "k", Ed25519PrivateKey.generate())
    (credentials / "k").chmod(mode)
    with pytest.raises(KeyFileError, match=f"mode {mode:04o}"):
        keyfiles.load_ed25519_private(credentials / "k")


def test_only_files_in_that_folder_are_credentials(tmp_path: Path, credentials: Path) -> None:
    """Beside it, or in a folder below it, the usual rule holds."""
    (credentials / "below").mkdir()
    for path in (tmp_path / "k", credentials / "below" / "k", credentials / "below" / ".." / ".." / "k2"):
        keyfiles.write_private(path, Ed25519PrivateKey.generate())
        path.chmod(0o440)
        with pytest.raises(KeyFileError, match="mode 0440"):
            keyfiles.load_ed25519_private(path)


def test_links_and_folders_are_no_credentials(tmp_path: Path, credentials: Path) -> None:
    """A link could lead out of the folder."""
    keyfiles.write_private(tmp_path / "real", Ed25519PrivateKey.generate())
    (credentials / "link").symlink_to(tmp_path / "real")
    (credentials / "folder").mkdir()
    for name, expected in (("link", "is a link"), ("folder", "not a regular file")):
        with pytest.raises(KeyFileError, match=expected):
            keyfiles.load_ed25519_private(credentials / name)

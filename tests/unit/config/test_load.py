"""The configuration file: every mistake is named, nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.document import MAX_CONFIG_BYTES
from agent.config.load import load_config
from agent.config.models import UnitConfig
from agent.errors import ConfigError

GOOD = """
camera_id = "bridge-north"
site = "bridge"
position = [52.5, 13.4]
state_dir = "state"
[source]
uri = "clip.mp4"
started_at = 2026-03-01T12:00:00Z
[vision]
models = "/opt/models"
[seal]
keyring = "keyring.cose"
owner_key = "owner.pub"
signing_key = "identity/signing.key"
cipher = "ChaCha20/Poly1305"
[spool]
directory = "spool"
max_bytes = 10_000_000
[upload]
url = "https://receiver.example:8443"
ca = "ca.pem"
certificate = "tls.pem"
key = "tls.key"
receiver_key = "receipt.pub"
"""


def write(tmp_path: Path, text: str) -> Path:
    """Write a configuration file."""
    path = tmp_path / "unit.toml"
    path.write_text(text)
    return path


def test_a_good_file_is_read_with_paths_beside_it(tmp_path: Path) -> None:
    """Relative paths are relative to the file; absolute ones stay."""
    config = load_config(write(tmp_path, GOOD))
    assert config.camera_id == "bridge-north"
    assert config.seal.signing_key == tmp_path / "identity" / "signing.key"
    assert config.source.uri == str(tmp_path / "clip.mp4")
    assert config.vision.models == Path("/opt/models")
    assert config.spool.directory == tmp_path / "spool"
    assert config.position == (52.5, 13.4)
    assert config.source.started_at is not None
    assert config.seal.cipher == "ChaCha20/Poly1305"


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('camera_id = "bridge-north"', ""), "camera_id"),
        (('"bridge-north"', '"Bridge North"'), "camera_id"),
        (('"bridge-north"', "7"), "camera_id"),
        (("[52.5, 13.4]", "[152.5, 13.4]"), "position.0"),
        (("[52.5, 13.4]", "[52.5]"), "position"),
        (("max_bytes = 10_000_000", "max_bytes = 10"), "spool.max_bytes"),
        (("max_bytes = 10_000_000", 'max_bytes = "10 MB"'), "spool.max_bytes"),
        (("max_bytes = 10_000_000", "max_size = 10"), "spool.max_size"),
        (("https://receiver.example:8443", "http://receiver.example"), "upload.url"),
        (("https://receiver.example:8443", "https://user:pw@receiver.example"), "upload.url"),
        (('"ChaCha20/Poly1305"', '"ROT13"'), "seal.cipher"),
        (("2026-03-01T12:00:00Z", "2026-03-01T12:00:00"), "source.started_at"),
        (('uri = "clip.mp4"', 'uri = ""'), "source.uri"),
        (("[spool]", "[sp00l]"), "sp00l"),
        (('ca = "ca.pem"', "ca = 7"), "upload.ca"),
    ],
)
def test_a_mistake_is_named_by_its_key(tmp_path: Path, change: tuple[str, str], key: str) -> None:
    """Unknown keys, wrong types, impossible values: file and key stand in the message."""
    path = write(tmp_path, GOOD.replace(*change))
    with pytest.raises(ConfigError, match=key) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    """One line each."""
    text = GOOD.replace("max_bytes", "max_size").replace("https:", "http:").replace("bridge-north", "BRIDGE")
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, text))
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("uri", ["rtsp://camera.example/stream", "/dev/video0", "gst:videotestsrc ! appsink"])
def test_a_live_source_is_no_path_beside_the_file(tmp_path: Path, uri: str) -> None:
    """URLs, devices and pipelines are taken as they stand."""
    text = GOOD.replace("clip.mp4", uri).replace("started_at = 2026-03-01T12:00:00Z", "")
    assert load_config(write(tmp_path, text)).source.uri == uri


@pytest.mark.parametrize("text", ["", "camera_id =", "[" * 100_000, "a = 1\x00", "x" * (MAX_CONFIG_BYTES + 1)])
def test_a_file_that_is_no_configuration_is_refused(tmp_path: Path, text: str) -> None:
    """Empty, not TOML, nested without end, too long."""
    with pytest.raises(ConfigError, match="unit.toml"):
        load_config(write(tmp_path, text))


def test_a_missing_or_binary_file_is_refused(tmp_path: Path) -> None:
    """No traceback for a wrong path, a folder or bytes that are no text."""
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "missing.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(ConfigError, match=str(path)):
            load_config(path)


def test_a_configuration_is_frozen(tmp_path: Path) -> None:
    """Read once, at the top; nobody changes it on the way."""
    config = load_config(write(tmp_path, GOOD))
    with pytest.raises(ValueError, match="frozen"):
        config.camera_id = "other"  # type: ignore[misc]
    assert isinstance(config, UnitConfig)


@pytest.mark.parametrize("path", [f"/{'var/' * 20}state", "./12:30/state", "states/of-12:30", "a" * 39])
def test_a_path_is_not_taken_for_a_secret(tmp_path: Path, path: str) -> None:
    """However long it is, and with a colon where one may stand."""
    assert load_config(write(tmp_path, GOOD.replace('"state"', f'"{path}"'))).state_dir == tmp_path / path


@pytest.mark.parametrize("text", ["admin:hunter2", "hunter2" * 9, "hunter2/" * 6 + "==", "x\\nhunter2"])
def test_a_secret_in_the_place_of_a_path_is_refused_and_not_shown(tmp_path: Path, text: str) -> None:
    """A login, a key's Base64, several lines."""
    with pytest.raises(
        ConfigError, match=r"state_dir: is no path; a key or secret lies in a file of its own"
    ) as caught:
        load_config(write(tmp_path, GOOD.replace('"state"', f'"{text}"')))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("state", "more", "metrics"),
    [
        ("/var/lib/plateseal/state", "", Path("/run/plateseal")),
        ("/var/lib/plateseal-2", "", Path("/var/lib/plateseal-2/run")),
        ("state", "", Path("state/run")),
        ("state", 'runtime_dir = "memory"', Path("memory")),
        ("/var/lib/plateseal/state", 'runtime_dir = "/dev/shm/unit"', Path("/dev/shm/unit")),
    ],
)
def test_metrics_lie_where_whoever_asks_finds_them(tmp_path: Path, state: str, more: str, metrics: Path) -> None:
    """In memory for the package's services; elsewhere below the state directory, unless it is named."""
    text = more + "\n" + GOOD.replace('"state"', f'"{state}"')
    assert load_config(write(tmp_path, text)).metrics_dir == tmp_path / metrics


@pytest.mark.parametrize("folder", ["state", "spool", "spool/run", "."])
def test_metrics_have_a_folder_of_their_own(tmp_path: Path, folder: str) -> None:
    """The state directory is cleared of those of earlier versions, the spool holds nothing but reads."""
    with pytest.raises(ConfigError, match="runtime_dir: .*a folder of its own"):
        load_config(write(tmp_path, f'runtime_dir = "{folder}"\n{GOOD}'))

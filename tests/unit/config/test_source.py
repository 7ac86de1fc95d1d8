"""The settings of a camera, and that its password stays out of the file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.errors import ConfigError
from tests.unit.config.test_load import GOOD, write

RTSP = GOOD.replace('uri = "clip.mp4"', 'uri = "rtsp://camera.example/live"').replace("started_at", "# started_at")


@pytest.mark.parametrize(
    "uri",
    [
        "rtsp://admin:hunter2@camera.example/live",
        "RTSPS://hunter2@camera.example",
        "gst:rtspsrc location=rtsp://admin:hunter2@camera ! appsink",
        "gst:rtspsrc location=rtsp://camera user-id=admin user-pw=hunter2 ! appsink",
    ],
)
def test_a_password_in_the_uri_is_refused_and_not_repeated(tmp_path: Path, uri: str) -> None:
    """The line says where it belongs."""
    with pytest.raises(ConfigError, match=r"source: .*put USER:PASSWORD into a file .* source\.credential") as caught:
        load_config(write(tmp_path, GOOD.replace("clip.mp4", uri)))
    assert "hunter2" not in str(caught.value)


def test_an_at_sign_elsewhere_is_no_password(tmp_path: Path) -> None:
    """A path may have one."""
    uri = "rtsp://camera.example/live@main?at=@"
    text = RTSP.replace("rtsp://camera.example/live", uri)
    assert load_config(write(tmp_path, text)).source.uri == uri


def test_a_credential_is_a_path_or_one_of_systemds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As every other secret."""
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/unit")
    for text, path in (("camera.login", tmp_path / "camera.login"), ("credential:cam", "/run/credentials/unit/cam")):
        config = load_config(write(tmp_path, RTSP.replace("[vision]", f'credential = "{text}"\n[vision]')))
        assert config.source.credential == Path(path)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("frozen_s = 0.5", "source.frozen_s: .*0 .off. or at least 1 second"),
        ("frozen_s = -1.0", "source.frozen_s"),
        ("stall_s = 0.0", "source.stall_s"),
        ("decode_threads = 0", "source.decode_threads"),
        ('reconnect = "yes"', "source.reconnect"),
    ],
)
def test_a_setting_out_of_range_is_named(tmp_path: Path, setting: str, message: str) -> None:
    """With what is allowed."""
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, RTSP.replace("[vision]", f"{setting}\n[vision]")))


def test_a_credential_without_an_rtsp_camera_is_refused(tmp_path: Path) -> None:
    """It would go nowhere."""
    with pytest.raises(ConfigError, match="credential is for rtsp:// sources only"):
        load_config(write(tmp_path, GOOD.replace("[vision]", 'credential = "camera.login"\n[vision]')))


RTSPS = RTSP.replace("rtsp://", "rtsps://")
PIN = "0f" * 32


@pytest.mark.parametrize(
    ("text", "setting", "message"),
    [
        (RTSPS, "", r"source\.uri: needs ca or key_sha256 beside it"),
        (RTSPS, f'ca = "ca.pem"\nkey_sha256 = "{PIN}"', r"source\.key_sha256: does not go with ca"),
        (RTSPS, f'key_sha256 = "{PIN}"\ntls = "unchecked"', r"source\.tls: does not go with key_sha256"),
        (RTSPS, 'key_sha256 = "0F:0F"', r"source\.key_sha256"),
        (RTSPS, 'tls = "off"', r"source\.tls"),
        (RTSP, 'ca = "ca.pem"', r"source\.ca: is for rtsps:// cameras"),
        (GOOD, 'tls = "unchecked"', r"source\.tls: is for rtsps:// cameras"),
    ],
)
def test_what_an_rtsps_camera_is_known_by_is_one_thing(tmp_path: Path, text: str, setting: str, message: str) -> None:
    """It must be said, once, and for a camera with TLS."""
    with pytest.raises(ConfigError, match=message):
        load_config(write(tmp_path, text.replace("[vision]", f"{setting}\n[vision]")))


@pytest.mark.parametrize("uri", ["clip.mp4", "/dev/video0", "gst:videotestsrc ! appsink"])
def test_only_an_rtsp_camera_can_date_its_frames(tmp_path: Path, uri: str) -> None:
    """No other source says what its clock shows; of one that can, the unit's clock dates frames if nothing is said."""
    assert load_config(write(tmp_path, RTSP)).source.clock == "unit"
    asked = RTSP.replace("[vision]", 'clock = "camera"\n[vision]')
    assert load_config(write(tmp_path, asked)).source.clock == "camera"
    with pytest.raises(ConfigError, match=r'source\.clock: "camera" is for rtsp:// cameras'):
        load_config(write(tmp_path, re.sub('uri = ".*"', f'uri = "{uri}"', asked)))


@pytest.mark.parametrize("setting", ['ca = "ca.pem"', f'key_sha256 = "{PIN}"', 'tls = "unchecked"'])
def test_each_of_them_is_enough(tmp_path: Path, setting: str) -> None:
    """A file is relative to the configuration."""
    source = load_config(write(tmp_path, RTSPS.replace("[vision]", f"{setting}\n[vision]"))).source
    assert source.ca in (None, tmp_path / "ca.pem")
    assert (source.ca is not None) + (source.key_sha256 is not None) + (source.tls == "unchecked") == 1

"""The settings of a camera, and that its password stays out of the file."""

from __future__ import annotations

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

"""Cameras with TLS, against a server that speaks it: whose certificate is taken, and what is said of the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from agent.capture import open_source
from agent.config.models import SourceConfig
from agent.errors import SourceError, SourceLostError
from agent.records import Frame
from agent.unit.process.clock import SystemClock
from tests.fakes.camera_tls import Shown, make_shown
from tests.fakes.rtsp import PlainRtspServer
from tests.fakes.waiting import WITHIN_S

pytestmark = pytest.mark.e2e

ELSEWHERE = (x509.DNSName("elsewhere.example"),)
Trust = Callable[[Shown, Shown], dict[str, object]]


def _first_frame(*shown: Shown, **options: object) -> Frame:
    """Return a frame of a camera that shows these certificates, one a connection."""
    with PlainRtspServer("--tls", *(str(one.path) for one in shown)) as server:
        uri = server.url.replace("rtsp://", "rtsps://")
        settings = {"uri": uri, "reconnect": False, "stall_s": WITHIN_S, **options}
        source = open_source(SourceConfig.model_validate(settings), camera_id="a", clock=SystemClock())
        try:
            return next(iter(source.frames()))
        finally:
            source.close()


@pytest.fixture
def ca(tmp_path: Path) -> Shown:
    """An authority."""
    return make_shown(tmp_path / "ca.pem", subject="authority", names=())


def test_a_camera_is_known_by_its_authority(ca: Shown, tmp_path: Path) -> None:
    """Its certificate is from there and made out to the host of the URL."""
    camera = make_shown(tmp_path / "camera.pem", by=ca)
    assert _first_frame(camera, ca=ca.ca).wh == (640, 360)


@pytest.mark.parametrize(
    "names", [ELSEWHERE, (), (x509.DNSName("*.cameras.example"),)], ids=["elsewhere", "common name", "any of many"]
)
def test_a_camera_is_known_by_its_key(names: tuple[x509.GeneralName, ...], tmp_path: Path) -> None:
    """Whatever its certificate says it is called, and whoever signed it."""
    alone = make_shown(tmp_path / "alone.pem", names=names, subject="IPC-4711 north")
    signed = make_shown(tmp_path / "signed.pem", names=names, by=alone, subject="IPC-4711")
    for camera in (alone, signed):
        assert _first_frame(camera, key_sha256=camera.key_sha256).wh == (640, 360)


def test_an_unchecked_camera_is_taken_where_that_is_written_out(tmp_path: Path) -> None:
    """And not otherwise, even before it is connected."""
    camera = make_shown(tmp_path / "camera.pem", names=ELSEWHERE, ended=True)
    assert _first_frame(camera, tls="unchecked").wh == (640, 360)
    with pytest.raises(SourceError, match=r"set source\.ca or source\.key_sha256, or source\.tls = .unchecked"):
        _first_frame(camera)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path, _: make_shown(path), "certificate is refused: self-signed certificate"),
        (lambda path, ca: make_shown(path, by=ca, names=ELSEWHERE), "certificate is refused: IP address mismatch"),
        (lambda path, ca: make_shown(path, by=ca, ended=True), "certificate is refused: certificate has expired"),
    ],
    ids=["another one's", "another host's", "ended"],
)
def test_a_certificate_that_proves_nothing_is_refused(
    make: Callable[[Path, Shown], Shown], says: str, ca: Shown, tmp_path: Path
) -> None:
    """And why."""
    with pytest.raises(SourceLostError, match=says):
        _first_frame(make(tmp_path / "camera.pem", ca), ca=ca.ca)


def test_another_key_is_refused(tmp_path: Path) -> None:
    """With the one that came: the camera may have been reset."""
    camera, other = make_shown(tmp_path / "camera.pem"), make_shown(tmp_path / "other.pem")
    with pytest.raises(SourceLostError, match=f"another one than source.key_sha256: {other.key_sha256}"):
        _first_frame(other, key_sha256=camera.key_sha256)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"ended": True}, "certificate holds from .* to .*, and FFmpeg takes no other"),
        ({"names": (), "subject": ""}, "certificate names nobody"),
    ],
    ids=["ended", "nameless"],
)
def test_a_right_key_in_a_certificate_that_cannot_be_used_is_told(
    options: dict[str, Any], says: str, tmp_path: Path
) -> None:
    """FFmpeg would say nothing but that it fails."""
    camera = make_shown(tmp_path / "camera.pem", **options)
    with pytest.raises(SourceLostError, match=says):
        _first_frame(camera, key_sha256=camera.key_sha256)


@pytest.mark.parametrize(
    "trust",
    [lambda camera, _: {"key_sha256": camera.key_sha256}, lambda _, ca: {"ca": ca.ca}],
    ids=["key", "authority"],
)
@pytest.mark.parametrize("is_signed", [False, True], ids=["own", "signed by another"])
def test_what_is_looked_at_is_what_is_used(trust: Trust, is_signed: bool, ca: Shown, tmp_path: Path) -> None:
    """Who shows the right certificate first and then another one is refused by FFmpeg itself."""
    camera = make_shown(tmp_path / "camera.pem", by=ca)
    villain = make_shown(tmp_path / "villain.pem", by=make_shown(tmp_path / "bad-ca.pem") if is_signed else None)
    with pytest.raises(SourceLostError, match="the camera cannot be opened"):
        _first_frame(camera, villain, **trust(camera, ca))


def test_a_server_without_tls_is_told(tmp_path: Path) -> None:
    """And a file that holds no certificate, before anything is connected."""
    camera = make_shown(tmp_path / "camera.pem")
    with PlainRtspServer() as server:
        config = SourceConfig(
            uri=server.url.replace("rtsp://", "rtsps://"), key_sha256=camera.key_sha256, reconnect=False
        )
        source = open_source(config, camera_id="a", clock=SystemClock())
        with pytest.raises(SourceLostError, match="speaks no TLS|cannot be opened"):
            next(iter(source.frames()))
    empty = tmp_path / "empty.pem"
    empty.touch()
    with pytest.raises(SourceError, match=r"source\.ca, .*empty\.pem: not a file of certificates"):
        open_source(config.model_copy(update={"ca": empty, "key_sha256": None}), camera_id="a", clock=SystemClock())

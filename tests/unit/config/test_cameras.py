"""Several cameras in one unit's configuration: what each takes from the unit, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.config.models import MAX_CAMERAS
from agent.errors import ConfigError
from tests.unit.config.test_load import GOOD, write

SOUTH = """
[[camera]]
camera_id = "bridge-south"
[camera.source]
uri = "south.mp4"
[camera.vision]
min_votes = 3
"""


def test_a_unit_without_more_cameras_has_one(tmp_path: Path) -> None:
    """The settings at the top are the first camera's."""
    (camera,) = load_config(write(tmp_path, GOOD)).cameras
    assert (camera.camera_id, camera.site, camera.position) == ("bridge-north", "bridge", (52.5, 13.4))
    assert camera.source.uri == str(tmp_path / "clip.mp4")
    assert camera.vision.models == Path("/opt/models")


def test_a_further_camera_takes_what_it_does_not_say_from_the_unit(tmp_path: Path) -> None:
    """Site, position and vision; its paths are beside the file as well."""
    first, second = load_config(write(tmp_path, GOOD + SOUTH)).cameras
    assert (second.camera_id, second.site, second.position) == ("bridge-south", "bridge", (52.5, 13.4))
    assert second.source.uri == str(tmp_path / "south.mp4")
    assert (second.vision.min_votes, second.vision.models) == (3, Path("/opt/models"))
    assert first.vision.min_votes == 2
    elsewhere = GOOD + SOUTH.replace("[camera.source]", 'site = "ramp"\nposition = [0.0, 0.0]\n[camera.source]')
    assert load_config(write(tmp_path, elsewhere)).cameras[1].position == (0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("bridge-south", "bridge-north"), "camera.0.camera_id: is 'bridge-north', as another camera"),
        (("min_votes = 3", "min_vote = 3"), "camera.0.vision.min_vote"),
        (('uri = "south.mp4"', 'uri = "rtsp://user:word@host/"'), "camera.0.source"),
        (('uri = "south.mp4"', ""), "camera.0.source.uri"),
        (("[camera.source]", 'state_dir = "x"\n[camera.source]'), "camera.0.state_dir"),
    ],
    ids=["same name", "unknown key", "password", "no source", "a key of the unit"],
)
def test_a_mistake_in_a_further_camera_is_named(tmp_path: Path, change: tuple[str, str], named: str) -> None:
    """Which camera, which key; a password is not repeated."""
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, GOOD + SOUTH.replace(*change)))
    assert named in str(caught.value)
    assert "user:word" not in str(caught.value)


def test_the_number_of_cameras_is_bounded(tmp_path: Path) -> None:
    """The first one counts."""
    more = "".join(SOUTH.replace("bridge-south", f"south-{place}") for place in range(MAX_CAMERAS))
    with pytest.raises(ConfigError, match="camera"):
        load_config(write(tmp_path, GOOD + more))


def _with_sources(one: str, other: str) -> str:
    text = GOOD.replace('uri = "clip.mp4"', f'uri = "{one}"') + SOUTH.replace("south.mp4", other)
    return "\n".join(line for line in text.splitlines() if not line.startswith("started_at"))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rtsp://192.0.2.1/live", "rtsp://192.0.2.1:554/live"),
        ("rtsp://Camera.Example/live", "RTSP://camera.example:554/live"),
        ("rtsps://192.0.2.1/live?a=1", "rtsps://192.0.2.1:322/live?a=1"),
        ("rtsp://192.0.2.1", "rtsp://192.0.2.1/"),
        ("/dev/video0", "/dev/video0/."),
        ("/dev/v4l/by-id/usb-x", "/dev/v4l/by-id/../by-id/usb-x"),
        ("/dev/video0", "gst:v4l2src device=/dev/video0 ! videoconvert ! appsink"),
        ("rtsp://192.0.2.1/live", "gst:rtspsrc location='rtsp://192.0.2.1:554/live' ! decodebin ! appsink"),
        ("gst:libcamerasrc ! appsink", "gst:libcamerasrc  !  appsink"),
    ],
)
def test_one_camera_in_two_spellings_is_refused(tmp_path: Path, one: str, other: str) -> None:
    """Whichever comes first in the file."""
    for first, second in ((one, other), (other, one)):
        with pytest.raises(ConfigError, match=r"camera\.0\.source\.uri: is the source of bridge-north too"):
            load_config(write(tmp_path, _with_sources(first, second)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rtsp://192.0.2.1/live", "rtsp://192.0.2.1/LIVE"),
        ("rtsp://192.0.2.1/live", "rtsp://192.0.2.1:8554/live"),
        ("rtsp://192.0.2.1/live?channel=1", "rtsp://192.0.2.1/live?channel=2"),
        ("rtsp://192.0.2.1/live", "rtsp://192.0.2.2/live"),
        ("/dev/video0", "/dev/video1"),
    ],
)
def test_two_cameras_stay_two(tmp_path: Path, one: str, other: str) -> None:
    """Streams, ports and devices that differ."""
    assert len(load_config(write(tmp_path, _with_sources(one, other))).cameras) == 2


@pytest.mark.parametrize("section", ["mask", "lane"])
@pytest.mark.parametrize(
    ("polygon", "value"),
    [("[[0, 0], [640, 0], [640, 480]]", "640"), ("[[0.1, 0.1], [0.2, -3.0], [0.3, 0.4]]", "-3.0")],
)
def test_a_polygon_in_pixels_is_told_as_that(tmp_path: Path, section: str, polygon: str, value: str) -> None:
    """One line for the polygon: what is there, what is allowed, and how to get it from pixels; no echo of it."""
    name = 'name = "a"\n' if section == "lane" else ""
    with pytest.raises(ConfigError) as caught:
        load_config(write(tmp_path, f"{GOOD}\n[[vision.{section}]]\n{name}polygon = {polygon}\n"))
    (line,) = str(caught.value).splitlines()
    said = f"vision.{section}.0.polygon: has {value} in it; a corner is two shares of the picture, each from 0 to 1"
    assert said in line
    assert "divide the first by the picture's width, the second by its height" in line


def test_a_polygon_with_too_few_corners_says_so(tmp_path: Path) -> None:
    """Where the corners themselves are fine."""
    with pytest.raises(ConfigError, match="should have at least 3 items"):
        load_config(write(tmp_path, f"{GOOD}\n[[vision.mask]]\npolygon = [[0.0, 0.0], [0.5, 0.5]]\n"))


def test_a_country_without_formats_is_named_with_those_there_are(tmp_path: Path) -> None:
    """Of the unit and of a further camera; where a file of one's own is named, only the unit can tell."""
    plates = GOOD.replace("[vision]", '[vision]\nplates = ["ES", "US-TX", "XX"]')
    with pytest.raises(ConfigError, match=r"vision\.plates: no formats of 'XX' are known; there are AD, AL"):
        load_config(write(tmp_path, plates))
    south = SOUTH.replace("min_votes = 3", 'plates = ["QQ"]')
    with pytest.raises(ConfigError, match=r"camera\.0\.vision\.plates: no formats of 'QQ'"):
        load_config(write(tmp_path, GOOD + south))
    own = plates.replace("plates =", 'plate_formats = "my.toml"\nplates =')
    vision = load_config(write(tmp_path, own)).vision
    assert (vision.plates, vision.plate_formats) == (("ES", "US-TX", "XX"), tmp_path / "my.toml")


def test_a_place_is_a_code(tmp_path: Path) -> None:
    """ISO 3166, in capitals."""
    with pytest.raises(ConfigError, match=r"vision\.plates\.0: is 'spain'"):
        load_config(write(tmp_path, GOOD.replace("[vision]", '[vision]\nplates = ["spain"]')))

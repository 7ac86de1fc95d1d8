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

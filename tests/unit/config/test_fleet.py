"""A fleet's files: merged in order, every mistake named with file, line and key, and each value's origin kept."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config.fleet import load_fleet
from agent.config.provenance import settings_of
from agent.errors import ConfigError
from tests.fakes.fleet import FLEET, write_fleet

EXAMPLE = Path(__file__).parents[3] / "config"


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Write a small fleet."""
    return write_fleet(tmp_path / "fleet", sites=2, cameras=3)


def problems(directory: Path) -> list[str]:
    """Return a fleet's problems as they are printed, relative to its folder."""
    return [str(each).replace(f"{directory}/", "") for each in load_fleet(directory).problems]


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_example_fleet_passes() -> None:
    """Two sites and three cameras, and every file says what it is for."""
    fleet = load_fleet(EXAMPLE)
    assert fleet.problems == ()
    assert [unit.site for unit in fleet.units] == ["bridge", "bridge", "depot"]
    assert all(path.read_text().startswith("#") for path in EXAMPLE.rglob("*.toml"))


def test_the_later_layer_wins_and_says_so(fleet: Path) -> None:
    """Setting by setting; a default comes from nowhere."""
    edit(fleet / "fleet.toml", "[bundle]", "[vision]\nmin_votes = 5\njpeg_quality = 70\n[bundle]")
    edit(fleet / "sites/site-0.toml", "[upload]", "[upload]\nbatch_envelopes = 8")
    unit = load_fleet(fleet).unit("camera-0")
    assert unit.config is not None
    found = {each.key: (each.value, each.source.replace(f"{fleet}/", "")) for each in settings_of(unit, unit.config)}
    assert found["camera_id"] == ("camera-0", "cameras/camera-0.toml")
    assert found["vision.min_votes"] == (3, "cameras/camera-0.toml:6")
    assert found["vision.jpeg_quality"] == (70, "fleet.toml:17")
    assert found["upload.batch_envelopes"] == (8, "sites/site-0.toml:3")
    assert found["position"] == ([48.0, 11.5], "sites/site-0.toml:1")
    assert found["spool.max_bytes"] == (1 << 30, "default")
    assert found["upload.key"] == ("credential:tls.key", "fleet.toml:13")


MISTAKES: dict[str, tuple[str, Callable[[str], str], str]] = {
    # what: (file, how the text changes, what must be told)
    "unknown key": ("fleet.toml", lambda t: t.replace("[spool]", "[spool]\nmax_byte = 1"), r"max_byte.*max_bytes\?"),
    "unknown section": ("fleet.toml", lambda t: t + "[vison]\nmin_votes = 1\n", r"vison: .*did you mean vision\?"),
    "other section": ("fleet.toml", lambda t: t + "poll_s = 1.0\n", r"bundle\.poll_s: .*belongs into \[upload\]"),
    "top key below": ("fleet.toml", lambda t: t + "position = [1.0, 1.0]\n", r"bundle\.position: .*top of the file"),
    "secret": ("fleet.toml", lambda t: t + 'password = "hunter2"\n', r"bundle\.password: .*file of its own"),
    "wrong type": ("fleet.toml", lambda t: t.replace("[spool]", '[spool]\nmax_bytes = "1 GB"'), "max_bytes: is '1 GB'"),
    "below limit": (
        "fleet.toml",
        lambda t: t.replace("[spool]", "[spool]\nmax_bytes = 10"),
        r"max_bytes: is 10; .*1048576",
    ),
    "choice": (
        "fleet.toml",
        lambda t: t.replace("[spool]", '[spool]\non_full = "drop"'),
        r"on_full: is 'drop'; .*stop",
    ),
    "union": (
        "fleet.toml",
        lambda t: t.replace("[seal]", '[seal]\ncipher = "AES"'),
        "seal.cipher: is 'AES'; .*A256GCM",
    ),
    "relative path": (
        "fleet.toml",
        lambda t: t.replace('"/etc/plateseal/ca.pem"', '"ca.pem"'),
        "upload.ca: .*absolute",
    ),
    "credential": ("fleet.toml", lambda t: t.replace(":tls.key", ":../tls.key"), "upload.key: .*a name of letters"),
    "key as text": (
        "fleet.toml",
        lambda t: t.replace('"credential:signing.key"', '"""-----BEGIN X-----\nabc"""'),
        "seal.signing_key: is no path",
    ),
    "http": ("fleet.toml", lambda t: t.replace("https:", "http:"), "upload.url: .*https://"),
    "user in url": ("fleet.toml", lambda t: t.replace("https://", "https://u:hunter2@"), "upload.url: "),
    "one file twice": ("fleet.toml", lambda t: t.replace("receipt.pub", "ca.pem"), "upload.receiver_key: .*upload.ca"),
    "folders": (
        "fleet.toml",
        lambda t: t.replace("plateseal/spool", "plateseal/state/spool"),
        r"spool\.directory: .*lie apart",
    ),
    "incoming in spool": (
        "fleet.toml",
        lambda t: t.replace("incoming/unit", "spool/unit"),
        r"bundle\.incoming: .*sealed reads",
    ),
    "waits": (
        "fleet.toml",
        lambda t: t.replace("[upload]", "[upload]\nretry_first_s = 9.0\nretry_most_s = 1.0"),
        "upload.retry_first_s: is 9, more than",
    ),
    "camera_id in fleet": ("fleet.toml", lambda t: 'camera_id = "x"\n' + t, "camera_id: belongs into the files of cam"),
    "not TOML": ("sites/site-1.toml", lambda t: t + "=\n", "the file: not TOML"),
    "site in site": ("sites/site-0.toml", lambda t: 'site = "site-1"\n' + t, "site: belongs into the files of cam"),
    "latitude": ("sites/site-0.toml", lambda t: t.replace("48.0", "148.0"), r"position\.0: .*90"),
    "site unknown": (
        "cameras/camera-0.toml",
        lambda t: t.replace("site-0", "site-00"),
        r"site: .*did you mean site-0\?",
    ),
    "other name": (
        "cameras/camera-0.toml",
        lambda t: 'camera_id = "cam"\n' + t,
        r"camera_id: is 'cam', .*camera-0\.toml",
    ),
    "no uri": ("cameras/camera-0.toml", lambda t: re.sub(r"uri = .*\n", "", t), r"source\.uri: is missing"),
    "password": (
        "cameras/camera-0.toml",
        lambda t: t.replace("rtsp://", "rtsp://u:hunter2@"),
        "source: .*USER:PASSWORD",
    ),
    "credential, no rtsp": (
        "cameras/camera-0.toml",
        lambda t: re.sub(r'"rtsp:.*"', '"/dev/video0"', t),
        "source: credential is for rtsp",
    ),
    "rate of a camera": (
        "cameras/camera-0.toml",
        lambda t: t.replace("[vision]", "frame_rate = 5.0\n[vision]"),
        r"source\.frame_rate: is for recordings",
    ),
    "one camera twice": (
        "cameras/camera-2.toml",
        lambda t: t.replace("192.0.0.2", "192.0.0.1"),
        r"source\.uri: is the source of camera-1 too",
    ),
    "one camera twice, in another spelling": (
        "cameras/camera-2.toml",
        lambda t: t.replace("rtsp://192.0.0.2/", "RTSP://192.0.0.1:554/"),
        r"source\.uri: is the source of camera-1 too",
    ),
    "two in one unit": (
        "cameras/camera-0.toml",
        lambda t: t + '[[camera]]\ncamera_id = "b"\nsource.uri = "rtsp://192.0.0.0/stream"\n',
        r"camera\.0\.source\.uri: is the source of camera-0 too",
    ),
    "bad name within": (
        "cameras/camera-0.toml",
        lambda t: t + '[[camera]]\ncamera_id = "B 1"\nsource.uri = "/dev/video1"\n',
        r"camera\.0\.camera_id: is 'B 1'; should be a-z",
    ),
    "one name twice": (
        "cameras/camera-0.toml",
        lambda t: t + '[[camera]]\ncamera_id = "camera-0"\nsource.uri = "/dev/video1"\n',
        r"camera\.0\.camera_id: is 'camera-0', as another camera of this unit",
    ),
    "name of another unit": (
        "cameras/camera-0.toml",
        lambda t: t + '[[camera]]\ncamera_id = "camera-1"\nsource.uri = "/dev/video1"\n',
        r"camera\.0\.camera_id: is 'camera-1', the name of a camera of camera-1 too",
    ),
    "password in the path": (
        "cameras/camera-0.toml",
        lambda t: t.replace("/stream", "/user=u_password=hunter2_channel=1"),
        "source: .*USER:PASSWORD",
    ),
    "login as text": (
        "cameras/camera-0.toml",
        lambda t: re.sub(r"credential:[a-z.]+", "admin:hunter2", t),
        r"source\.credential: is no path; a camera's USER:PASSWORD lies in a file of its own",
    ),
    "key as Base64": (
        "fleet.toml",
        lambda t: t.replace('"credential:tls.key"', '"hunter2/KeyKeyKeyKeyKeyKeyKeyKeyKeyKeyKey+0="'),
        "upload.key: is no path; a key or secret",
    ),
    "port": ("fleet.toml", lambda t: t.replace(":8443", ":84430"), "upload.url: .*PORT from 1 to 65535"),
    "port in words": ("fleet.toml", lambda t: t.replace(":8443", ":https"), "upload.url: .*PORT from 1 to 65535"),
    "address": ("fleet.toml", lambda t: t.replace("reads.example", "[::1"), "upload.url: .*must be https"),
    "section as value": (
        "fleet.toml",
        lambda t: 'vision = "x"\n' + t,
        r"vision: is 'x'; should be a section, \[vision\]",
    ),
    "section as list": ("fleet.toml", lambda t: t + "[[vision]]\n", r"vision: is a list of sections; should be a sec"),
    "list as section": ("fleet.toml", lambda t: t + "[camera]\n", r"camera: should be sections, each \[\[camera\]\]"),
    "half a position": ("sites/site-0.toml", lambda t: t.replace("48.0, ", ""), r"position\.1: is missing"),
    "negative": (
        "cameras/camera-1.toml",
        lambda t: t.replace("min_votes = 3", "min_votes = -3"),
        "min_votes: is -3; .*1",
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_named_with_file_line_and_key(fleet: Path, what: str) -> None:
    """Once, however many cameras it reaches, and no secret is repeated."""
    name, change, told = MISTAKES[what]
    path = fleet / name
    before = path.read_text()
    path.write_text(change(before))
    assert path.read_text() != before
    found = problems(fleet)
    assert any(re.search(rf"^{re.escape(name)}(:\d+)?: (.*\.)?{told}", line) for line in found), found
    assert len(found) == len(set(found)) <= 3, found
    assert "hunter2" not in "".join(found)


@pytest.mark.parametrize("what", ["one camera twice", "one camera twice, in another spelling", "name of another unit"])
def test_a_camera_that_is_there_twice_is_not_called_ok(fleet: Path, what: str) -> None:
    """In the table of the fleet, where the other units are."""
    name, change, _ = MISTAKES[what]
    path = fleet / name
    path.write_text(change(path.read_text()))
    loaded = load_fleet(fleet)
    wrong = [unit.name for unit in loaded.units if unit.config is None]
    assert len(wrong) == 1
    assert wrong[0] in {problem.file.stem for problem in loaded.problems}


def test_thirty_mistakes_at_once_are_all_named(tmp_path: Path) -> None:
    """A different one in each of thirty cameras' files."""
    directory = write_fleet(tmp_path / "fleet", sites=2, cameras=40)
    planted: list[tuple[str, str]] = []
    for number in range(30):
        path = directory / "cameras" / f"camera-{number}.toml"
        key, value = PLAIN[number]
        path.write_text(
            f"{path.read_text()}\n[{key.split('.')[0]}]\n{key.split('.')[1]} = {value}\n".replace(
                "[vision]\nmin_votes = 3\n", ""
            )
        )
        planted.append((f"cameras/camera-{number}.toml", key))
    found = problems(directory)
    for name, key in planted:
        assert any(line.startswith(f"{name}:") and f": {key}: " in line for line in found), (name, key, found)
    assert len(found) == 30


PLAIN = [
    ("vision.min_votes", "0"),
    ("vision.min_votes", "101"),
    ("vision.min_votes", '"2"'),
    ("vision.min_vote", "2"),
    ("vision.reader_confidence", "1.5"),
    ("vision.reader_confidence", "-0.1"),
    ("vision.detector", '"Big Model"'),
    ("vision.models", '"models"'),
    ("vision.jpeg_quality", "0"),
    ("vision.crop", '"yes"'),
    ("seal.cipher", '"ROT13"'),
    ("seal.on_keyring_end", '"halt"'),
    ("seal.keyring", "7"),
    ("seal.signing", '"x"'),
    ("spool.max_bytes", "1.5"),
    ("spool.max_count", "1"),
    ("spool.max_age_hours", "0.1"),
    ("spool.on_full", "true"),
    ("spool.directory", '"spool"'),
    ("upload.url", '"ftp://reads.example"'),
    ("upload.batch_envelopes", "65"),
    ("upload.batch_bytes", "1"),
    ("upload.fresh_share", "0.9"),
    ("upload.max_bytes_per_s", "10"),
    ("upload.connect_timeout_s", "0.0"),
    ("upload.retry_first_s", "61.0"),
    ("upload.poll_s", '"1 s"'),
    ("upload.token", '"abc"'),
    ("bundle.healthy_within_s", "0.5"),
    ("bundle.incomming", '"/x"'),
]


def test_files_that_nobody_reads_are_named(fleet: Path) -> None:
    """A slip in a name would otherwise switch a file off in silence."""
    (fleet / "flet.toml").write_text("")
    (fleet / "camera").mkdir()
    (fleet / "camera" / "x.toml").write_text("")
    (fleet / "cameras" / "y.tml").write_text("")
    found = "\n".join(problems(fleet))
    assert "flet.toml: the file: is not read; did you mean fleet.toml?" in found
    assert "camera: the folder: is not read; did you mean cameras?" in found
    assert "cameras/y.tml: the file: is not read" in found


def test_a_mistake_below_is_named_also_where_all_override_it(fleet: Path) -> None:
    """Whoever adds a camera next would trip over it."""
    edit(fleet / "fleet.toml", "[bundle]", "[vision]\nmin_votes = 0\n[bundle]")
    assert [line.split(": ")[1] for line in problems(fleet)] == ["vision.min_votes"]


def test_a_folder_without_cameras_is_no_fleet(tmp_path: Path) -> None:
    """One line with what is needed; an empty folder of cameras holds none either."""
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"no fleet here: .*cameras with a NAME\.toml per camera"):
            load_fleet(tmp_path)
        (tmp_path / "cameras").mkdir(exist_ok=True)
    with pytest.raises(ConfigError, match=r"nowhere: No such file or directory$"):
        load_fleet(tmp_path / "nowhere")


@pytest.mark.parametrize(("name", "spoiled"), [("fleet.toml", 3), ("sites/site-0.toml", 2)])
def test_what_stands_in_a_file_that_is_not_toml_is_not_called_missing(fleet: Path, name: str, spoiled: int) -> None:
    """One mistake, one line; but no unit that rests on the file passes."""
    (fleet / name).write_text("= not TOML")
    found = load_fleet(fleet)
    assert [str(each.file.relative_to(fleet)) for each in found.problems] == [name]
    assert sum(unit.config is None for unit in found.units) == spoiled


def test_an_unknown_camera_has_a_suggestion(fleet: Path) -> None:
    """Near misses are named."""
    with pytest.raises(ConfigError, match="camera-11: no such camera in this fleet; did you mean camera-1"):
        load_fleet(fleet).unit("camera-11")


def test_a_fleet_of_300_cameras_is_checked(tmp_path: Path) -> None:
    """20 sites, and each camera has its settings. How long that takes is for `make bench`."""
    directory = write_fleet(tmp_path / "fleet", sites=20, cameras=300, fleet=FLEET + "# 300\n" * 50)
    fleet = load_fleet(directory)
    for unit in fleet.units:
        assert unit.config is not None
        assert settings_of(unit, unit.config)
    assert len(fleet.units) == 300
    assert fleet.problems == ()

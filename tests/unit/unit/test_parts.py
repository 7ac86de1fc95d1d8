"""The daemons' small parts: metrics file, plaintext of a passage, process hardening."""

from __future__ import annotations

import logging
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

from agent.config.load import load_config
from agent.config.models import CameraConfig
from agent.disk.lock import Presence
from agent.errors import ConfigError, InferenceError
from agent.records import ClockState, Detection, Direction, Passage, PlateRead, PlateText
from agent.unit.capture.describe import describe
from agent.unit.process.state import make_state_dir
from agent.unit.status.metrics import FRESH_WITHIN_S, MetricsFiles, read_snapshot, read_snapshots, snapshot_path
from agent.unit.status.samples import METRICS, Sample
from agent.wire.plaintext import encode_plaintext, parse_plaintext
from tests.fakes.reads import NOON
from tests.unit.config.test_load import GOOD


@pytest.fixture
def config(tmp_path: Path) -> CameraConfig:
    """Return a camera's settings with a site and a position."""
    path = tmp_path / "unit.toml"
    path.write_text(GOOD)
    return load_config(path).cameras[0]


def make_passage(text: str = "AB123CD") -> Passage:
    """Return a passage with a noisy crop."""
    best = PlateRead(
        sequence=42,
        captured_at=NOON,
        monotonic_s=3.0,
        frame_wh=(1280, 720),
        detection=Detection(10, 20, 110, 50, 0.8765),
        plate=PlateText(text, (0.9,) * len(text), "Portugal"),
        crop=np.random.default_rng(1).integers(0, 255, (30, 100, 3)).astype(np.uint8),
    )
    return Passage(
        text=text,
        confidences=(0.98765,) * len(text),
        votes=(4, 5),
        region="Portugal",
        best=best,
        first_seen=NOON - timedelta(seconds=1),
        last_seen=NOON + timedelta(seconds=1),
        direction=Direction.APPROACHING,
    )


def described(passage: Passage, config: CameraConfig) -> bytes:
    """Return a passage's encoded plaintext."""
    return encode_plaintext(
        describe(
            passage,
            config,
            clock_state=ClockState.RECORDED,
            detector_digest=bytes(32),
            reader_digest=bytes(32),
        )
    )


def test_a_passage_is_written_down_in_whole_numbers(config: CameraConfig) -> None:
    """Thousandths, microdegrees, pixels; the crop is a JPEG of the look that won."""
    read = parse_plaintext(described(make_passage(), config))
    assert (read.text, read.confidences[0], read.detector_confidence) == ("AB123CD", 988, 876)
    assert (read.camera, read.site, read.position) == ("bridge-north", "bridge", (52_500_000, 13_400_000))
    assert (read.box, read.frame_wh, read.votes) == ((10, 20, 110, 50), (1280, 720), (4, 5))
    assert read.crop.startswith(b"\xff\xd8\xff\xe0")
    assert read.captured_at == NOON


def test_what_was_seen_is_written_down_where_formats_are_known(config: CameraConfig) -> None:
    """Text, what was seen, and the format; neither of these without formats."""
    read = parse_plaintext(described(replace(make_passage(), seen="A8123CD", format="AR-2016"), config))
    assert (read.text, read.seen, read.format) == ("AB123CD", "A8123CD", "AR-2016")
    read = parse_plaintext(described(make_passage(), config))
    assert (read.seen, read.format) == (None, None)


def test_the_crop_may_be_left_out(config: CameraConfig) -> None:
    """By configuration; the text stays."""
    without = config.model_copy(update={"vision": config.vision.model_copy(update={"crop": False})})
    read = parse_plaintext(described(make_passage(), without))
    assert (read.crop, read.text) == (b"", "AB123CD")


def test_a_text_longer_than_any_plate_is_refused_without_being_shown(config: CameraConfig) -> None:
    """The message says how long it was, not what it was."""
    with pytest.raises(InferenceError, match="21 characters") as caught:
        described(make_passage("X" * 21), config)
    assert "XX" not in str(caught.value)


def test_confidences_outside_the_range_are_clipped(config: CameraConfig) -> None:
    """A model's rounding never makes an unreadable record."""
    passage = replace(make_passage("AB"), confidences=(1.0000001, -0.0000001))
    assert parse_plaintext(described(passage, config)).confidences == (1000, 0)


def families(path: Path) -> dict[str, Metric]:
    """Return what Prometheus' own parser finds in a text file, by name."""
    return {family.name: family for family in text_string_to_metric_families(path.read_text())}


def test_metrics_are_written_for_prometheus_and_for_us(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """The runtime directory is made, closed to others; the last values are written at the end, in both files.

    Where the directory is open to others, as on a unit, Prometheus' text is too, whatever the umask; ours is not.
    """
    samples = [Sample("sealed", 1.0), Sample("pending", 7.0)]
    directory = tmp_path / "run"
    before = os.umask(0o077)
    request.addfinalizer(lambda: os.umask(before))
    with MetricsFiles(directory, "capture", lambda: samples):
        assert directory.stat().st_mode & 0o777 == 0o700
        measured, is_up = read_snapshot(directory, "capture")
        assert (measured.get("sealed"), measured.get("pending"), is_up) == (1.0, 7.0, True)
        samples[0] = Sample("sealed", 5.0)
    measured, is_up = read_snapshot(directory, "capture")
    assert (measured.get("sealed"), is_up) == (5.0, False)  # at once: what it wrote last is fresh
    assert "plateseal_sealed_total 5.0" in (directory / "capture.prom").read_text()
    found = families(directory / "capture.prom")
    assert {name: (family.type, family.documentation) for name, family in found.items()} == {
        f"plateseal_{name}": (METRICS[name].kind, METRICS[name].help) for name in ("sealed", "pending")
    }
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes == {"capture.json": 0o600, "capture.lock": 0o600, "capture.prom": 0o644}


def test_metrics_with_labels_are_kept_each_and_together(tmp_path: Path) -> None:
    """One family a name, whatever the order; whoever asks for the total gets the sum."""
    samples = [
        Sample("frames", 3.0, ("north",)),
        Sample("sealed", 1.0),
        Sample("frames", 4.0, ('so"uth\n',)),
        Sample("rejected_passages", 2.0, ("south", "unsure")),
    ]
    MetricsFiles(tmp_path, "capture", lambda: samples).write()
    MetricsFiles(tmp_path, "upload", lambda: [Sample("pending", 9.0)]).write()
    both = read_snapshots(tmp_path)
    assert (both.total("frames"), both.get("frames", 'so"uth\n'), both.get("frames")) == (7.0, 4.0, None)
    assert (both.get("rejected_passages", "south", "unsure"), both.get("pending")) == (2.0, 9.0)
    found = families(tmp_path / "capture.prom")["plateseal_frames"].samples
    assert [(sample.labels, sample.value) for sample in found] == [
        ({"camera": "north"}, 3.0),
        ({"camera": 'so"uth\n'}, 4.0),
    ]


@pytest.mark.parametrize(("name", "labels"), [("seald", ()), ("frames", ()), ("sealed", ("north",))])
def test_a_metric_that_is_not_in_the_table_is_refused(name: str, labels: tuple[str, ...]) -> None:
    """A slip in a name or its labels shows in the first test that measures."""
    with pytest.raises(ValueError, match=name):
        Sample(name, 1.0, labels)


def test_metrics_that_cannot_be_written_stop_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Logged once, not raised."""
    metrics = MetricsFiles(tmp_path / "missing" / "run", "capture", lambda: [Sample("sealed", 1.0)])
    with caplog.at_level(logging.WARNING):
        metrics.write()
        metrics.write()
    assert len(caplog.records) == 1


def test_an_old_snapshot_is_of_a_daemon_that_hangs(tmp_path: Path) -> None:
    """Its numbers are shown, and that it does not run; a clock that jumped is no sign of life."""
    MetricsFiles(tmp_path, "capture", lambda: [Sample("sealed", 1.0)]).write()
    presence = Presence(tmp_path / "capture.lock")
    for age_s, is_up in ((0, True), (FRESH_WITHIN_S * 2, False), (-FRESH_WITHIN_S * 2, False)):
        at_s = time.time() - age_s
        os.utime(snapshot_path(tmp_path, "capture"), (at_s, at_s))
        measured, found_up = read_snapshot(tmp_path, "capture")
        assert (measured.get("sealed"), found_up) == (1.0, is_up)
    presence.close()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "7",
        "{}",
        "[7]",
        '["sealed"]',
        '[["sealed"]]',
        '[["sealed", "x"]]',
        '[["seald", 1]]',
        '[["frames", 1, []]]',
        "[" * 99_999,
    ],
)
def test_a_snapshot_that_is_none_is_empty(tmp_path: Path, text: str) -> None:
    """Missing or damaged: no values yet, no error."""
    assert not read_snapshot(tmp_path, "capture")[0]
    snapshot_path(tmp_path, "capture").write_text(text)
    measured, _ = read_snapshot(tmp_path, "capture")
    assert not measured


def test_metrics_of_an_earlier_version_are_removed(tmp_path: Path) -> None:
    """They lay in the state directory, where nothing would renew them."""
    for name in ("capture.prom", "upload.prom", "last-link"):
        (tmp_path / name).write_text("x")
    make_state_dir(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["last-link"]


def test_a_state_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """One line with the path."""
    make_state_dir(tmp_path / "state")
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="state_dir: cannot make"):
        make_state_dir(tmp_path / "missing" / "state")


def test_a_prepared_daemon_dumps_no_core_and_stops_on_sigterm() -> None:
    """In a process of its own: core limit 0, not dumpable, umask 077, SIGTERM sets the event."""
    script = (
        "import os, resource, signal, ctypes\n"
        "from agent.unit.process.prepare import prepare_daemon\n"
        "stop = prepare_daemon()\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),"
        " oct(os.umask(0)), stop.is_set())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0) 0 0o77 True"
    assert resource.getrlimit(resource.RLIMIT_CORE) is not None


def test_two_units_in_one_runtime_directory_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once: what each of them writes would hide the other's, and neither would be known to run."""
    with MetricsFiles(tmp_path, "capture", tuple), caplog.at_level(logging.ERROR):
        with MetricsFiles(tmp_path, "capture", tuple):
            assert "each unit needs a runtime_dir of its own" in caplog.text
        assert len(caplog.records) == 1
        assert read_snapshot(tmp_path, "capture")[1]

"""The daemons' small parts: metrics file, plaintext of a passage, process hardening."""

from __future__ import annotations

import logging
import resource
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from agent.config.load import load_config
from agent.config.models import CameraConfig
from agent.errors import ConfigError, InferenceError
from agent.records import ClockState, Detection, Direction, Passage, PlateRead, PlateText
from agent.unit.capture.describe import describe
from agent.unit.process.state import make_state_dir
from agent.unit.status.metrics import MetricsFile, Samples, labelled, read_metrics
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


def test_metrics_are_written_and_read_back(tmp_path: Path) -> None:
    """Counters get `_total`, gauges keep their name; the last values are written at the end."""
    values: Samples = {"sealed": 1.0, "pending": 7.0}
    path = tmp_path / "capture.prom"
    with MetricsFile(path, lambda: values, counters=frozenset({"sealed"})):
        assert read_metrics(path)["sealed_total"] == 1.0
        values["sealed"] = 5.0
    assert {name: value for name, value in read_metrics(path).items() if "created" not in name} == {
        "sealed_total": 5.0,
        "pending": 7.0,
    }
    assert "plateseal_sealed_total 5.0" in path.read_text()


def test_metrics_with_labels_are_read_back_each_and_together(tmp_path: Path) -> None:
    """One family a name, whatever the order; whoever asks for the name gets the sum."""
    values: Samples = {
        labelled("frames", camera="north"): 3.0,
        "sealed": 1.0,
        labelled("frames", camera="south"): 4.0,
        labelled("rejected", camera="south", reason="unsure"): 2.0,
    }
    path = tmp_path / "capture.prom"
    MetricsFile(path, lambda: values, counters=frozenset({"frames", "rejected"})).write()
    found = read_metrics(path)
    assert found["frames_total"] == 7.0
    assert found['frames_total{camera="south"}'] == 4.0
    assert found['rejected_total{camera="south",reason="unsure"}'] == 2.0
    assert path.read_text().count("# TYPE plateseal_frames_total counter") == 1


def test_metrics_that_cannot_be_written_stop_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Logged once, not raised."""
    metrics = MetricsFile(tmp_path / "missing" / "x.prom", lambda: {"sealed": 1.0}, counters=frozenset())
    with caplog.at_level(logging.WARNING):
        metrics.write()
        metrics.write()
    assert len(caplog.records) == 1


def test_a_metrics_file_that_is_none_is_empty(tmp_path: Path) -> None:
    """Missing or damaged: no values yet, no error."""
    (tmp_path / "bad.prom").write_text("plateseal_x not-a-number\n")
    assert read_metrics(tmp_path / "bad.prom") == read_metrics(tmp_path / "missing.prom") == {}


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

"""`plateseal status` and `plateseal doctor` as a person or a script sees them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.bench.demo import device_config, set_up_parts
from agent.cli.main import app
from agent.errors import SourceLostError, UnitFaultError, UsageError
from agent.health.assess import Level, assess
from agent.health.limits import FULL_SHARE, SLOW_CAMERA_MS
from agent.receiver.fleet.overview import assess_unit
from agent.receiver.fleet.store import Reported
from agent.unit.status.last_error import last_error, noted_errors
from agent.unit.status.metrics import MetricsFiles
from agent.unit.status.samples import Sample, Snapshot
from agent.unit.status.text import status_lines, was_answered
from tests.fakes.health import NOW, make_report, troubled

RUN = CliRunner(env={"COLUMNS": "80", "TERM": "dumb"})
CLIP = Path(__file__).parents[3] / "agent" / "bench" / "clips" / "demo.mp4"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the configuration of a unit whose daemons do not run."""
    set_up_parts(tmp_path / "bench")
    found = tmp_path / "bench" / "device" / "unit.toml"
    found.write_text(device_config(tmp_path / "bench" / "receiver", port=1, clip=CLIP, models=None))
    for name in ("state", "spool"):
        (found.parent / name).mkdir(mode=0o700)
    return found


@pytest.mark.parametrize("number", range(10))
def test_one_screen_is_enough_for_any_trouble(number: int) -> None:
    """At most 24 lines, each part on its own, and what is wrong is marked."""
    report = troubled(number, make_report())
    lines = list(status_lines(report, assess(report), receiver_up=True, now=NOW))
    assert len(lines) <= 20
    assert all(len(line.name) + len(line.text) < 78 for line in lines if line.name != "last error")
    assert any(not line.is_good for line in lines)
    assert all(line.is_good for line in status_lines(make_report(), assess(make_report()), receiver_up=True, now=NOW))


@pytest.mark.parametrize("number", range(10))
def test_the_status_and_the_fleet_page_say_the_same_words(number: int) -> None:
    """Every finding is one marked line here, with the words that the page has."""
    report = troubled(number, make_report())
    marked = {
        (line.name, line.text)
        for line in status_lines(report, assess(report), receiver_up=True, now=NOW)
        if not line.is_good
    }
    state = assess_unit("unit", Reported(NOW, report), NOW)
    assert marked
    assert marked == {(finding.about, finding.words) for finding in state.findings}


def test_the_edges_are_marked_in_both_places() -> None:
    """A camera that is behind, and a spool that is nearly full of what came just now."""
    report = make_report()
    slow = replace(report, cameras=(replace(report.cameras[0], lag_ms=SLOW_CAMERA_MS),))
    backlog = replace(report.backlog, count=9, oldest_s=1, size_bytes=round(report.backlog.max_bytes * FULL_SHARE) + 1)
    for spoiled in (slow, replace(report, backlog=backlog)):
        assert sum(not line.is_good for line in status_lines(spoiled, assess(spoiled), receiver_up=True, now=NOW)) == 1
        assert [finding.level > Level.FINE for finding in assess(spoiled)] == [True]


@pytest.mark.parametrize(
    ("sent_bytes", "link_up", "answered"), [(None, None, None), (0, 0, None), (9, 0, False), (9, 1, True)]
)
def test_nothing_sent_is_no_failure(sent_bytes: int | None, link_up: int | None, answered: bool | None) -> None:
    """A unit without reads has no link to speak of."""
    values = {"sent_bytes": sent_bytes, "link_up": link_up}
    upload = Snapshot(Sample(name, value) for name, value in values.items() if value is not None)
    assert was_answered(upload) is answered


def test_a_unit_that_stands_still_says_so(config: Path) -> None:
    """Neither daemon runs; the spool is empty; 80 columns hold every line."""
    done = RUN.invoke(app, ["status", "--config", str(config)])
    assert done.exit_code == 0
    assert "! capture" in done.output
    assert "! upload" in done.output
    assert "empty" in done.output
    assert all(len(line) <= 80 for line in done.output.splitlines())


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_who_may_not_look_is_not_told_that_nothing_runs(
    config: Path, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line, and no finding; tests run as root, who may look everywhere."""

    def refuse(path: Path) -> Iterator[Path]:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    done = RUN.invoke(app, [command, "--config", str(config)])
    assert isinstance(done.exception, UsageError)
    assert str(done.exception).endswith("state: closed to this user; run this as root, with sudo")
    assert done.output == ""


def test_what_the_daemons_wrote_is_shown(config: Path) -> None:
    """Metrics of running daemons, the newest error line of either, and the same as JSON."""
    state = config.parent / "state"
    capture = [
        Sample("camera_up", 1.0, ("demo",)),
        Sample("camera_clock_offset_seconds", -0.0924, ("demo",)),
        Sample("camera_clock_drift_ratio", 20e-6, ("demo",)),
        Sample("camera_clock_watched_seconds", 7200.9, ("demo",)),
        Sample("camera_clock_dates", 1.0, ("demo",)),
        Sample("sealed", 7.0),
        Sample("chain_sequence", 7.0),
        Sample("rejected_passages", 2.0, ("demo", "few")),
    ]
    upload = {"pending": 3, "pending_bytes": 36_000, "pending_oldest_seconds": 61.0, "link_up": 0, "sent_bytes": 5}
    with pytest.raises(SourceLostError), noted_errors(state, "capture"):
        raise SourceLostError("rtsp://192.0.2.1: gone\nfor good")
    with (
        MetricsFiles(state / "run", "capture", lambda: capture),
        MetricsFiles(state / "run", "upload", lambda: [Sample(name, value) for name, value in upload.items()]),
    ):
        text = RUN.invoke(app, ["status", "--config", str(config)]).output
        value = json.loads(RUN.invoke(app, ["status", "--config", str(config), "--json"]).output)
    assert "7 sealed, 2 passages rejected, next is 7" in text
    assert "3 waiting, 0.0 MB (0% full), oldest 1 min" in text
    assert "receiver is not reached" in text
    assert "capture ended: rtsp://192.0.2.1: gone for good" in " ".join(text.split())
    assert value["reads"]["sealed"] == 7
    assert "its clock -0.09 s from the unit's, +1.7 s a day, dates its frames" in " ".join(text.split())
    assert value["cameras"][0]["clock"] == {
        "offset_ms": -92, "drift_ms_per_day": 1728, "watched_s": 7200, "dates": True,
    }  # fmt: skip
    assert value["backlog"]["count"] == 3


def test_the_newest_error_of_both_daemons_counts(tmp_path: Path) -> None:
    """A damaged note is none, and a disk that refuses stops nobody."""
    assert last_error(tmp_path) is None
    for daemon in ("capture", "upload"):
        with pytest.raises(UnitFaultError), noted_errors(tmp_path, daemon):
            raise UnitFaultError(f"of {daemon}")
    older = tmp_path / "last-error-capture.json"
    older.write_text(json.dumps({**json.loads(older.read_text()), "at": "2026-01-01T00:00:00+00:00"}))
    newest = last_error(tmp_path)
    assert newest is not None
    assert newest.line == "upload ended: of upload"
    for damage in ("", "{", "[]", '{"at": "now", "line": "x"}', '{"at": "2026-01-01", "line": "x"}'):
        (tmp_path / "last-error-upload.json").write_text(damage)
        found = last_error(tmp_path)
        assert found is not None
        assert found.line == "capture ended: of capture"
    with pytest.raises(UnitFaultError), noted_errors(tmp_path / "gone", "capture"):
        raise UnitFaultError("still itself")


def test_the_doctor_ends_with_a_status_for_scripts(config: Path) -> None:
    """As text and as JSON: each finding, and the error of the tree for the faults."""
    shutil.rmtree(config.parent / "spool")
    done = RUN.invoke(app, ["doctor", "--config", str(config)])
    assert isinstance(done.exception, UnitFaultError)
    assert "FAULT receiver" in done.output
    assert "mend" in done.output
    value = json.loads(RUN.invoke(app, ["doctor", "--config", str(config), "--json"]).output)
    found = {finding["check"]: finding["outcome"] for finding in value["findings"]}
    assert found["receiver"] == "fault"
    assert found["models"] == found["certificate"] == "good"

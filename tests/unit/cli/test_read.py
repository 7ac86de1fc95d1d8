"""`plateseal read`: what goes to standard output, what to standard error, and how it ends."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import cv2
import pytest
import typer
from typer.testing import CliRunner, Result

from agent.cli.read import read
from agent.cli.reading import _public
from agent.errors import ModelMissingError, SourceError, UsageError
from agent.records import Detection
from agent.vision.tracker import iou
from tests.fakes.recordings import record
from tests.needs import SHARED
from tests.toy_models import render_clip, render_frame, write_toy_models

KEYS = [
    "source", "frame", "captured_at", "text", "confidence", "chars", "box", "region", "detector_confidence", "votes",
    "looks", "time_source", "seen", "format",
]  # fmt: skip
EU = SHARED / "data" / "openalpr-eu"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of toy models."""
    return write_toy_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip with two vehicles."""
    return render_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", ["KRW482", "XBT739"]).clip


def _run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(read)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def _picture(path: Path, text: str = "KRW482") -> Path:
    cv2.imwrite(str(path), render_frame([(text, (200, 120, 340, 166))]))
    return path


def _iou(one: list[int], other: list[int]) -> float:
    return iou(Detection(*one, 1.0), Detection(*other, 1.0))  # type: ignore[call-arg]


def test_a_clip_gives_one_documented_line_per_passage(models: Path, clip: Path) -> None:
    """Keys in the documented order, values in the documented form, nothing but JSON on standard output."""
    result = _run(clip, "--models", models, "--jsonl", "-")
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["KRW482", "XBT739"]
    for line in lines:
        assert list(line) == KEYS
        assert line["source"] == str(clip)
        assert datetime.fromisoformat(line["captured_at"]).utcoffset() is not None
        assert line["captured_at"].endswith("Z")
        assert len(line["chars"]) == 6
        assert line["confidence"] == pytest.approx(sum(line["chars"]) / 6, abs=1e-3)
        assert 2 <= line["votes"] <= line["looks"]
        assert len(line["box"]) == 4
        assert line["region"] is None
        assert line["time_source"] == "pts"


def test_a_picture_gives_one_line_per_plate(models: Path, tmp_path: Path) -> None:
    """A still is one look, said as one vote of one."""
    result = _run(_picture(tmp_path / "a.png"), "--models", models, "--jsonl", "-")
    (line,) = [json.loads(row) for row in result.stdout.splitlines()]
    assert (line["text"], line["votes"], line["looks"], line["frame"]) == ("KRW482", 1, 1, 0)
    assert all(abs(got - wanted) <= 4 for got, wanted in zip(line["box"], (200, 120, 340, 166), strict=True))


def test_a_folder_goes_on_after_a_bad_picture(models: Path, tmp_path: Path) -> None:
    """The good ones are read; the bad one is named at the end, and the command fails."""
    _picture(tmp_path / "1.png")
    (tmp_path / "2.png").write_bytes(b"nothing")
    _picture(tmp_path / "3.png", "XBT739")
    result = _run(tmp_path, "--models", models, "--jsonl", "-")
    assert [json.loads(row)["text"] for row in result.stdout.splitlines()] == ["KRW482", "XBT739"]
    assert isinstance(result.exception, SourceError)
    assert "2.png: not a picture" in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_picture_that_moves_is_read_as_a_recording(models: Path, clip: Path, tmp_path: Path) -> None:
    """Its passages come, one a vehicle; a still of the same kind gives one line a plate."""
    video, made = cv2.VideoCapture(str(clip)), cv2.Animation()
    while (came := video.read())[0]:
        made.frames = [*made.frames, came[1]]
    made.durations = [67] * len(made.frames)
    cv2.imwriteanimation(str(tmp_path / "a.webp"), made)
    result = _run(tmp_path / "a.webp", "--models", models, "--jsonl", "-")
    lines = [json.loads(row) for row in result.stdout.splitlines()]
    assert [line["text"] for line in lines] == ["KRW482", "XBT739"]
    assert all(line["time_source"] == "pts" and line["looks"] > 1 for line in lines)
    (line,) = _run(_picture(tmp_path / "b.webp"), "--models", models, "--jsonl", "-").stdout.splitlines()
    assert json.loads(line)["looks"] == 1


def test_a_recording_with_too_few_looks_says_so(models: Path, tmp_path: Path) -> None:
    """One frame, or one a second: who finds nothing learns why, and that one setting lets single looks pass."""
    slow = render_clip(tmp_path / "slow.avi", ["KRW482"], fps=1.0).clip
    once = record(tmp_path / "once.mp4", [render_frame([])])
    result = _run(slow, once, "--models", models)
    assert "slow.avi: has a frame every 1.0 s, and min_votes = 2 wants two looks" in result.stderr
    assert "once.mp4: has 1 frame, and min_votes = 2 wants two looks" in result.stderr
    assert "min_votes" not in _run(_picture(tmp_path / "a.png"), "--models", models).stderr


def test_other_sources_are_read_after_a_bad_one(models: Path, clip: Path, tmp_path: Path) -> None:
    """Each bad source is one line."""
    arguments = [tmp_path / "none.mp4", clip, tmp_path / "neither", "--models", models, "--jsonl", "-"]
    result = _run(*arguments)
    assert len(result.stdout.splitlines()) == 2
    assert isinstance(result.exception, SourceError)
    lines = str(result.exception).splitlines()
    assert [line.split(":")[0] for line in lines] == [str(tmp_path / "none.mp4"), str(tmp_path / "neither")]


def test_the_plates_before_a_cut_are_read(models: Path, tmp_path: Path) -> None:
    """A truncated video gives what it has, and then fails."""
    clip = render_clip(tmp_path / "clip.avi", ["KRW482", "XBT739"]).clip
    content = clip.read_bytes()
    clip.write_bytes(content[: int(len(content) * 0.6)])
    result = _run(clip, "--models", models, "--jsonl", "-")
    assert [json.loads(row)["text"] for row in result.stdout.splitlines()] == ["KRW482"]
    assert isinstance(result.exception, SourceError)
    assert "cut off" in str(result.exception)


def test_jsonl_to_a_file_is_for_the_user_only(models: Path, clip: Path, tmp_path: Path) -> None:
    """Plates in clear were asked for, by one user; nothing goes to standard output."""
    target = tmp_path / "reads.jsonl"
    result = _run(clip, "--models", models, "--jsonl", target)
    assert (result.exit_code, result.stdout) == (0, "")
    assert len(target.read_text().splitlines()) == 2
    assert target.stat().st_mode & 0o777 == 0o600


def test_an_unwritable_jsonl_is_a_usage_error(models: Path, clip: Path, tmp_path: Path) -> None:
    """Said before the first frame."""
    result = _run(clip, "--models", models, "--jsonl", tmp_path / "none" / "reads.jsonl")
    assert isinstance(result.exception, UsageError)


def test_without_jsonl_a_table_is_shown(models: Path, clip: Path) -> None:
    """Readable, with the totals; brackets in names are no markup."""
    result = _run(clip, "--models", models)
    assert result.exit_code == 0
    assert "2 plates" in result.stdout


def test_nothing_found_is_said(models: Path, tmp_path: Path) -> None:
    """An empty answer is an answer."""
    cv2.imwrite(str(tmp_path / "a.png"), render_frame([]))
    assert "no plate found" in _run(tmp_path, "--models", models).stdout
    assert _run(tmp_path, "--models", models, "--jsonl", "-").stdout == ""


def test_an_interrupt_ends_quietly_with_130(models: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read is shown; no traceback."""

    def interrupt(*_: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr("agent.vision.PlatePipeline.process", interrupt)
    result = _run(clip, "--models", models)
    assert result.exit_code == 130
    assert "Traceback" not in result.output


def test_missing_models_are_one_error(clip: Path, tmp_path: Path) -> None:
    """Before any frame, with the way out in the message."""
    result = _run(clip, "--models", tmp_path)
    assert isinstance(result.exception, ModelMissingError)
    assert "plateseal models fetch" in str(result.exception)


def test_a_preview_shows_what_was_read(models: Path, clip: Path, tmp_path: Path) -> None:
    """Of each picture, and of frames with a plate; for the user's eyes only."""
    folder = tmp_path / "preview"
    result = _run(clip, _picture(tmp_path / "a.png"), "--models", models, "--preview", folder, "--jsonl", "-")
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in folder.iterdir())
    assert names[0] == "a.png-000000.jpg"
    best = {f"clip.mp4-{json.loads(line)['frame']:06}.jpg" for line in result.stdout.splitlines()[:2]}
    assert best <= set(names)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    pictures = [cv2.imread(str(path)) for path in folder.iterdir()]
    assert all(picture is not None and picture.shape == (360, 640, 3) for picture in pictures)


def test_a_preview_overwrites_nothing(models: Path, tmp_path: Path) -> None:
    """A folder that holds something is refused before a picture is looked at."""
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "a.jpg").write_text("mine")
    result = _run(_picture(tmp_path / "a.png"), "--models", models, "--preview", tmp_path / "old")
    assert isinstance(result.exception, UsageError)
    assert "not empty" in str(result.exception)
    assert (tmp_path / "old" / "a.jpg").read_text() == "mine"


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("rtsp://admin:hunter2@camera:554/live", "rtsp://camera:554/live"),
        ("rtsp://camera/live", "rtsp://camera/live"),
        ("clips/a@b.mp4", "clips/a@b.mp4"),
    ],
)
def test_a_cameras_password_is_not_written(source: str, shown: str) -> None:
    """The source of each line is public."""
    assert _public(source) == shown


@pytest.mark.needs("shared-data", "shared-models")
def test_real_pictures_have_their_plates_found() -> None:
    """At least 100 of the 108 European pictures, with the development models."""
    result = _run(EU, "--models", SHARED / "models", "--jsonl", "-")
    assert result.exit_code == 0
    labels = {
        row["file"]: row["plates"][0]["box"] for row in map(json.loads, (EU / "labels.jsonl").read_text().splitlines())
    }
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    found = {name for line in lines if _iou(line["box"], labels[name := Path(line["source"]).name]) >= 0.5}
    assert len(found) >= 100


def test_the_cameras_clock_is_for_cameras_that_show_one(clip: Path) -> None:
    """A recording has its own times: what is asked for is not passed over in silence."""
    result = _run(clip, "--clock", "camera")
    assert isinstance(result.exception, UsageError)
    assert "--clock camera is for rtsp:// cameras" in str(result.exception)


def test_reads_say_what_was_seen_and_the_format(models: Path, tmp_path: Path) -> None:
    """Without --plates the text is what was seen, and there is no format."""
    picture = _picture(tmp_path / "a.png", "KRW482")
    for plates, plate_format in (((), None), (("--plates", "BR,se"), "SE-1973"), (("--plates", "BR"), None)):
        result = _run(picture, "--models", models, *plates, "--jsonl", "-")
        (line,) = map(json.loads, result.stdout.splitlines())
        assert (line["text"], line["seen"], line["format"]) == ("KRW482", "KRW482", plate_format)


def test_a_country_that_is_not_known_is_a_users_mistake(models: Path, tmp_path: Path) -> None:
    """One line, with the countries there are."""
    result = _run(_picture(tmp_path / "a.png"), "--models", models, "--plates", "BR,XX")
    assert isinstance(result.exception, UsageError)
    assert str(result.exception).startswith("--plates: no formats of 'XX' are known; there are AD, AL")
    assert "\n" not in str(result.exception)

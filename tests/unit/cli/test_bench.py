"""`plateseal bench`: what it prints, what it writes, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from agent.cli.bench import bench
from agent.errors import ModelMissingError, SourceDamagedError, UsageError
from tests.fakes.recordings import packets, spoil
from tests.toy_models import ToyClip, render_clip, write_toy_models


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of toy models."""
    return write_toy_models(tmp_path_factory.mktemp("toys"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> ToyClip:
    """A clip with two vehicles and its truth beside it."""
    return render_clip(tmp_path_factory.mktemp("clip") / "clip.mp4", ["KRW482", "XBT739"])


def _run(*arguments: object) -> Result:
    app = typer.Typer()
    app.command()(bench)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_bench_scores_compares_and_reports(toys: Path, clip: ToyClip, tmp_path: Path) -> None:
    """One run: a summary without plates, the figures, and a report for the user's eyes only."""
    html, figures_file = tmp_path / "report.html", tmp_path / "bench.json"
    html.write_text("an older one")
    html.chmod(0o644)
    arguments = ["--models", toys, "--compare", "fast-alpr", "--html", html, "--json", figures_file]
    result = _run(clip.clip, *arguments)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    assert "2 of 2 vehicles read exactly" in result.stdout
    assert str(html) in result.stdout.replace("\n", "")
    figures = json.loads(figures_file.read_text())
    assert (figures["frames"], figures["exact"], figures["missed"]) == (69, 2, 0)
    assert figures["compare"]["exact"] == 2
    assert html.stat().st_mode & 0o777 == 0o600
    assert all(text in html.read_text() for text in clip.texts)
    assert not any(text in result.output + figures_file.read_text() for text in clip.texts)


def test_what_was_lost_is_counted_and_told(toys: Path, tmp_path: Path) -> None:
    """The figures are there, with the frames that were lost; then the line of the damage, with its exit code."""
    damaged = render_clip(tmp_path / "damaged.mp4", ["KRW482"]).clip
    spoil(damaged, packets(damaged)[5:6])
    result = _run(damaged, "--models", toys, "--json", "-")
    assert isinstance(result.exception, SourceDamagedError)
    assert json.loads(result.stdout)["frames_lost"] >= 1


def test_a_clip_with_too_few_looks_says_so(toys: Path, tmp_path: Path) -> None:
    """One frame a second is no road that can be read, and why is told beside the figures."""
    slow = render_clip(tmp_path / "slow.avi", ["KRW482"], fps=1.0).clip
    result = _run(slow, "--models", toys, "--json", "-")
    assert "slow.avi: has a frame every 1.0 s, and min_votes = 2 wants two looks" in result.stderr
    assert json.loads(result.stdout)["frames"] == 42


def test_figures_alone_go_to_standard_output(toys: Path, clip: ToyClip, tmp_path: Path) -> None:
    """`--json -` prints JSON and nothing else; without a truth there is no score."""
    lonely = tmp_path / "lonely.mp4"
    lonely.write_bytes(clip.clip.read_bytes())
    result = _run(lonely, "--models", toys, "--json", "-")
    figures = json.loads(result.stdout)
    assert (figures["frames"], figures["exact"], figures["compare"]) == (69, None, None)


@pytest.mark.needs("campaigns")
def test_the_clips_own_pace_is_kept(toys: Path, tmp_path: Path) -> None:
    """A clip of a second takes a second."""
    short = render_clip(tmp_path / "short.mp4", [])
    figures = json.loads(_run(short.clip, "--models", toys, "--pace", "real", "--json", "-").stdout)
    assert figures["seconds"] >= 14 / 15


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["none.mp4"], UsageError, "none.mp4: no such file"),
        (["CLIP", "--truth", "none.json"], UsageError, "none.json"),
        (["CLIP", "--html", "none/report.html"], UsageError, "--html"),
        (["CLIP", "--models", "none"], ModelMissingError, "no such folder"),
    ],
)
def test_a_mistake_is_one_line(
    clip: ToyClip, arguments: list[str], error: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What, where, and before the clip is played."""
    monkeypatch.chdir(clip.clip.parent)
    result = _run(*[str(clip.clip) if one == "CLIP" else one for one in arguments])
    assert isinstance(result.exception, error)
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)


def test_a_units_settings_hold(toys: Path, clip: ToyClip, tmp_path: Path) -> None:
    """`--config` takes its vision settings, here a mask over the whole picture."""
    from tests.unit.config.test_load import GOOD

    config = tmp_path / "unit.toml"
    mask = "[[vision.mask]]\npolygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]\n"
    config.write_text(GOOD.replace("/opt/models", str(toys)) + mask)
    figures = json.loads(_run(clip.clip, "--config", config, "--json", "-").stdout)
    assert (figures["exact"], figures["missed"]) == (0, 2)

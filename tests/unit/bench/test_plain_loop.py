"""Making vehicles of a loop's texts: majority by visible span, runs of frames elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.bench.plain_loop import count_runs, open_plain_loop, score_sightings
from agent.bench.truth import EDGE_FRAMES, Score, Truth, TruthPass
from agent.config.models import VisionConfig
from agent.errors import ModelMissingError
from tests.toy_models import render_frame, write_toy_models

TRUTH = Truth(
    frames=300, passes=(TruthPass(text="AAA111", first=20, last=40), TruthPass(text="BBB222", first=90, last=99))
)
Seen = list[tuple[int, list[str]]]


@pytest.mark.parametrize(
    ("sightings", "expected"),
    [
        ([], Score(2, 0, 0, 2, 0, 0)),
        ([(20, ["AAA111"])], Score(2, 1, 0, 1, 0, 0)),
        ([(20, ["AAA11I"]), (21, ["AAA111"]), (22, ["AAA111"])], Score(2, 1, 0, 1, 0, 0)),
        ([(20, ["AAA11I"]), (21, ["AAA11I"]), (22, ["AAA111"])], Score(2, 0, 1, 1, 0, 0)),
        ([(20, ["AAA111"]), (21, ["AAA111", "CAFE"]), (22, ["CAFE", "AAA111"])], Score(2, 1, 0, 1, 0, 1)),
        ([(20, ["CAFE"]), (21, ["AAA111", "CAFE"]), (22, ["CAFE", "AAA111"])], Score(2, 1, 0, 1, 0, 1)),
        ([(20, ["CAFE"]), (21, ["CAFE"]), (22, ["AAA111"])], Score(2, 0, 0, 2, 0, 1)),
        ([(20, ["AAA111"]), (21, ["AAA111", "AA111"]), (22, ["AA111"]), (23, ["AAA111"])], Score(2, 1, 0, 1, 1, 0)),
        ([(60, ["X"]), (61, ["X"]), (62, ["Y"])], Score(2, 0, 0, 2, 0, 1)),
        ([(60, ["X"]), (60 + EDGE_FRAMES + 1, ["X"])], Score(2, 0, 0, 2, 0, 2)),
        ([(95, ["BBB222"]), (200, []), (201, ["Z"])], Score(2, 1, 0, 1, 0, 1)),
    ],
    ids=[
        "nothing",
        "once",
        "majority",
        "outvoted",
        "a sign beside it",
        "a larger sign",
        "a sign alone",
        "a fragment",
        "one run",
        "two runs",
        "an empty frame",
    ],
)
def test_texts_are_grouped_by_majority_per_visible_span(sightings: Seen, expected: Score) -> None:
    """A vehicle has one text; what is like it and came twice besides is a duplicate, the rest is spurious."""
    assert score_sightings(TRUTH, sightings) == expected


def test_runs_are_counted_by_their_gaps() -> None:
    """A gap of as many frames as a passage may be off is still one run."""
    assert count_runs([]) == 0
    assert count_runs([0, 1, 1 + EDGE_FRAMES, 2 + 2 * EDGE_FRAMES]) == 2


@pytest.mark.parametrize("threads", [None, 1])
def test_the_loop_reads_what_fast_alpr_reads(tmp_path: Path, threads: int | None) -> None:
    """The real library on toy models: one text a plate, by its own detector and reader, with any threads."""
    vision = VisionConfig(models=write_toy_models(tmp_path / "toys"))
    predict, names = open_plain_loop(vision, threads=threads)
    assert names == ("toy-detector", "toy-reader")
    assert predict(render_frame([("KRW482", (200, 120, 340, 166))])) == ["KRW482"]
    assert predict(render_frame([])) == []


def test_a_loop_without_a_square_detector_is_refused(tmp_path: Path) -> None:
    """fast-alpr takes no other; said by name."""
    toys = write_toy_models(tmp_path / "toys")
    manifest = toys / "manifest.toml"
    manifest.write_text(manifest.read_text().replace("input_wh = [384, 384]", "input_wh = [384, 224]"))
    with pytest.raises(ModelMissingError, match="square"):
        open_plain_loop(VisionConfig(models=toys))

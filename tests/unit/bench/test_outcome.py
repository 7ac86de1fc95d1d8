"""The figures of a bench: their keys, and what they say of runs whose answer is known."""

from __future__ import annotations

import json

import pytest

from agent.bench.match import Run
from agent.bench.measured import Played, SeenPassage, Sighting
from agent.bench.outcome import make_outcome, percentile
from agent.bench.truth import Truth, TruthPass, Verdict

TRUTH = Truth(
    frames=150,
    passes=(
        TruthPass(text="AAA111", first=10, last=30),
        TruthPass(text="BBB222", first=60, last=80),
        TruthPass(text="CCC333", first=110, last=130),
        TruthPass(text="DDD444", first=140, last=145),
    ),
)
KEYS = [
    "frames", "seconds", "fps", "cpu_seconds", "decode_seconds", "rss_mb", "passages", "exact", "missed", "misread",
    "spurious", "duplicates", "recall", "precision", "latency_ms", "compare",
]  # fmt: skip
COMPARE_KEYS = ["name", "seconds", "fps", "cpu_seconds", "exact", "missed", "misread", "spurious"]


def passage(text: str, frame: int, *, latency_s: float = 0.2) -> SeenPassage:
    """Return a passage whose best look is at `frame` of 15 a second."""
    at_s = frame / 15
    return SeenPassage(
        text=text,
        confidence=0.9,
        votes=3,
        looks=4,
        frame=frame,
        first_s=at_s - 0.5,
        last_s=at_s + 0.5,
        reported_s=at_s + 0.5 + latency_s,
        direction="approaching",
    )


def run(played: Played, *, seconds: float = 2.0, cpu_seconds: float = 1.0) -> Run:
    """Return a run of 150 frames."""
    return Run(150, seconds, cpu_seconds, (100 << 20,), played)


OURS = Played(
    peak_rss_bytes=200 << 20,
    stream_s=149 / 15,
    passages=(
        passage("AAA111", 20),
        passage("AAA11I", 25, latency_s=0.4),
        passage("BBB22Z", 70),
        passage("EEE555", 45),
        passage("CCC333", 120),
    ),
    rejected={"unsure": 2},
)
LOOP = Played(
    peak_rss_bytes=300 << 20,
    sightings=(Sighting(frame=20, texts=("AAA111",)), Sighting(frame=120, texts=("CCC333",))),
)
DECODING = run(Played(peak_rss_bytes=1), seconds=0.5, cpu_seconds=0.5)


def test_the_json_has_the_documented_keys_and_no_plate_text() -> None:
    """Those that other tools rely on, with their values; texts stay out of it."""
    figures = make_outcome([run(OURS), DECODING, run(LOOP, seconds=20.0, cpu_seconds=10.0)], TRUTH).as_json()
    assert [key for key in figures if key in KEYS] == KEYS
    assert {key: figures[key] for key in KEYS[:-2]} == {
        "frames": 150,
        "seconds": 2.0,
        "fps": 75.0,
        "cpu_seconds": 1.0,
        "decode_seconds": 0.5,
        "rss_mb": 200.0,
        "passages": 5,
        "exact": 2,
        "missed": 1,
        "misread": 1,
        "spurious": 1,
        "duplicates": 1,
        "recall": 0.5,
        "precision": 0.4,
    }
    assert figures["latency_ms"] == {"p50": 200.0, "p99": 400.0}
    compare = figures["compare"]
    assert isinstance(compare, dict)
    assert {key: compare[key] for key in COMPARE_KEYS} == {
        "name": "fast-alpr",
        "seconds": 20.0,
        "fps": 7.5,
        "cpu_seconds": 10.0,
        "exact": 2,
        "missed": 2,
        "misread": 0,
        "spurious": 0,
    }
    text = json.dumps(figures)
    assert not any(plate in text for plate in ("AAA", "BBB", "CCC", "EEE"))


def test_ratios_are_of_the_same_run() -> None:
    """Frames a second and processor time against the loop, and against decoding alone."""
    outcome = make_outcome([run(OURS), DECODING, run(LOOP, seconds=20.0, cpu_seconds=10.0)], TRUTH)
    assert (outcome.speedup, outcome.cpu_share, outcome.cpu_over_decoding) == (10.0, 0.1, 2.0)


def test_each_passage_is_judged() -> None:
    """The exact one of a vehicle counts; its other one is a duplicate."""
    judged = make_outcome([run(OURS), DECODING], TRUTH).judged
    assert [(one.verdict, one.vehicle) for one in judged] == [
        (Verdict.EXACT, 0),
        (Verdict.DUPLICATE, 0),
        (Verdict.MISREAD, 1),
        (Verdict.SPURIOUS, None),
        (Verdict.EXACT, 2),
    ]


def test_without_a_truth_or_a_rival_their_figures_are_null() -> None:
    """Nothing is made up, and an empty road divides by nothing."""
    figures = make_outcome([run(Played(peak_rss_bytes=1)), DECODING], None).as_json()
    for key in ("exact", "missed", "misread", "spurious", "duplicates", "recall", "precision", "compare"):
        assert figures[key] is None
    assert figures["latency_ms"] == {"p50": None, "p99": None}


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([], 0.5, None), ([3.0], 0.99, 3.0), ([1.0, 2.0], 0.5, 1.0), ([4.0, 1.0, 3.0, 2.0], 0.99, 4.0)],
)
def test_percentiles_are_values_that_came(values: list[float], share: float, expected: float | None) -> None:
    """The least that so many do not exceed."""
    assert percentile(values, share) == expected

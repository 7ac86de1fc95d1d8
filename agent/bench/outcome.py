"""From the contestants' runs to the figures of a bench. Pure.

Owns: the figures, their JSON names and the scores. Leaves to others: playing (`match`), showing (`report`, the
command).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from agent.bench.match import Run
from agent.bench.plain_loop import count_runs, score_sightings
from agent.bench.truth import Judged, Score, ScoredPassage, Truth, judge, score

MIB = 1 << 20
VERDICTS: Final = ("exact", "missed", "misread", "spurious", "duplicates")
"""Counts of a score, in the order of the JSON."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A bench that was played.

    Attributes:
        run: What plateseal itself made of the clip.
        decoding: Decoding alone, beside it.
        loop: The plain loop's, if it was compared.
        truth: The clip's truth, if known.
        judged: What each passage is; empty without a truth.
    """

    run: Run
    decoding: Run
    loop: Run | None
    truth: Truth | None = field(repr=False)
    judged: tuple[Judged, ...]

    @property
    def score(self) -> Score | None:
        """How plateseal's passages compare with the truth."""
        if self.truth is None:
            return None
        return score(self.truth, [ScoredPassage(one.text, one.frame) for one in self.run.played.passages])

    @property
    def loop_score(self) -> Score | None:
        """How the loop's texts do."""
        if self.truth is None or self.loop is None:
            return None
        return score_sightings(self.truth, [(one.frame, one.texts) for one in self.loop.played.sightings])

    @property
    def latencies_ms(self) -> list[float]:
        """Stream time from the last look of each vehicle to its passage, milliseconds."""
        return [(one.reported_s - one.last_s) * 1000 for one in self.run.played.passages]

    @property
    def speedup(self) -> float | None:
        """Frames a second, in the loop's."""
        return None if self.loop is None or not self.loop.fps else self.run.fps / self.loop.fps

    @property
    def cpu_share(self) -> float | None:
        """Processor time, in the loop's."""
        return None if self.loop is None or not self.loop.cpu_seconds else self.run.cpu_seconds / self.loop.cpu_seconds

    @property
    def cpu_over_decoding(self) -> float:
        """Processor time, in that of decoding alone."""
        return self.run.cpu_seconds / self.decoding.cpu_seconds if self.decoding.cpu_seconds else math.inf

    def as_json(self) -> dict[str, object]:
        """Return the figures under their JSON keys; null where there is no truth or nothing to count. No plate text."""
        run, played, result = self.run, self.run.played, self.score
        return {
            "frames": run.frames,
            "frames_lost": played.frames_lost,
            "seconds": round(run.seconds, 3),
            "fps": round(run.fps, 1),
            "cpu_seconds": round(run.cpu_seconds, 3),
            "decode_seconds": round(self.decoding.seconds, 3),
            "decode_cpu_seconds": round(self.decoding.cpu_seconds, 3),
            "rss_mb": round(played.peak_rss_bytes / MIB, 1),
            "passages": len(played.passages),
            "vehicles": None if result is None else result.vehicles,
            **_counts(result),
            "recall": None if result is None else _share(result.exact, result.vehicles),
            "precision": None if result is None else _share(result.exact, len(played.passages)),
            "latency_ms": _percentiles(self.latencies_ms),
            "frame_ms": _percentiles(played.frame_ms),
            "stages_seconds": {name: round(seconds, 3) for name, seconds in played.stages_s.items()},
            "frames_moving": played.frames_moving,
            "frames_searched": played.frames_searched,
            "looks": played.looks,
            "rejected": played.rejected,
            "unvoted": played.unvoted,
            "models": list(played.models),
            "compare": None if self.loop is None else self._loop_json(self.loop),
        }

    def _loop_json(self, loop: Run) -> dict[str, object]:
        result = self.loop_score
        return {
            "name": "fast-alpr",
            "seconds": round(loop.seconds, 3),
            "fps": round(loop.fps, 1),
            "cpu_seconds": round(loop.cpu_seconds, 3),
            **_counts(result),
            "spans": count_runs([one.frame for one in loop.played.sightings]),
            "rss_mb": round(loop.played.peak_rss_bytes / MIB, 1),
            "frame_ms": _percentiles(loop.played.frame_ms),
            "models": list(loop.played.models),
        }


def make_outcome(runs: Sequence[Run], truth: Truth | None) -> Outcome:
    """Put the runs of plateseal, decoding and perhaps the plain loop together, in this order."""
    run, decoding, *rest = runs
    passages = [ScoredPassage(one.text, one.frame) for one in run.played.passages]
    judged = () if truth is None else tuple(judge(truth, passages))
    return Outcome(run, decoding, rest[0] if rest else None, truth, judged)


def percentile(values: Sequence[float], share: float) -> float | None:
    """Return the least value that at least `share` of the values, 0..1, do not exceed; None of nothing."""
    return sorted(values)[max(math.ceil(share * len(values)) - 1, 0)] if values else None


def _percentiles(values: Sequence[float]) -> dict[str, float | None]:
    found = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99)}
    return {name: None if value is None else round(value, 1) for name, value in found.items()}


def _counts(result: Score | None) -> dict[str, int | None]:
    """Return how often each verdict was given; null without a truth."""
    return {name: None if result is None else getattr(result, name) for name in VERDICTS}


def _share(count: int, of: int) -> float | None:
    return round(count / of, 4) if of else None

"""Scoring against ground truth, and the search for plaintext."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.bench.plaintext_scan import count_hits, count_hits_in, plaintext_pattern
from agent.bench.truth import Score, ScoredPassage, Truth, TruthPass, load_truth, score
from agent.errors import UsageError

TRUTH = Truth(
    frames=300,
    passes=(
        TruthPass(text="AAA111", first=20, last=40),
        TruthPass(text="BBB222", first=45, last=60),
        TruthPass(text="CCC333", first=None, last=None),
    ),
)


@pytest.mark.parametrize(
    ("passages", "expected"),
    [
        ([], Score(3, 0, 0, 3, 0, 0)),
        ([("AAA111", 30)], Score(3, 1, 0, 2, 0, 0)),
        ([("AAA11I", 30)], Score(3, 0, 1, 2, 0, 0)),
        ([("AAA111", 30), ("AAA111", 35)], Score(3, 1, 0, 2, 1, 0)),
        ([("AAA11I", 30), ("AAA111", 35)], Score(3, 1, 0, 2, 1, 0)),
        ([("AAA11", 30)], Score(3, 0, 1, 2, 0, 0)),
        ([("AAA1II", 30)], Score(3, 0, 0, 3, 0, 1)),
        ([("AAA111", 30), ("CAFE", 31)], Score(3, 1, 0, 2, 0, 1)),
        ([("BBB222", 30)], Score(3, 0, 0, 3, 0, 1)),
        ([("AAA111", 200)], Score(3, 0, 0, 3, 0, 1)),
        ([("BBB222", 42)], Score(3, 1, 0, 2, 0, 0)),
        ([("AAA111", 42), ("BBB222", 43)], Score(3, 2, 0, 1, 0, 0)),
        ([("BB222", 42)], Score(3, 0, 1, 2, 0, 0)),
        ([("CCC333", 100)], Score(3, 0, 0, 3, 0, 1)),
    ],
)
def test_passages_are_scored_by_vehicle(passages: list[tuple[str, int]], expected: Score) -> None:
    """Exact, within one edit, missed, twice, and of no vehicle; between two vehicles the text decides."""
    assert score(TRUTH, [ScoredPassage(text, frame) for text, frame in passages]) == expected


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"frames": 1}', '{"frames": -1, "passes": []}', "[" * 100_000])
def test_a_file_that_is_no_truth_is_refused(tmp_path: Path, content: str) -> None:
    """One line that names the file."""
    path = tmp_path / "clip.truth.json"
    path.write_text(content)
    with pytest.raises(UsageError, match="clip.truth.json"):
        load_truth(path)
    with pytest.raises(UsageError, match="No such file"):
        load_truth(tmp_path / "missing.json")


def test_plaintext_is_found_wherever_it_lies(tmp_path: Path) -> None:
    """Plate texts in any case, JPEG headers, in nested files and in byte strings; other bytes are no hit."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "log.txt").write_text("saw ab123cd just now")
    (tmp_path / "core").write_bytes(b"\x00" * 5000 + b"\xff\xd8\xff\xe0\x00\x10JFIF" + b"\x00" * 5000)
    (tmp_path / "empty").touch()
    (tmp_path / "fine").write_bytes(b"\xff\xd8\xff\xe1 JFIF AB 123 CD")
    pattern = plaintext_pattern(["AB123CD", "X.Y+Z", "A1"])
    assert count_hits(tmp_path, pattern) == 2
    assert count_hits_in([b"..X.Y+Z..", b"XaYZ A1", b""], pattern) == 1

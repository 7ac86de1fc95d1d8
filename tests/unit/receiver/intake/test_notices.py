"""How often the log gets a line about what strangers do."""

from __future__ import annotations

from agent.receiver.intake.notices import MAX_LINES, MAX_SUBJECTS, MINUTE_S, Pace


class _Clock:
    def __init__(self) -> None:
        self.now_s = 5.0

    def __call__(self) -> float:
        return self.now_s


def test_a_subject_has_a_line_a_minute_that_says_how_many_were_left_out() -> None:
    """The first at once, then one a minute; another subject has its own."""
    clock = _Clock()
    pace = Pace(clock)
    assert [pace.turn("a") for _ in range(4)] == [0, None, None, None]
    assert pace.turn("b") == 0
    clock.now_s += MINUTE_S
    assert [pace.turn("a"), pace.turn("a")] == [3, None]


def test_all_subjects_together_have_so_many_lines_a_minute() -> None:
    """Whoever comes from a thousand addresses fills no log either; the next minute is a new one."""
    clock = _Clock()
    pace = Pace(clock)
    assert sum(pace.turn(f"{number}") is not None for number in range(1000)) == MAX_LINES
    clock.now_s += MINUTE_S
    assert pace.turn("another") == 0


def test_subjects_are_not_remembered_without_end() -> None:
    """Beyond the limit the book begins anew."""
    pace = Pace(_Clock())
    for number in range(3 * MAX_SUBJECTS):
        pace.turn(f"{number}")
    assert len(pace._subjects) <= MAX_SUBJECTS

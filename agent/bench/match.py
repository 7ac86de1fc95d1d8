"""Contestants on one recording, each in a process of its own, taking turns.

A machine has other things to do, and does them unevenly. So nobody plays the whole clip while the others wait: each
plays a few seconds of it, then the next does, until all are through. What disturbs one disturbs all; their ratios hold
where their seconds do not.

Owns: the processes, the turns and the sums. Leaves to others: what a contestant does (`agent.bench.contestant`), and
what it all means (`agent.bench.outcome`).
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Final, Self, TypeVar

from pydantic import ValidationError

import agent.errors
from agent.bench.measured import Failure, Job, Played, Ready, Report, TurnDone
from agent.errors import BenchError, PlatesealError
from agent.unit.process.child import own_environment, own_module

TURN_FRAMES: Final = 150
"""Ten seconds of a clip at 15 frames/s: long against what a change of process costs, short against a disturbance."""
_Line = TypeVar("_Line", Ready, TurnDone, Played)
END_WITHIN_S: Final = 10.0
"""A contestant that was left alone ends at once; more is a hang."""


@dataclass(frozen=True, slots=True)
class Run:
    """One contestant's run, summed over its turns.

    Attributes:
        frames: Frames played.
        seconds, cpu_seconds: Wall and processor time of its turns.
        rss_bytes: Resident memory at the end of each turn.
        played: What the contestant saw of the clip.
    """

    frames: int
    seconds: float
    cpu_seconds: float
    rss_bytes: tuple[int, ...]
    played: Played = field(repr=False)

    @property
    def fps(self) -> float:
        """Frames a second."""
        return self.frames / self.seconds if self.seconds else 0.0


Watch = Callable[[int, int | None], None]
"""Told how many frames all contestants have played together, and how many there are, if known."""


def play(jobs: Sequence[Job], *, watch: Watch, turn_frames: int = TURN_FRAMES) -> list[Run]:
    """Play a recording with each contestant.

    Args:
        jobs: One per contestant, on the same recording.
        watch: Called after each turn.
        turn_frames: Frames a turn; 0 lets each play to its end at once.

    Returns:
        One run per job, in order.

    Raises:
        PlatesealError: A contestant could not go on; the error is its own.
        BenchError: A contestant ended without a word.
    """
    with ExitStack() as stack:
        players = [stack.enter_context(_Player(job)) for job in jobs]
        counts = [player.ready.frame_count for player in players]
        known = [count for count in counts if count is not None]
        total = sum(known) if len(known) == len(counts) else None
        while waiting := [player for player in players if not player.is_through]:
            for player in waiting:
                player.take_turn(turn_frames)
                watch(sum(player.frames for player in players), total)
        return [player.result() for player in players]


class _Player:
    """One contestant's process."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._turns: list[TurnDone] = []

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(  # noqa: S603  our own module
            own_module("agent.bench.contestant"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=own_environment(),
        )
        with ExitStack() as unready:
            unready.push(self)
            self._tell(self._job.model_dump_json())
            self.ready = self._expect(Ready)
            unready.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._process.communicate(timeout=END_WITHIN_S)  # which closes its input, and that ends it
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._log.close()

    @property
    def frames(self) -> int:
        return sum(turn.frames for turn in self._turns)

    @property
    def is_through(self) -> bool:
        return bool(self._turns) and self._turns[-1].is_last

    def take_turn(self, frames: int) -> None:
        self._tell(str(frames))
        self._turns.append(self._expect(TurnDone))

    def result(self) -> Run:
        played = self._expect(Played)
        return Run(
            frames=self.frames,
            seconds=sum(turn.seconds for turn in self._turns),
            cpu_seconds=sum(turn.cpu_seconds for turn in self._turns),
            rss_bytes=tuple(turn.rss_bytes for turn in self._turns),
            played=played,
        )

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # it is gone; what it said last tells why

    def _expect(self, kind: type[_Line]) -> _Line:
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        if not said:  # it is ending
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_WITHIN_S)
        try:
            line = Report.model_validate_json(said).line
        except ValidationError:
            line = None
        if isinstance(line, Failure):
            raise _as_raised(line)
        if not isinstance(line, kind):
            status = self._process.poll()
            ended = "broke off" if status is None else f"ended with status {status}"
            raise BenchError(f"{self._job.contestant} {ended} in the middle of the clip: {self._last_words()}")
        return line

    def _last_words(self) -> str:
        """Return the last line that it logged; the rest of its log goes with it."""
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it logged nothing"


def _as_raised(failure: Failure) -> PlatesealError:
    kind = getattr(agent.errors, failure.error, BenchError)
    error: PlatesealError = kind(failure.message)
    return error

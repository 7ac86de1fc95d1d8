"""Mutated recordings: parts cut off, zeroed, overwritten, taken out, turned over bit by bit, and whole files joined.

Every picture says its number, and each is coded by itself, so that a frame that comes is known to be the right one, and
whether its date is right.

Of a raw stream a part can be taken out so that the rest is another whole stream: the beginning of one picture goes on
as the end of a later one, bit by bit. Such a mutant has lost nothing that anybody could miss. It counts as that only if
bytes were taken out and none was changed, there is no container, and a decoder with every check that FFmpeg has finds
one whole picture in each packet. All others that lose a frame must be told of.
"""

from __future__ import annotations

import logging
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import av
from av.error import FFmpegError

from agent.capture import open_source
from agent.config.models import SourceConfig
from agent.errors import SourceError
from tests.fakes.clock import FakeClock
from tests.fakes.recordings import RATE, number_of, picture, record
from tests.torture.campaign import Say
from tests.torture.report import Result

COUNT: Final = 50
MUTANTS: Final = 300
REDUCED_MUTANTS: Final = 30
TARGET: Final = "no crash, times always grow, dates within one frame, none loses frames in silence"
_X264: Final = {"options": {"g": "1"}}
KINDS: Final[dict[str, dict[str, Any]]] = {
    "a.mp4": _X264,
    "fragments.mp4": {**_X264, "container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "faststart.mp4": {**_X264, "container_options": {"movflags": "faststart"}},
    "a.mkv": _X264,
    "a.avi": _X264,
    "a.ts": _X264,
    "a.flv": _X264,
    "mjpeg.avi": {"codec": "mjpeg", "layout": "yuvj420p"},
    "mjpeg.mkv": {"codec": "mjpeg", "layout": "yuvj420p"},
    "mpeg2.ts": {"codec": "mpeg2video", "options": {"g": "1"}},
    "mpeg4.avi": {"codec": "mpeg4", "options": {"g": "1"}},
    "hevc.mkv": {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=1"}},
    "a.mpg": {"codec": "mpeg2video", "options": {"g": "1"}},
    "a.h264": {**_X264, "container": "h264"},
    "a.mjpeg": {"codec": "mjpeg", "layout": "yuvj420p", "container": "mjpeg"},
}
"""Name of the file to how it is recorded."""
RAW: Final = ("a.h264", "a.mjpeg")
UNDATED: Final = ("a.mpg", *RAW)
"""Their times are counted, or guessed after a gap, so that they are not judged."""
STRICT: Final = "crccheck+bitstream+buffer+explode+careful+compliant+aggressive"
"""All that FFmpeg's decoders can be told to fail at."""
JOINABLE: Final = (".ts", ".mpg", ".h264", ".mjpeg")
"""Of these kinds, two files one after the other are one recording."""
UNEVEN: Final = frozenset({"flip", "random", "drop"})
"""Mutations that may change the times that stand in the file."""


def _cut(content: bytearray, rng: random.Random) -> None:
    del content[rng.randrange(len(content) // 10, len(content)) :]


def _zero(content: bytearray, rng: random.Random) -> None:
    begin, end = _part(content, rng)
    content[begin:end] = bytes(end - begin)


def _random(content: bytearray, rng: random.Random) -> None:
    begin, end = _part(content, rng)
    content[begin:end] = rng.randbytes(end - begin)


def _drop(content: bytearray, rng: random.Random) -> None:
    begin, end = _part(content, rng)
    del content[begin:end]


def _flip(content: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randrange(1, 20)):
        content[rng.randrange(len(content) // 20, len(content))] ^= 1 << rng.randrange(8)


def _join(content: bytearray, _: random.Random) -> None:
    content += bytes(content)


MUTATIONS: Final[dict[str, Callable[[bytearray, random.Random], None]]] = {
    "cut": _cut,
    "zero": _zero,
    "random": _random,
    "drop": _drop,
    "flip": _flip,
    "join": _join,
}


@dataclass(slots=True)
class _Tally:
    """What came of all mutants."""

    frames: int = 0
    refused: int = 0
    told: int = 0
    silent: list[str] = field(default_factory=list)
    whole: list[str] = field(default_factory=list)
    wrong: Counter[str] = field(default_factory=Counter)


def run(*, full: bool, say: Say) -> Result:
    """Record one of each kind, and play as many mutants of them as there is time for."""
    began_s = time.monotonic()
    tally, rng, count = _Tally(), random.Random(16), MUTANTS if full else REDUCED_MUTANTS
    logging.getLogger("agent").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind, how in KINDS.items():
            record(folder / kind, [picture(number) for number in range(COUNT)], **how)
        for number in range(count):
            _try(folder, rng.choice([*KINDS]), rng.choice([*MUTATIONS]), rng, tally)
            if number % 50 == 49:
                say(f"{number + 1} of {count}")
    figures = (
        f"{count} mutants of {len(KINDS)} kinds: {tally.frames} frames came, {tally.told} told of damage, "
        f"{tally.refused} refused; silent {len(tally.silent)} {' '.join(tally.silent)}; "
        f"whole streams again {len(tally.whole)} {' '.join(tally.whole)}; "
        f"wrong {dict(tally.wrong)}"
    )
    holds = not tally.wrong and not tally.silent
    return Result("mutated recordings", TARGET, figures, holds, time.monotonic() - began_s)


def _try(folder: Path, kind: str, mutation: str, rng: random.Random, tally: _Tally) -> None:
    content = bytearray((folder / kind).read_bytes())
    MUTATIONS[mutation](content, rng)
    path = folder / f"mutant-{kind}"
    path.write_bytes(content)
    seconds, numbers, failure = _play(path)
    tally.frames += len(seconds)
    wanted = 2 * COUNT if mutation == "join" and path.suffix in JOINABLE else COUNT
    if failure is not None:
        tally.told += bool(seconds)
        tally.refused += not seconds
    elif len(seconds) < wanted:
        is_whole = kind in RAW and mutation == "drop" and _is_faultless(path)
        (tally.whole if is_whole else tally.silent).append(f"{mutation}:{kind}")
    if any(early >= late for early, late in pairwise(seconds)):
        tally.wrong["times that do not grow"] += 1
    if kind not in UNDATED and mutation not in UNEVEN and _is_misdated(seconds, numbers):
        tally.wrong[f"dates of {mutation}:{kind}"] += 1


def _is_faultless(path: Path) -> bool:
    """Tell whether each packet is one whole picture to a decoder that lets nothing pass."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        stream.codec_context.options = {"err_detect": STRICT}
        try:
            packets = [packet for packet in container.demux(stream) if packet.size]
            frames = [frame for packet in [*packets, None] for frame in stream.codec_context.decode(packet)]
        except FFmpegError:
            return False
    return len(frames) == len(packets) and not any(frame.is_corrupt for frame in frames)


def _is_misdated(seconds: list[float], numbers: list[int]) -> bool:
    """Tell whether frames have other dates than their numbers say, by more than one frame, from the first that came.

    One may: where a hole begins in the head of one frame and ends in another, that one has the time of the first.
    """
    if not seconds:
        return False
    first, steps = numbers[0], [round(at * RATE, 3) for at in seconds]
    off = [step - (number - first) for step, number in zip(steps, numbers, strict=True)]
    return sum(abs(by) > 1 and abs(by - COUNT) > 1 for by in off) > 1


def _part(content: bytearray, rng: random.Random) -> tuple[int, int]:
    begin = rng.randrange(len(content) // 10, len(content) - 10)
    return begin, min(len(content), begin + rng.randrange(1, len(content) // 6))


def _play(path: Path) -> tuple[list[float], list[int], SourceError | None]:
    seconds, numbers = list[float](), list[int]()
    try:
        source = open_source(SourceConfig(uri=str(path), frame_rate=RATE), camera_id="a", clock=FakeClock())
        for frame in source.frames():
            seconds.append(frame.monotonic_s)
            numbers.append(number_of(frame.image))
    except SourceError as error:
        return seconds, numbers, error
    return seconds, numbers, None

"""`plateseal bench`: how well and how fast a recording is read, beside decoding alone and the plain fast-alpr loop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from agent.bench.match import TURN_FRAMES, play
from agent.bench.measured import Job
from agent.bench.outcome import Outcome, make_outcome, percentile
from agent.bench.report import render_report
from agent.bench.truth import truth_of
from agent.cli.folders import require_file
from agent.cli.json_file import STDOUT, write_json
from agent.cli.options import ModelsFolder, Plates, TruthFile
from agent.cli.private import write_private
from agent.cli.settings import vision_settings
from agent.config.models import SourceConfig
from agent.errors import SourceDamagedError, UsageError
from agent.vision.sparse import sparse_words


class Rival(StrEnum):
    """What plateseal may be compared with."""

    FAST_ALPR = "fast-alpr"


class Pace(StrEnum):
    """How fast a clip is played."""

    FAST = "fast"
    REAL = "real"


def bench(
    clip: Annotated[Path, typer.Argument(metavar="CLIP", help="A recording of a road.", show_default=False)],
    *,
    truth: TruthFile = None,
    models: ModelsFolder = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A unit's configuration, whose [vision] settings hold.", callback=require_file
        ),
    ] = None,
    plates: Plates = None,
    compare: Annotated[
        Rival | None, typer.Option(help="Play the clip with the plain fast-alpr loop on the same models as well.")
    ] = None,
    pace: Annotated[Pace, typer.Option(help="As fast as the machine can, or at the clip's own rate.")] = Pace.FAST,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - prints them.")
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a report with plate texts and crops, readable by you only."),
    ] = None,
) -> None:
    """Play a recording, score what is read against the truth, and measure what it costs.

    Decoding alone, plateseal and, where asked for, the plain fast-alpr loop play it in turns, each in a process of its
    own. What is lost of a damaged recording is told at the end. The HTML report holds plate texts and pictures of
    plates; it is written where you ask for it, and nowhere else.

    Example: plateseal bench road.mp4 --compare fast-alpr --html report.html
    """
    if not clip.exists():
        raise UsageError(f"{clip}: no such file; a bench plays a video file or a folder of pictures")
    known = truth_of(clip, truth)
    if html is not None:
        write_private(html, "", option="--html")  # said before the minutes that the bench takes
    source = SourceConfig(uri=str(clip), pace=pace.value)
    vision = vision_settings(config, models, plates)
    names = ["plateseal", "decode", *([compare.value] if compare is not None else [])]
    jobs = [
        Job.model_validate({"contestant": name, "source": source, "vision": vision, "crops": html is not None})
        for name in names
    ]
    with _progress(str(clip)) as watch:
        runs = play(jobs, watch=watch, turn_frames=0 if pace is Pace.REAL else TURN_FRAMES)
    outcome = make_outcome(runs, known)
    if html is not None:
        write_private(html, render_report(outcome, clip=clip.name), option="--html")
    write_json(outcome.as_json(), json_file)
    if json_file != STDOUT:
        _show(outcome, html)
    if words := sparse_words(outcome.run.frames, length_s=outcome.run.played.stream_s, min_votes=vision.min_votes):
        typer.echo(f"plateseal: {clip}: {words}", err=True)
    if outcome.run.played.damage:
        raise SourceDamagedError(outcome.run.played.damage)


@contextmanager
def _progress(clip: str) -> Iterator[Callable[[int, int | None], None]]:
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(escape(clip), total=None)

        def watch(frames: int, total: int | None) -> None:
            progress.update(task, completed=frames, total=total)

        yield watch


def _show(outcome: Outcome, html: Path | None) -> None:
    console = Console()
    columns = [("plateseal", outcome.run, outcome.score), ("decoding alone", outcome.decoding, None)]
    if outcome.loop is not None:
        columns.append(("fast-alpr loop", outcome.loop, outcome.loop_score))
    table = Table(box=SIMPLE)
    table.add_column("", no_wrap=True)
    for name, _, _ in columns:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row("frames a second", *(f"{run.fps:,.1f}" for _, run, _ in columns))
    table.add_row("processor seconds", *(f"{run.cpu_seconds:,.1f}" for _, run, _ in columns))
    table.add_row("memory at most, MB", *(f"{run.played.peak_rss_bytes / (1 << 20):,.0f}" for _, run, _ in columns))
    if outcome.score is not None:
        for name in ("exact", "misread", "missed", "spurious", "duplicates"):
            table.add_row(name, *("" if score is None else str(getattr(score, name)) for _, _, score in columns))
    console.print(table)
    console.print(_summary(outcome), highlight=False, soft_wrap=True)
    if html is not None:
        console.print(f"the report with plate texts and crops is {html}, readable by you only", soft_wrap=True)


def _summary(outcome: Outcome) -> str:
    score, passages = outcome.score, len(outcome.run.played.passages)
    parts = [f"{outcome.run.frames} frames, {passages} passages"]
    if score is not None:
        parts.append(f"{score.exact} of {score.vehicles} vehicles read exactly")
    if outcome.speedup is not None and outcome.cpu_share is not None:
        parts.append(
            f"{outcome.speedup:.1f} times the plain loop's frames a second for {outcome.cpu_share:.2f} of its "
            "processor time"
        )
    parts.append(f"{outcome.cpu_over_decoding:.2f} times the processor time of decoding alone")
    median = percentile(outcome.latencies_ms, 0.5)
    if median is not None:
        parts.append(f"{median:.0f} ms of stream time from the last look to the passage at the median")
    return "; ".join(parts)

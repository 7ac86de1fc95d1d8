"""`plateseal demo`: the whole way, from a recorded clip to reads that the owner opens."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agent.bench.demo import DEMO_CLIP, run_demo
from agent.bench.demo_report import DemoOutcome
from agent.bench.truth import Score, truth_of
from agent.cli.json_file import STDOUT, write_json
from agent.cli.options import ModelsFolder, TruthFile
from agent.cli.private import make_private_folder
from agent.custody.opener import OpenedRead
from agent.errors import PlatesealError, UsageError
from agent.unit.process.prepare import signals_noted
from agent.unit.status.samples import Snapshot


def demo(
    *,
    clip: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A recording of a road; the rendered one that comes along if left out."),
    ] = None,
    truth: TruthFile = None,
    models: ModelsFolder = None,
    workdir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Work in this folder and leave everything there to look at.")
    ] = None,
    json_file: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the counts as JSON; - prints them.")
    ] = None,
) -> None:
    """Play a clip through camera, spool, mutual TLS and receiver, erase against receipts, and open the reads.

    Capture, upload and receiver run as processes of their own on loopback; every key and certificate is made for
    this run and thrown away with it. Exits 0 only if every read went the whole way; what failed leaves its logs.

    Example: plateseal demo --clip road.mp4
    """
    clip = clip or DEMO_CLIP
    if not clip.is_file():
        raise UsageError(f"--clip {clip}: no such file")
    known = truth_of(clip, truth)
    with signals_noted() as is_stopped, _folder(workdir, is_stopped) as folder:
        with _progress() as watch:
            outcome = run_demo(clip, workdir=folder, models=models, truth=known, watch=watch, is_stopped=is_stopped)
        write_json(outcome.report.as_json(), json_file)
        if json_file != STDOUT:
            _show(outcome)
        outcome.require_agreement()


@contextmanager
def _folder(workdir: Path | None, is_stopped: Callable[[], bool]) -> Iterator[Path]:
    """Lend a folder for the demo's parts: the one that was named, which stays, or one that is removed with its keys."""
    if workdir is not None:
        make_private_folder(workdir, option="--workdir")
        try:
            yield workdir
        finally:
            typer.echo(f"everything is in {workdir}", err=True)
        return
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="plateseal-demo-")))
        except OSError as error:
            raise UsageError(f"no temporary folder: {error.strerror}; name a folder with --workdir") from None
        try:
            yield folder
        except PlatesealError:
            if not is_stopped():
                _keep_logs(folder)
            raise


def _keep_logs(folder: Path) -> None:
    """Copy the logs out of a folder that will be removed, and say where they are. They hold no plates and no keys."""
    logs = sorted(folder.rglob("*.log"))
    if not logs:
        return
    try:
        kept = Path(tempfile.mkdtemp(prefix="plateseal-demo-logs-"))
        for log in logs:
            shutil.copyfile(log, kept / log.name)
    except OSError as error:
        typer.echo(f"the logs could not be kept: {error.strerror}", err=True)
    else:
        typer.echo(f"the logs are in {kept}", err=True)


@contextmanager
def _progress() -> Iterator[Callable[[Snapshot], None]]:
    console = Console(stderr=True)
    columns = (
        TextColumn("frames"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    names = {"passages": "passages", "sealed": "sealed", "acknowledged": "acknowledged", "shredded": "erased"}
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("starting", total=1)

        def watch(measured: Snapshot) -> None:
            counts = ", ".join(f"{measured.total(name):.0f} {label}" for name, label in names.items())
            frames = measured.total("frames")
            total = max(measured.total("frames_expected"), frames, 1.0)
            progress.update(task, completed=frames, total=total, description=counts)

        yield watch


def _show(outcome: DemoOutcome) -> None:
    console = Console()
    if outcome.opened:
        console.print(_table(outcome.opened))
    report = outcome.report
    console.print(
        f"{report.frames} frames, {report.passages} passages: {report.sealed} sealed, {report.acknowledged} "
        f"acknowledged, {report.shredded} erased, {report.opened} opened by the owner; {report.pending} pending, "
        f"{report.lost} lost, {report.duplicates} duplicates, {report.plaintext_hits} plaintext hits "
        f"in {report.seconds:.1f} s",
        highlight=False,
        soft_wrap=True,
    )
    if outcome.score is not None:
        console.print(_score_line(outcome.score), highlight=False, soft_wrap=True)


def _table(opened: list[OpenedRead]) -> Table:
    table = Table(title="Reads opened with the owner's key", box=SIMPLE)
    for heading in ("seen (UTC)", "plate", "direction", "envelope"):
        table.add_column(heading, no_wrap=True)
    for heading in ("sure", "votes", "crop"):
        table.add_column(heading, no_wrap=True, justify="right")
    for item in sorted(opened, key=lambda item: item.read.captured_at):
        read = item.read
        sure = sum(read.confidences) / max(len(read.confidences), 1) / 1000
        table.add_row(
            f"{read.captured_at:%H:%M:%S.%f}"[:-5],
            read.text,
            str(read.direction),
            item.envelope.envelope_id[:12],
            f"{sure:.2f}",
            f"{read.votes[0]}/{read.votes[1]}",
            f"{len(read.crop) / 1000:.1f} kB",
        )
    return table


def _score_line(score: Score) -> str:
    share = score.exact / score.vehicles if score.vehicles else 0.0
    return (
        f"against the truth: {score.exact} of {score.vehicles} vehicles read exactly ({share:.1%}), "
        f"{score.misread} misread, {score.missed} missed, {score.duplicates} duplicates, {score.spurious} spurious"
    )

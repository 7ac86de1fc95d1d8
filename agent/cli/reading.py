"""What `plateseal read` does: sources of frames in, lines of JSON or a table out."""

from __future__ import annotations

import json
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, Protocol, TextIO, TypeVar

import typer
from pydantic import ValidationError
from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table
from rich.text import Text

from agent.bench.preview import Preview
from agent.capture import is_picture, list_pictures, open_source, read_picture, source_name
from agent.cli.private import create_private, make_private_folder, open_private
from agent.cli.settings import vision_settings
from agent.config.models import RTSP_PREFIXES, SourceConfig
from agent.errors import INTERRUPTED, SourceError, UsageError
from agent.ports import FrameSource
from agent.records import Frame, Passage, Picture, PlateRead, PlateText
from agent.unit.process.clock import SystemClock
from agent.vision import PlatePipeline, build_vision
from agent.vision.sparse import sparse_words

MAX_TABLE_ROWS: Final = 1000
"""Rows kept for the table; a camera would fill memory otherwise. `--jsonl` has no such bound: it keeps nothing."""
MAX_ERRORS_SHOWN: Final = 20
STDOUT: Final = "-"
CAMERA_ID: Final = "read"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Line:
    """One object of `--jsonl`: a plate in a picture, or a passage."""

    source: str
    best: PlateRead
    text: str
    confidences: tuple[float, ...]
    region: str | None
    votes: int
    looks: int
    seen: str | None
    format: str | None

    @property
    def confidence(self) -> float:
        return sum(self.confidences) / len(self.confidences) if self.confidences else 0.0

    def as_json(self) -> str:
        """Return one line of JSON, keys in the documented order."""
        return json.dumps(
            {
                "source": self.source,
                "frame": self.best.sequence,
                "captured_at": _iso(self.best.captured_at),
                "text": self.text,
                "confidence": round(self.confidence, 4),
                "chars": [round(share, 4) for share in self.confidences],
                "box": list(self.best.detection.xyxy),
                "region": self.region,
                "detector_confidence": round(self.best.detection.confidence, 4),
                "votes": self.votes,
                "looks": self.looks,
                "time_source": self.best.time_source,
                "seen": self.text if self.seen is None else self.seen,
                "format": self.format,
            },
            ensure_ascii=False,
        )


@dataclass(slots=True)
class _Seen:
    """What came of a recording or camera; nothing of pictures."""

    frames: int = 0
    length_s: float = 0.0
    began_s: float = 0.0

    def note(self, frame: Frame) -> None:
        self.began_s = frame.monotonic_s if self.frames == 0 else self.began_s
        self.frames += 1
        self.length_s = frame.monotonic_s - self.began_s


class _Output(Protocol):
    def put(self, line: _Line) -> None: ...

    def finish(self, *, failed: bool) -> None: ...


def read_sources(
    sources: list[str],
    *,
    models: Path | None,
    config: Path | None,
    plates: str | None,
    jsonl: str | None,
    preview: Path | None,
    clock: Literal["unit", "camera"],
) -> None:
    """Read plates from each source and show them; the arguments are those of the command.

    Raises:
        UsageError: The camera's clock is asked for, of what is no RTSP camera.
        SourceError: Sources could not be read; the others were.
        PlatesealError: Nothing could be read at all, or a file cannot be written.
    """
    if clock == "camera" and not all(source.lower().startswith(RTSP_PREFIXES) for source in sources):
        raise UsageError("--clock camera is for rtsp:// cameras; no other source says what its clock shows")
    errors: list[SourceError] = []
    shown = None if preview is None else _open_preview(preview)
    settings = vision_settings(config, models, plates)
    vision = build_vision(settings, watcher=shown)
    with _open_output(jsonl) as output:
        try:
            for source in sources:
                # A fresh pipeline per source: tracks of one recording must not go on in the next.
                seen = _Seen()
                for line in _read_source(source, vision.fresh(), errors, shown, seen, clock=clock):
                    output.put(line)
                if words := sparse_words(seen.frames, length_s=seen.length_s, min_votes=settings.min_votes):
                    typer.echo(f"plateseal: {_public(source)}: {words}", err=True)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        finally:
            output.finish(failed=bool(errors))
            if shown is not None:
                _end_preview(shown)
    if errors:
        raise _combined(errors)


def _open_preview(folder: Path) -> Preview:
    make_private_folder(folder, option="--preview")
    return Preview(lambda name, content: create_private(folder / name, content, option="--preview"))


def _end_preview(preview: Preview) -> None:
    preview.finish()
    for name, count in preview.left_out.items():
        typer.echo(f"plateseal: --preview: {count} more pictures of {name} were not written", err=True)


def _read_source(
    source: str,
    pipeline: PlatePipeline,
    errors: list[SourceError],
    preview: Preview | None,
    seen: _Seen,
    *,
    clock: Literal["unit", "camera"],
) -> Iterator[_Line]:
    path = Path(source)
    try:
        if path.is_dir():
            yield from _read_pictures(list_pictures(path), pipeline, errors, preview)
        elif "://" not in source and is_picture(path):
            yield from _read_pictures([path], pipeline, errors, preview)
        else:
            if preview is not None:
                preview.begin(source_name(source))
            yield from _read_stream(source, _open(source, clock), pipeline, seen)
    except SourceError as error:
        errors.append(error)


def _read_pictures(
    paths: list[Path], pipeline: PlatePipeline, errors: list[SourceError], preview: Preview | None
) -> Iterator[_Line]:
    for path in _with_progress(paths, total=len(paths), what=str(paths[0].parent if len(paths) > 1 else paths[0])):
        try:
            image = read_picture(path)
            taken_at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        except SourceError as error:
            errors.append(error)
            continue
        except (OSError, OverflowError, ValueError):
            errors.append(SourceError(f"{path}: went away, or has no usable modification time"))
            continue
        frame = Frame(camera_id=CAMERA_ID, sequence=0, captured_at=taken_at, monotonic_s=0.0, picture=Picture.of(image))
        looks = pipeline.read_picture(frame)
        if preview is not None:
            preview.begin(path.name)
            preview.picture(pipeline.paint(frame), looks)
        for look in looks:
            yield _line(str(path), look, look.plate, votes=(1, 1))


def _read_stream(source: str, opened: FrameSource, pipeline: PlatePipeline, seen: _Seen) -> Iterator[_Line]:
    try:
        for frame in _with_progress(opened.frames(), total=opened.frame_count, what=_public(source)):
            seen.note(frame)
            yield from (_passage_line(source, passage) for passage in pipeline.process(frame))
    except SourceError:
        yield from (_passage_line(source, passage) for passage in pipeline.flush())
        raise
    finally:
        opened.close()
    yield from (_passage_line(source, passage) for passage in pipeline.flush())


def _open(source: str, clock: Literal["unit", "camera"]) -> FrameSource:
    try:
        # Not connected again: somebody waits, and a camera that is lost is said at once.
        config = SourceConfig(uri=source, reconnect=False, clock=clock)
    except ValidationError as error:
        raise SourceError(f"a source must have 1 to 4096 characters, this one has {len(source)}") from error
    return open_source(config, camera_id=CAMERA_ID, clock=SystemClock())


def _passage_line(source: str, passage: Passage) -> _Line:
    return _line(_public(source), passage.best, passage, votes=passage.votes)


def _line(source: str, best: PlateRead, of: PlateText | Passage, *, votes: tuple[int, int]) -> _Line:
    return _Line(source, best, of.text, of.confidences, of.region, *votes, seen=of.seen, format=of.format)


def _with_progress(items: Iterable[_T], *, total: int | None, what: str) -> Iterator[_T]:
    """Show progress on standard error while it is a terminal; a pipe gets nothing."""
    if not sys.stderr.isatty():
        yield from items
        return
    yield from track(items, escape(what), total, transient=True, console=Console(stderr=True))


class _JsonLines:
    """Writes each line when it comes, so that a program behind a pipe has it at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def put(self, line: _Line) -> None:
        self._stream.write(line.as_json() + "\n")
        self._stream.flush()

    def finish(self, *, failed: bool) -> None:
        self._stream.flush()


class _Table:
    """Shows a table at the end."""

    def __init__(self) -> None:
        self._lines: deque[_Line] = deque(maxlen=MAX_TABLE_ROWS)
        self._count = 0

    def put(self, line: _Line) -> None:
        self._lines.append(line)
        self._count += 1

    def finish(self, *, failed: bool) -> None:
        console = Console()
        if not self._lines and failed:
            return  # the error says it
        if not self._lines:
            console.print("no plate found", highlight=False)
            return
        table = Table(Column("source", overflow="ellipsis", no_wrap=True), box=SIMPLE)
        for heading in ("captured at (UTC)", "text"):
            table.add_column(heading, no_wrap=True)
        for heading in ("frame", "sure", "votes"):
            table.add_column(heading, no_wrap=True, justify="right")
        for line in self._lines:
            captured_at = f"{line.best.captured_at:%Y-%m-%d %H:%M:%S.%f}"[:-5]
            votes = f"{line.votes} of {line.looks}"
            cells = (line.source.rstrip("/").rpartition("/")[2], captured_at, line.text)
            numbers = (str(line.best.sequence), f"{line.confidence:.2f}", votes)
            # Text, not markup: a file may be called [bold].
            table.add_row(*(Text(cell) for cell in (*cells, *numbers)))
        console.print(table)
        hidden = self._count - len(self._lines)
        earlier = f", {hidden} earlier ones are not shown; --jsonl has all" if hidden else ""
        console.print(f"{self._count} plates{earlier}", highlight=False)


@contextmanager
def _open_output(jsonl: str | None) -> Iterator[_Output]:
    if jsonl is None:
        yield _Table()
    elif jsonl == STDOUT:
        yield _JsonLines(sys.stdout)
    else:
        with open_private(Path(jsonl), option="--jsonl") as stream:
            yield _JsonLines(stream)


def _public(source: str) -> str:
    """Return the source as it may be shown: without a camera's user and password."""
    scheme, mark, rest = source.partition("://")
    return f"{scheme}{mark}{rest.rpartition('@')[2]}" if mark else source


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _combined(errors: list[SourceError]) -> SourceError:
    if len(errors) == 1:
        return errors[0]
    shown = [str(error) for error in errors[:MAX_ERRORS_SHOWN]]
    if len(errors) > MAX_ERRORS_SHOWN:
        shown.append(f"and {len(errors) - MAX_ERRORS_SHOWN} more that could not be read")
    return SourceError("\n".join(shown))

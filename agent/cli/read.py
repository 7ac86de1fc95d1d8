"""`plateseal read`: vision only. Nothing is sealed, spooled or kept."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.folders import require_file
from agent.cli.options import Plates


class DatedBy(StrEnum):
    """Whose clock dates a camera's frames, as `source.clock` has it."""

    UNIT = "unit"
    CAMERA = "camera"


def read(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="A picture, a folder of pictures, a video, rtsp://.., /dev/videoN or gst:PIPELINE; any number.",
            show_default=False,
        ),
    ],
    *,
    models: Annotated[
        Path | None,
        typer.Option("--models", metavar="DIR", help="Folder of model files; its own manifest.toml is used if any."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A unit's configuration, whose [vision] settings hold, masks among them.",
            callback=require_file,
        ),
    ] = None,
    plates: Plates = None,
    jsonl: Annotated[
        str | None,
        typer.Option("--jsonl", metavar="FILE|-", help="Write one JSON object a line to FILE, or to standard output."),
    ] = None,
    clock: Annotated[
        DatedBy,
        typer.Option(
            help="What dates the frames of an rtsp:// camera: this machine's clock, or the camera's while they agree."
        ),
    ] = DatedBy.UNIT,
    preview: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write annotated pictures into a new or empty folder, readable by you only: of each picture, of each "
            "frame from which a plate was read, and of one frame a second besides.",
        ),
    ] = None,
) -> None:
    """Read plates from pictures, recordings or a camera and show them. Nothing is sealed or kept.

    A picture gives one line per plate found, a recording or camera one per vehicle.

    Example: plateseal read clip.mp4 pictures/ --jsonl -
    """
    from agent.cli.reading import read_sources  # noqa: PLC0415  the vision libraries, which the help does without

    read_sources(sources, models=models, config=config, plates=plates, jsonl=jsonl, preview=preview, clock=clock.value)

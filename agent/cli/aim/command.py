"""`plateseal aim`: how well a camera is aimed, live, in the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agent.cli.aim.session import aim_camera
from agent.cli.folders import require_file


def aim(
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A unit's configuration: its cameras, and the [vision] settings that hold for them.",
            callback=require_file,
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Another source: a video, rtsp://.., /dev/videoN or gst:PIPELINE; a recording plays at its own rate.",
        ),
    ] = None,
    camera: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which camera of the configuration; the first if left out.")
    ] = None,
    models: Annotated[
        Path | None,
        typer.Option("--models", metavar="DIR", help="Folder of model files; its own manifest.toml is used if any."),
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Offer, at the end, to write the masks that were drawn to a new file. Else nothing is written.",
        ),
    ] = None,
) -> None:
    """Show live in the terminal how well a camera is aimed: plates, what the reader needs, and what to do.

    Stop capture first where it holds the camera. Two letters set a corner of a mask on the grid; the masks are printed
    as TOML at the end. q ends, and so does Ctrl-C. What is not a terminal gets one line of text a second.

    Example: plateseal aim --config /etc/plateseal/unit.toml
    """
    aim_camera(config=config, source=source, camera=camera, models=models, save=save)

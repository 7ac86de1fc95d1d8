"""`plateseal spool release`: an envelope that was set aside is sent after all."""

from __future__ import annotations

from typing import Annotated

import typer

from agent.cli.options import UnitConfigFile
from agent.config.load import load_config
from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.spool.spool import FileSpool


def release(
    envelope_id: Annotated[str, typer.Argument(metavar="ID", help="The envelope's id, as `spool list` shows it.")],
    config: UnitConfigFile,
) -> None:
    """Bring an envelope that was set aside back to the pending ones, if it is whole. Upload must be stopped meanwhile.

    For after the reason is gone: the receiver knows the unit's key now, or takes reads of that size.

    Example: plateseal spool release 3f0a..64 hex digits..9c --config /etc/plateseal/unit.toml
    """
    settings = load_config(config).spool
    with SpoolLock(settings.directory, SpoolPart.UPLOAD):
        FileSpool(settings.directory, max_bytes=settings.max_bytes, files=LocalFiles()).release(envelope_id)
    typer.echo(f"{envelope_id} is pending again; upload sends it")

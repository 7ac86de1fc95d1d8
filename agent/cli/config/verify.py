"""`plateseal config verify`: a bundle, checked as the unit does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.config.check import on_any_machine
from agent.disk.files import LocalFiles
from agent.errors import BundleVerificationError, ConfigError, UsageError
from agent.keys.keyfiles import load_ed25519_public
from agent.unit.reload.bundles import read_bundle, require_for
from agent.unit.reload.trial import newest_serial


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="FILE", help="A signed bundle.", show_default=False)],
    *,
    key: Annotated[
        Path, typer.Option("--key", metavar="FILE", help="The owner's public key, owner.pub.", show_default=False)
    ],
    camera: Annotated[
        str | None, typer.Option("--camera", metavar="NAME", help="The unit it must be for.", show_default=False)
    ] = None,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="Of the unit: the serial must be higher.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check a bundle as the unit does, and say in one line why it would be refused.

    Example: plateseal config verify bundles/bridge-north.bundle --key owner/owner.pub --camera bridge-north
    """
    if state_dir is not None and not state_dir.is_dir():
        raise UsageError(f"--state-dir {state_dir}: no such folder")
    checked = read_bundle(bundle, load_ed25519_public(key))
    newest = 0 if state_dir is None else newest_serial(state_dir, LocalFiles())
    try:
        require_for(checked, camera=camera or checked.camera, newest=newest)
        checked.unit(on_any_machine)
    except (BundleVerificationError, ConfigError) as error:
        raise type(error)(f"{bundle}: {error}") from None
    if as_json:
        typer.echo(json.dumps({"camera": checked.camera, "serial": checked.serial, "ok": True}))
        return
    typer.echo(f"{bundle}: configuration of {checked.camera}, serial {checked.serial}, signed by the owner")

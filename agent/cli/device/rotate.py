"""`plateseal device rotate`: the next signing key and TLS key of a unit, while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agent.cli.options import AsJson
from agent.keys.identity import TLS_CERTIFICATE_NAME
from agent.keys.rotation import ROTATION_NAME, RotationState, RotationStep, rotate_identity


def rotate(
    directory: Annotated[Path, typer.Option("--dir", help="The unit's identity.")],
    as_json: AsJson = False,
) -> None:
    """Give a unit a new signing key and TLS key, vouched for by the old one, while it runs.

    The first run makes the keys and rotation.cose for the receiver; capture signs with the new key within seconds. Run
    it again when the new certificate is in the folder: it ends the rotation. A run that was cut off is continued.

    Example: plateseal device rotate --dir /var/lib/plateseal/identity
    """
    step = rotate_identity(directory)
    if as_json:
        typer.echo(json.dumps(_step_json(step)))
        return
    key = f"{step.name}: key {step.key_id.hex()[:16]}"
    match step.state:
        case RotationState.FINISHED:
            typer.echo(f"{key} and its certificate are in use; the rotation is finished.")
        case RotationState.BEGUN:
            typer.echo(f"{key} is in use; reads wait on the unit until the receiver knows it.")
            _print_next(step)
        case RotationState.WAITING:
            typer.echo(f"{key} is in use; the certificate for the new TLS key is not there yet.")
            _print_next(step)


def _print_next(step: RotationStep) -> None:
    typer.echo(f"Next, at the receiver: plateseal receiver enrol RECEIVER_DIR {ROTATION_NAME}")
    typer.echo(f"Put the {TLS_CERTIFICATE_NAME} it writes into {step.directory}, and run this again to finish.")


def _step_json(step: RotationStep) -> dict[str, str | None]:
    finished = step.state is RotationState.FINISHED
    return {
        "state": step.state,
        "name": step.name,
        "key_id": step.key_id.hex(),
        "old_key_id": None if step.old_key_id is None else step.old_key_id.hex(),
        "directory": str(step.directory),
        "rotation": None if finished else str(step.statement),
    }

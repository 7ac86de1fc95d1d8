"""`plateseal device rotate`: the next signing key and TLS key of a unit, while it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from agent.cli.folders import UNITS, kind_check, require_file
from agent.cli.options import AsJson
from agent.errors import UsageError
from agent.keys.identity import SIGNING_KEY_NAME, TLS_CERTIFICATE_NAME, TLS_KEY_NAME
from agent.keys.rotation import ROTATION_NAME, RotationState, RotationStep, rotate_identity
from agent.unit.doctor.diagnosis import IDENTITY, load_unit
from agent.unit.process.services import Restarts, restart_stale

PACKAGE_CONFIG: Final = Path("/etc/plateseal/unit.toml")
"""The configuration of the package's services, whose keys are in `IDENTITY`."""


def rotate(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir",
            help="The unit's identity, where the certificate lies beside the keys.",
            callback=kind_check(*reversed(UNITS)),
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="UNIT",
            help="The unit's configuration, which says where keys and tls.pem are.",
            callback=require_file,
        ),
    ] = None,
    certificate: Annotated[
        Path | None,
        typer.Option("--certificate", metavar="FILE", help="The new certificate; it is put into its place."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give a unit a new signing key and TLS key, vouched for by the old one, while it runs.

    The first run makes the keys and rotation.cose for the receiver; capture signs with the new key within seconds. Run
    it again with the new certificate: it ends the rotation. A run that was cut off is continued. Services that systemd
    has handed copies of the keys are restarted.

    Example: plateseal device rotate --config /etc/plateseal/unit.toml --certificate /media/stick/tls.pem
    """
    directory, place = _places(directory, config)
    step = rotate_identity(directory, place=place, given=certificate)
    restarts = restart_stale(directory) if directory.resolve() == IDENTITY else Restarts()
    if as_json:
        typer.echo(json.dumps(_step_json(step, restarts)))
    else:
        _print_step(step, restarts, "--config UNIT" if config is not None else f"--dir {directory}")


def _places(directory: Path | None, config: Path | None) -> tuple[Path, Path | None]:
    """Return the identity and where upload takes the certificate from.

    Raises:
        UsageError: Neither or both are named, or the configuration's keys are no identity.
    """
    if (directory is None) == (config is None):
        raise UsageError("either --config or --dir is needed")
    if directory is not None:
        if directory.resolve() != IDENTITY or not PACKAGE_CONFIG.exists():
            return directory, None
        config = PACKAGE_CONFIG
    assert config is not None
    unit = load_unit(config, credentials=IDENTITY)
    keys = unit.seal.signing_key, unit.upload.key
    identity = keys[0].parent
    if keys != (identity / SIGNING_KEY_NAME, identity / TLS_KEY_NAME):
        raise UsageError(
            f"{config}: seal.signing_key and upload.key must be {SIGNING_KEY_NAME} and {TLS_KEY_NAME} of one folder, "
            "as `plateseal device init` makes it"
        )
    return identity, unit.upload.certificate


def _print_step(step: RotationStep, restarts: Restarts, where: str) -> None:
    key = f"{step.name}: key {step.key_id.hex()[:16]}"
    in_use = "is in use" if not restarts.due else "is made"
    match step.state:
        case RotationState.FINISHED if restarts.due:
            typer.echo(f"{key} and its certificate are in their places, and the services still work with the old ones.")
        case RotationState.FINISHED:
            typer.echo(f"{key} and its certificate are in use; the rotation is finished.")
        case RotationState.BEGUN:
            typer.echo(f"{key} {in_use}; reads wait on the unit until the receiver knows it.")
        case RotationState.WAITING:
            typer.echo(f"{key} {in_use}; the certificate for the new TLS key is not there yet.")
    if restarts.done:
        typer.echo(f"Restarted, to take the new keys: {', '.join(restarts.done)}.")
    if restarts.due:
        typer.echo(f"To do, now: {restarts.command}")
    if step.state is not RotationState.FINISHED:
        typer.echo(f"Next, at the receiver: plateseal receiver enrol RECEIVER_DIR {ROTATION_NAME}")
        typer.echo(
            f"Bring the {TLS_CERTIFICATE_NAME} it writes here, and finish with: plateseal device rotate {where} "
            f"--certificate {TLS_CERTIFICATE_NAME}"
        )


def _step_json(step: RotationStep, restarts: Restarts) -> dict[str, str | list[str] | None]:
    finished = step.state is RotationState.FINISHED
    return {
        "state": step.state,
        "name": step.name,
        "key_id": step.key_id.hex(),
        "old_key_id": None if step.old_key_id is None else step.old_key_id.hex(),
        "directory": str(step.directory),
        "rotation": None if finished else str(step.statement),
        "restarted": list(restarts.done),
        "to_restart": list(restarts.due),
    }

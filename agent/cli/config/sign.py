"""`plateseal config sign`: one signed bundle per camera unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.cli.config.fleet_files import FLEET_DIR, FleetOption, sound_unit
from agent.cli.options import AsJson
from agent.cli.owner import unlock
from agent.config.bundle import public_key, sign_bundle
from agent.config.fleet import load_fleet
from agent.errors import BundleVerificationError, UsageError
from agent.keys.keyfiles import PUBLIC_MODE, replace_file
from agent.unit.reload.bundles import read_bundle

OWNER_KEY = "owner.key"
Key = Annotated[
    Path, typer.Option("--key", metavar="FILE", help="The owner's signing key, owner.key.", show_default=False)
]
Serial = Annotated[
    int, typer.Option("--serial", metavar="N", help="Higher than any these units have had.", show_default=False)
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        "--passphrase-file", metavar="FILE", help="Read the passphrase here instead of asking.", show_default=False
    ),
]


def sign(
    cameras: Annotated[
        list[str] | None, typer.Argument(metavar="[CAMERA]...", help="The units; or --all.", show_default=False)
    ] = None,
    *,
    key: Key,
    serial: Serial,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the bundles go.", show_default=False)],
    directory: FleetOption = FLEET_DIR,
    every: Annotated[bool, typer.Option("--all", help="Sign for every unit of the fleet.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Sign units' configurations: one file per camera unit, in minisign's format, with a serial number.

    Example: plateseal config sign bridge-north --key owner/owner.key --serial 7 --out bundles
    """
    if bool(cameras) == every:
        raise UsageError("name the units' cameras, or say --all")
    if key.name != OWNER_KEY:
        raise UsageError(f"--key {key}: the owner's signing key is called {OWNER_KEY}")
    fleet = load_fleet(directory)
    units = [sound_unit(fleet, name)[0] for name in cameras or [unit.name for unit in fleet.units]]
    owner_key = unlock(key.parent, passphrase_file).signing_key
    bundles = {unit.name: sign_bundle(unit.table, camera=unit.name, serial=serial, key=owner_key) for unit in units}
    try:
        out.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror or error}") from None
    paths = {name: out / f"{name}.bundle" for name in bundles}
    for path in paths.values():
        _require_older(path, serial, owner_key.public_key())
    for name, data in bundles.items():
        replace_file(paths[name], data, PUBLIC_MODE)
    public = public_key(owner_key.public_key())
    if as_json:
        files = {name: str(path) for name, path in paths.items()}
        typer.echo(json.dumps({"serial": serial, "minisign_key": public, "bundles": files}))
        return
    for path in paths.values():
        typer.echo(f"{path}: serial {serial}")
    typer.echo(f"Without plateseal: tail -n +5 FILE | minisign -V -x FILE -m /dev/stdin -P {public}")


def _require_older(path: Path, serial: int, owner_key: Ed25519PublicKey) -> None:
    """Refuse to replace a bundle by one that units which have it would refuse."""
    if path.exists():
        try:
            there = read_bundle(path, owner_key)
        except BundleVerificationError:
            message = "is there already and not signed by --key, so its serial is not known; name another --out"
            raise UsageError(f"{path}: {message}") from None
        if there.serial >= serial:
            raise UsageError(f"--serial {serial}: {path} has serial {there.serial} already; a higher one is needed")

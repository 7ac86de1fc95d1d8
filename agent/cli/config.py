"""`plateseal config`: a fleet's files, checked, shown, and signed into one bundle per camera unit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.config.schema import Layer

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from rich.table import Table

    from agent.config.fleet import Fleet, FleetUnit
    from agent.config.models import UnitConfig
    from agent.config.provenance import Setting

app = typer.Typer(
    no_args_is_help=True, help="Check a fleet's configuration, show where each value comes from, sign it."
)

FleetOption = Annotated[Path, typer.Option("--dir", metavar="DIR", help="The fleet's folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
FLEET_DIR = Path("config")
PIPE_WIDTH = 200
OWNER_KEY = "owner.key"


@app.callback()
def config() -> None:
    """Check a fleet's configuration, show where each value comes from, sign it."""


@app.command("check")
def check(
    directory: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The fleet's folder; or the file of one unit.", show_default=True)
    ] = FLEET_DIR,
    *,
    as_json: AsJson = False,
) -> None:
    """Check every file of a fleet, or one unit's file, and name all mistakes at once. Exits 0 only if there are none.

    Example: plateseal config check config
    """
    from agent.config.fleet import load_fleet  # noqa: PLC0415  the help needs none of it
    from agent.config.load import listed, load_config  # noqa: PLC0415
    from agent.errors import ConfigError  # noqa: PLC0415

    if directory.is_file():
        unit = load_config(directory)
        typer.echo(json.dumps({"units": [{"camera": unit.camera_id, "ok": True}], "problems": []}) if as_json else "ok")
        return
    fleet = load_fleet(directory)
    if as_json:
        typer.echo(json.dumps(_fleet_json(fleet)))
    else:
        _print_fleet(fleet)
    if fleet.problems:
        count = len(fleet.problems)
        lines = listed(list(fleet.problems))
        raise ConfigError(f"{lines}\n{directory}: {count} {'mistake' if count == 1 else 'mistakes'}")


def _fleet_json(fleet: Fleet) -> dict[str, object]:
    return {
        "units": [{"camera": unit.name, "site": unit.site, "ok": unit.config is not None} for unit in fleet.units],
        "problems": [
            {"file": str(each.file), "line": each.line, "key": each.key, "message": each.message}
            for each in fleet.problems
        ],
    }


def _print_fleet(fleet: Fleet) -> None:
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    table = Table("camera", "site", "source", "receiver", "")
    for unit in fleet.units:
        if unit.config is None:
            table.add_row(escape(unit.name), escape(unit.site or ""), "", "", "[red]mistakes[/red]")
            continue
        sources = [_shown_source(camera.source.uri) for camera in unit.config.cameras]
        more = f" and {len(sources) - 1} more" if len(sources) > 1 else ""
        receiver = unit.config.upload.url.removeprefix("https://")
        table.add_row(unit.name, unit.site or "", escape(sources[0] + more), receiver, "[green]ok[/green]")
    _print_table(table)


def _shown_source(uri: str) -> str:
    """Return a source without what may be long or secret; `agent.capture` would too, and loads OpenCV for it."""
    scheme, separator, rest = uri.partition("://")
    if separator:
        return f"{scheme}://{rest.partition('/')[0]}"
    return "gst: pipeline" if uri.startswith("gst:") else uri


@app.command("show")
def show(
    camera: Annotated[
        str, typer.Argument(metavar="CAMERA", help="The unit, by its camera's name.", show_default=False)
    ],
    *,
    directory: FleetOption = FLEET_DIR,
    as_toml: Annotated[bool, typer.Option("--toml", help="Print a unit's own file, as it starts with.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what holds for one unit, and the file and line that each value comes from.

    Example: plateseal config show bridge-north --dir config
    """
    from rich.markup import escape  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from agent.config.bundle import unit_toml  # noqa: PLC0415
    from agent.config.fleet import load_fleet  # noqa: PLC0415
    from agent.config.provenance import settings_of  # noqa: PLC0415

    unit, effective = _sound(load_fleet(directory), camera)
    if as_toml:
        typer.echo(unit_toml(unit.table), nl=False)
        return
    settings = settings_of(unit, effective)
    if as_json:
        typer.echo(json.dumps({"camera": camera, "settings": {each.key: _setting_json(each) for each in settings}}))
        return
    table = Table("setting", "value", "from")
    for each in settings:
        style = "dim" if each.file is None else ""
        table.add_row(each.key, escape(json.dumps(each.value, ensure_ascii=False)), escape(each.source), style=style)
    _print_table(table)


def _print_table(table: Table) -> None:
    """Print a table as wide as it needs where nobody's terminal sets a width."""
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    (console if console.is_terminal else Console(width=PIPE_WIDTH)).print(table)


def _setting_json(setting: Setting) -> dict[str, object]:
    return {
        "value": setting.value,
        "file": None if setting.file is None else str(setting.file),
        "line": setting.line,
    }


@app.command("schema")
def schema(
    layer: Annotated[Layer | None, typer.Argument(help="Which file it is for.", show_default=False)] = None,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Write the schemas of all layers into this folder.")
    ] = None,
) -> None:
    """Print the JSON Schema of a layer's files, from which editors complete and check.

    Example: plateseal config schema --out config/.schema
    """
    from agent.config.schema import layer_schema  # noqa: PLC0415
    from agent.errors import UsageError  # noqa: PLC0415

    if (layer is None) == (out is None):
        raise UsageError(f"one of a LAYER ({', '.join(Layer)}) and --out DIR is needed")
    if layer is not None:
        typer.echo(json.dumps(layer_schema(layer), indent=2))
    if out is not None:
        try:
            out.mkdir(exist_ok=True)
            for each in Layer:
                (out / f"{each}.json").write_text(json.dumps(layer_schema(each), indent=2) + "\n")
        except OSError as error:
            raise UsageError(f"--out {out}: {error.strerror or error}") from None
        typer.echo(f"{out}: {', '.join(f'{each}.json' for each in Layer)}")


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


@app.command("sign")
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
    from agent.cli.owner import unlock  # noqa: PLC0415
    from agent.config.bundle import public_key, sign_bundle  # noqa: PLC0415
    from agent.config.fleet import load_fleet  # noqa: PLC0415
    from agent.errors import UsageError  # noqa: PLC0415
    from agent.keys.keyfiles import PUBLIC_MODE, replace_file  # noqa: PLC0415

    if bool(cameras) == every:
        raise UsageError("name the units' cameras, or say --all")
    if key.name != OWNER_KEY:
        raise UsageError(f"--key {key}: the owner's signing key is called {OWNER_KEY}")
    fleet = load_fleet(directory)
    units = [_sound(fleet, name)[0] for name in cameras or [unit.name for unit in fleet.units]]
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


@app.command("verify")
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
    from agent.config.check import on_any_machine  # noqa: PLC0415
    from agent.disk.files import LocalFiles  # noqa: PLC0415
    from agent.errors import BundleVerificationError, ConfigError, UsageError  # noqa: PLC0415
    from agent.keys.keyfiles import load_ed25519_public  # noqa: PLC0415
    from agent.unit.reload.trial import newest_serial, read_bundle, require_for  # noqa: PLC0415

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


def _sound(fleet: Fleet, name: str) -> tuple[FleetUnit, UnitConfig]:
    """Return a unit whose files have no mistake, and what they say."""
    from agent.config.load import listed  # noqa: PLC0415
    from agent.errors import ConfigError  # noqa: PLC0415

    unit = fleet.unit(name)
    files = {layer.path for layer in unit.layers} | unit.unread
    problems = [problem for problem in fleet.problems if problem.file in files]
    if problems or unit.config is None:
        raise ConfigError(listed(problems))
    return unit, unit.config


def _require_older(path: Path, serial: int, owner_key: Ed25519PublicKey) -> None:
    """Refuse to replace a bundle by one that units which have it would refuse."""
    from agent.errors import BundleVerificationError, UsageError  # noqa: PLC0415
    from agent.unit.reload.trial import read_bundle  # noqa: PLC0415

    if path.exists():
        try:
            there = read_bundle(path, owner_key)
        except BundleVerificationError:
            message = "is there already and not signed by --key, so its serial is not known; name another --out"
            raise UsageError(f"{path}: {message}") from None
        if there.serial >= serial:
            raise UsageError(f"--serial {serial}: {path} has serial {there.serial} already; a higher one is needed")

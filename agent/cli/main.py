"""`plateseal`: the commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from agent import __version__
from agent.cli import bench, config, custody, demo, device, doctor, models, read, receiver, spool, status
from agent.errors import PlatesealError, UsageError

INTERRUPTED: Final = 130
"""What shells say of a program that Ctrl-C ended."""

app = typer.Typer(
    name="plateseal",
    help="Reads plates at the edge, seals each read to its owner, and erases only on proof of delivery.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(spool.app, name="spool")
app.add_typer(models.app, name="models")
app.add_typer(device.app, name="device")
app.add_typer(receiver.app, name="receiver")
app.add_typer(custody.app, name="custody")
app.add_typer(config.app, name="config")
app.command("demo")(demo.demo)
app.command("read")(read.read)
app.command("bench")(bench.bench)
app.command("doctor")(doctor.doctor)
app.command("status")(status.status)

ConfigOption = Annotated[
    Path, typer.Option("--config", metavar="FILE", help="The unit's configuration (TOML).", show_default=False)
]


def _print_version(*, wanted: bool) -> None:
    if wanted:
        typer.echo(f"plateseal {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


@app.command()
def capture(config: ConfigOption) -> None:
    """Read frames, read plates, and put sealed reads into the spool.

    Example: plateseal capture --config /etc/plateseal/unit.toml
    """
    from agent.config.load import load_config  # noqa: PLC0415
    from agent.unit.capture.daemon import run_capture  # noqa: PLC0415  loads the vision libraries, which `upload` never needs
    from agent.unit.status.last_error import noted_errors  # noqa: PLC0415

    unit = load_config(config)
    with noted_errors(unit.state_dir, "capture"):
        run_capture(unit)


@app.command()
def upload(
    config: ConfigOption,
    *,
    drain: Annotated[bool, typer.Option("--drain", help="End when nothing is left to send.")] = False,
) -> None:
    """Deliver sealed reads from the spool and erase them against receipts.

    Example: plateseal upload --config /etc/plateseal/unit.toml --drain
    """
    from agent.config.load import load_config  # noqa: PLC0415
    from agent.unit.status.last_error import noted_errors  # noqa: PLC0415
    from agent.unit.upload.daemon import run_upload  # noqa: PLC0415

    unit = load_config(config)
    with noted_errors(unit.state_dir, "upload"):
        run_upload(unit, drain=drain)


@app.command()
def run(config: ConfigOption) -> None:
    """Run capture and upload together, each as its own process; ends when a recording is through and delivered.

    Example: plateseal run --config unit.toml
    """
    from agent.unit.process.run import run_unit  # noqa: PLC0415

    run_unit(config)


def main() -> None:
    """Run the command line; every error of ours becomes one line on standard error and its class's exit code.

    So does a command line that is none, and a path that this user may not look at, wherever it was looked at.
    """
    try:
        sys.exit(app(standalone_mode=False))
    except PlatesealError as error:
        _complain(str(error))
        sys.exit(error.exit_code)
    except TyperException as error:
        _complain(error.format_message().replace("Value error, ", ""))
        sys.exit(UsageError.exit_code)
    except typer.Abort:
        sys.exit(INTERRUPTED)
    except PermissionError as error:
        _complain(f"{error.filename}: {error.strerror}; run this as whoever it belongs to, or as root")
        sys.exit(UsageError.exit_code)


def _complain(message: str) -> None:
    for line in message.splitlines():
        typer.echo(f"plateseal: {line}", err=True)


if __name__ == "__main__":
    main()

"""`plateseal`: the commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from agent import __version__
from agent.cli.lazy import Place, add_commands
from agent.errors import INTERRUPTED, PlatesealError, UsageError

app = typer.Typer(
    name="plateseal",
    help="Reads plates at the edge, seals each read to its owner, and erases only on proof of delivery.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_commands(
    app,
    {
        "demo": Place(
            "agent.cli.demo:demo",
            "Play a clip through camera, spool, mutual TLS and receiver, erase against receipts, and open the reads.",
        ),
        "read": Place(
            "agent.cli.read:read",
            "Read plates from pictures, recordings or a camera and show them. Nothing is sealed or kept.",
        ),
        "aim": Place(
            "agent.cli.aim.command:aim",
            "Show live in the terminal how well a camera is aimed: plates, what the reader needs, and what to do.",
        ),
        "bench": Place(
            "agent.cli.bench:bench",
            "Play a recording, score what is read against the truth, and measure what it costs.",
        ),
        "doctor": Place(
            "agent.cli.doctor:doctor",
            "Look the unit over: cameras, models, clock, disk, permissions, keys, receiver, sockets, swap, services.",
        ),
        "status": Place(
            "agent.cli.status:status", "Show what the unit does now: cameras, reads, backlog, receiver, clock, keys."
        ),
        "capture": Place("agent.cli.capture:capture", "Read frames, read plates, and put sealed reads into the spool."),
        "upload": Place(
            "agent.cli.upload:upload", "Deliver sealed reads from the spool and erase them against receipts."
        ),
        "run": Place(
            "agent.cli.run:run",
            "Run capture and upload together, each as its own process; ends when a recording is through and delivered.",
        ),
        "spool": Place("agent.cli.spool:app", "Look at the sealed reads that wait on a unit, and at those set aside."),
        "models": Place("agent.cli.models:app", "List, verify and fetch models. Only `fetch` uses the network."),
        "device": Place("agent.cli.device:app", "Make a unit's keys, rotate them, and ask for them to be enrolled."),
        "receiver": Place("agent.cli.receiver:app", "Run the reference receiver and enrol units with it."),
        "custody": Place(
            "agent.cli.custody:app", "The owner's tools. Keep them, and the keys they make, away from every device."
        ),
        "config": Place(
            "agent.cli.config:app", "Check a fleet's configuration, show where each value comes from, sign it."
        ),
    },
)


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

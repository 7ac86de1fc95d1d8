"""`plateseal custody` in this process, on a bench's folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from typer.testing import CliRunner

from agent.cli.custody import app
from agent.errors import PlatesealError

CASE = ("--case", "2027-0815", "--reason", "hit and run")


@dataclass(frozen=True)
class Done:
    """How a command ended: exit code, standard output, standard error with the error's own line."""

    code: int
    out: str
    err: str


def custody(*arguments: str | Path) -> Done:
    """Run a command; anything but an error of ours is raised as it is."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is None or isinstance(done.exception, SystemExit):
        return Done(done.exit_code, done.stdout, done.stderr)
    if not isinstance(done.exception, PlatesealError):
        raise done.exception
    return Done(done.exception.exit_code, done.stdout, f"{done.stderr}{done.exception}\n")

"""Commands that are imported when they are called, so that help and a mistyped command need only this package.

Each command stands in a module of its own, which imports at its top whatever the command works with. A group knows the
name, the place and the first sentence of each of its commands. That the sentences are those of the commands' own help
is checked by a test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand

if TYPE_CHECKING:
    from typer._click import Command, Context  # typer's copy of click has no public name


@dataclass(frozen=True, slots=True)
class Place:
    """Where a command is, and what a group's help says of it.

    `path` is `module:name`; the name is a function with typer's annotations, or the `typer.Typer` of a group.
    """

    path: str
    summary: str


class LazyCommand(TyperCommand):
    """Stands in a group for a command whose module is not imported yet. A subclass per command names the place."""

    place: ClassVar[Place]

    def load(self) -> Command:
        """Import the command's module and return the command itself."""
        module, _, attribute = self.place.path.partition(":")
        return _command_of(getattr(import_module(module), attribute), self.name)

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: Context | None = None,
        **extra: Any,  # noqa: ANN401  the overridden method's own
    ) -> Context:
        """Parse the arguments by the command itself, which is in the context that this returns."""
        return self.load().make_context(info_name, args, parent, **extra)


@cache
def _command_of(found: typer.Typer | Callable[..., object], name: str | None) -> Command:
    """Return a group, or the command of a function; it is made once."""
    if isinstance(found, typer.Typer):
        return typer.main.get_command(found)
    alone = typer.Typer(add_completion=False)
    alone.command(name)(found)
    return typer.main.get_command(alone)


def add_commands(app: typer.Typer, places: Mapping[str, Place]) -> None:
    """Add commands by their places, in the order in which the help lists them."""
    for name, place in places.items():
        kind = type("LazyCommand", (LazyCommand,), {"place": place})
        app.command(name, cls=kind, help=place.summary)(_not_loaded)


def group(summary: str, places: Mapping[str, Place]) -> typer.Typer:
    """Return a group of commands that shows its help where no command is named."""
    app = typer.Typer(no_args_is_help=True, add_completion=False, help=summary)
    app.callback()(_not_loaded)
    add_commands(app, places)
    return app


def _not_loaded() -> None:
    """Stand for the function of a command, which has its own when it is loaded."""

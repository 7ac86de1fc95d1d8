"""The house rules that a program can check: layers, error tree, exit codes, command names, docstrings."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import agent.errors
from agent import ports
from agent.cli.main import app
from agent.errors import PlatesealError
from tests.rules.source import functions

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("agent", "tests") for path in (ROOT / folder).rglob("*.py"))


def error_classes() -> list[type[PlatesealError]]:
    """Return every class of the tree."""
    found = [PlatesealError]
    for parent in found:
        found.extend(parent.__subclasses__())
    return found


def commands(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every command of the program: its words and its help text."""
    children: dict[str, Any] | None = getattr(command, "commands", None)
    if children is None:
        yield words, command.help or ""
        return
    for name, child in sorted(children.items()):
        yield from commands(child, (*words, name))


ALL_COMMANDS = dict(commands(typer.main.get_command(app), ("plateseal",)))


def test_the_layers_hold() -> None:
    """import-linter, with the contracts of pyproject.toml."""
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_error_tree_is_drawn_as_it_is() -> None:
    """Class and exit code in the docstring of agent.errors are those of the code, and none is missing."""
    drawn = {
        name: int(code)
        for name, code in re.findall(r"(\w+Error) +(\d+)$", inspect.getdoc(agent.errors) or "", re.MULTILINE)
    }
    real = {kind.__name__: kind.exit_code for kind in error_classes() if kind is not PlatesealError}
    assert drawn == real


def test_every_error_lives_in_one_module() -> None:
    """No private exceptions elsewhere in the tree."""
    assert {kind.__module__ for kind in error_classes()} == {"agent.errors"}


def test_exit_codes_tell_the_families_apart() -> None:
    """Direct children of the root have codes of their own; 0, 1 and the shell's codes are free."""
    codes = [kind.exit_code for kind in PlatesealError.__subclasses__()]
    assert len(codes) == len(set(codes))
    assert all(2 <= code < 64 for code in codes)


def test_ports_have_at_most_five_methods() -> None:
    """A larger port is two."""
    sizes = {
        name: len([member for member in vars(port) if not member.startswith("_")])
        for name, port in inspect.getmembers(ports, inspect.isclass)
        if port.__module__ == ports.__name__
    }
    assert "Spool" in sizes
    assert {name: size for name, size in sizes.items() if size > 5} == {}


@pytest.mark.parametrize("words", ALL_COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(words: tuple[str, ...]) -> None:
    """A first sentence, and an example that begins with the command's own words."""
    text = ALL_COMMANDS[words]
    assert re.search(r"Example: +" + " ".join(words), text), text


def test_the_document_names_the_commands_that_there_are() -> None:
    """The table in docs/COMMANDS.md and `--help` say the same, word for word."""
    document = (ROOT / "docs" / "COMMANDS.md").read_text()
    table = document.split("<!-- commands -->")[1].split("<!-- /commands -->")[0]
    documented = {
        match[1]: match[2].strip()
        for match in re.finditer(r"^\| `(plateseal [^`]+)` \| (.+?) \|$", table, re.MULTILINE)
    }
    real = {" ".join(words): first_sentence(text) for words, text in ALL_COMMANDS.items()}
    assert documented == real


def first_sentence(text: str) -> str:
    """Return a help text's first sentence on one line."""
    return re.split(r"(?<=\.)\s", " ".join(text.split()), maxsplit=1)[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_module_says_what_it_owns(path: Path) -> None:
    """A docstring stands first, also in tests."""
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize(
    "path", sorted((ROOT / "tests").rglob("test_*.py")), ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_test_names_its_property(path: Path) -> None:
    """Each has a docstring; that each is certain to assert is for `test_rules_of_tests.py`."""
    tests = [(name, node) for name, node in functions(ast.parse(path.read_text())) if node.name.startswith("test_")]
    assert [name for name, node in tests if not ast.get_docstring(node)] == []


def test_the_table_of_quality_names_files_that_are_there() -> None:
    """A row that says where a rule is checked would otherwise outlive the check."""
    named = set(re.findall(r"`((?:tests|agent|deb|docs|\.ci)/[^`*]*)`", (ROOT / "docs" / "QUALITY.md").read_text()))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / name).exists()) == []

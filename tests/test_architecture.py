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
from agent.cli.lazy import LazyCommand
from agent.cli.main import app
from agent.errors import PlatesealError
from tests.rules.source import Function, functions

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("agent", "tests") for path in (ROOT / folder).rglob("*.py"))


def error_classes() -> list[type[PlatesealError]]:
    """Return every class of the tree."""
    found = [PlatesealError]
    for parent in found:
        found.extend(parent.__subclasses__())
    return found


def tree(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, str]]:
    """Yield every command and group of the program: its words, itself, and what the group above says of it."""
    children: dict[str, LazyCommand] = getattr(command, "commands", {})
    for name, child in sorted(children.items()):
        loaded = child.load()
        yield (*words, name), loaded, child.place.summary
        yield from tree(loaded, (*words, name))


TREE = list(tree(typer.main.get_command(app), ("plateseal",)))
ALL_COMMANDS = {words: command.help or "" for words, command, _ in TREE if not hasattr(command, "commands")}
SUMMARIES = {words: (summary, (command.help or "").split("\n\n")[0]) for words, command, summary in TREE}


@pytest.mark.needs("campaigns")
def test_the_layers_hold() -> None:
    """import-linter, with the contracts of pyproject.toml; `make check` runs it too."""
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


@pytest.mark.parametrize("words", SUMMARIES, ids=" ".join)
def test_a_group_says_of_a_command_what_its_help_says_first(words: tuple[str, ...]) -> None:
    """The sentences in the groups' tables, which stand there so that an overview imports no command."""
    said, first_paragraph = SUMMARIES[words]
    assert said == " ".join(first_paragraph.split())


GROUPS = [(), *(words[1:] for words, command, _ in TREE if hasattr(command, "commands"))]
LAST_WORDS = ("--help", "there-is-none")
LOADED = """
import os, sys
import typer.main  # which all have in common
for words in sys.argv[1:]:
    if child := os.fork():
        os.waitpid(child, 0)
        continue
    from agent.cli.main import main
    sys.argv = ["plateseal", *words.split()]
    try:
        main()
    finally:
        names = sorted(name for name in sys.modules if name.startswith("agent."))
        print("loaded by", words, " ".join(names), sep="\\t", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Return which of our modules each group's help loads, and each command that there is not."""
    lines = [" ".join((*group, last)) for group in GROUPS for last in LAST_WORDS]
    done = subprocess.run([sys.executable, "-c", LOADED, *lines], cwd=ROOT, capture_output=True, text=True, check=True)
    told = [line.split("\t")[1:] for line in done.stderr.splitlines() if line.startswith("loaded by\t")]
    assert len(told) == len(lines), done.stderr
    return {line: set(names.split()) for line, names in told}


@pytest.mark.parametrize("group", GROUPS)
def test_an_overview_imports_no_command(loaded: dict[str, set[str]], group: tuple[str, ...]) -> None:
    """Nor does a command that there is not: only the groups' tables, the errors and typer are loaded for them."""
    most = {"agent.cli", "agent.errors", *(f"agent.cli.{name}" for name in ("main", "lazy", *group))}
    for last in LAST_WORDS:
        assert loaded[" ".join((*group, last))] == most


def test_only_commands_that_look_at_pictures_load_what_is_for_pictures() -> None:
    """NumPy alone takes a fifth or more of the start of a command, and 12 MB in a daemon."""
    with_pictures = ("aim", "bench", "capture", "demo", "read", "models")  # `run` and `doctor` start others for that
    modules = {
        path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for path in (ROOT / "agent" / "cli").rglob("*.py")
        if path.stem not in (*with_pictures, "reading") and path.parent.name not in with_pictures
    }
    assert {f"agent.cli.{name}" for name in ("upload", "receiver.serve", "custody.open", "status")} <= modules
    script = "import importlib, sys\nfor name in sys.argv[1:]:\n    importlib.import_module(name)\nprint(*sys.modules)"
    command = [sys.executable, "-c", script, *sorted(modules)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "agent.records" in loaded
    assert {"numpy", "cv2", "onnxruntime"}.isdisjoint(loaded)


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


def test_files_and_functions_of_the_agent_are_short() -> None:
    """At most 400 lines a file and 60 a function, the docstring and the options of a command among them."""
    files = {path.relative_to(ROOT): path.read_text() for path in SOURCES if path.is_relative_to(ROOT / "agent")}
    sizes = {
        f"{path}: {node.name}": node.end_lineno - node.lineno + 1
        for path, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function) and node.end_lineno is not None
    }
    assert len(files) > 100
    assert len(sizes) > 1000
    assert {path: len(text.splitlines()) for path, text in files.items() if len(text.splitlines()) > 400} == {}
    assert {name: size for name, size in sizes.items() if size > 60} == {}


def test_functions_of_the_agent_import_nothing_without_a_reason() -> None:
    """Imports stand at the top of a module; one that does not says why on its line."""
    lines = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in SOURCES
        if path.is_relative_to(ROOT / "agent")
        for line in path.read_text().splitlines()
        if "noqa: PLC0415" in line
    ]
    assert len(lines) <= 5
    assert [line for line in lines if not line.partition("noqa: PLC0415")[2].strip()] == []


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

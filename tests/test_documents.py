"""The documents say what is so: generated parts, commands with their options, files and names, links, terms."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import typer.main

from agent.cli.main import app
from agent.config.schema import Layer, layer_schema
from agent.upload import causes
from tests.documents import DOCS, GENERATED, generated

ROOT: Final = Path(__file__).parents[1]
DOCUMENTS: Final = sorted([*DOCS.glob("*.md"), *ROOT.glob("*.md")])
OF_TODAY: Final = [path for path in DOCUMENTS if path.name != "CHANGELOG.md"]
CODE: Final = re.compile(r"```[a-z]*\n(.*?)```|`([^`]+)`", re.DOTALL)
CALL: Final = re.compile(r"(?<![\w./\"-])plateseal +((?:[^\n|;&>]|\\\n)+)")


def names(paths: list[Path]) -> list[str]:
    """Return how tests are called that run over documents."""
    return [path.name for path in paths]


@pytest.mark.parametrize("name", GENERATED)
def test_what_is_generated_is_up_to_date(name: str) -> None:
    """`make docs` would change nothing."""
    assert (DOCS / name).read_text() == generated(name), "run: make docs"


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield a command and all below it, those that are loaded when they are called among them, each by its words."""
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child.load() if hasattr(child, "load") else child, (*words, name))


COMMANDS: Final = dict(commands(typer.main.get_command(app)))


def calls(document: str) -> Iterator[str]:
    """Yield what follows the program's name wherever a document's code calls it."""
    for match in CODE.finditer(document):
        for call in CALL.finditer(match[1] or match[2]):
            yield call[1].replace("\\\n", " ")


def complaint(call: str) -> str | None:
    """Return what of a call the program does not know; None where it knows all of it."""
    words = call.split()
    depth = max(depth for depth in range(len(words) + 1) if tuple(words[:depth]) in COMMANDS)
    command, words = COMMANDS[tuple(words[:depth])], words[depth:]
    if hasattr(command, "commands") and words and re.fullmatch(r"[a-z][a-z-]*", words[0]):
        return f"no command {words[0]!r} in: plateseal {call}"
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    used = {word.strip("`'\".,)").partition("=")[0] for word in words if word.startswith("--")}
    return f"no option {sorted(used - known)} in: plateseal {call}" if used - known else None


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_commands_in_a_document_exist_with_these_options(path: Path) -> None:
    """Also in inline code. What is shown but not there would fail whoever is in a hurry."""
    assert [found for call in calls(path.read_text()) if (found := complaint(call))] == []


def test_calls_are_found_and_judged() -> None:
    """The documents that consist of commands have some; a wrong command and a wrong option are told."""
    assert all(len(list(calls((DOCS / name).read_text()))) > 10 for name in ("RUNBOOK.md", "OPERATE.md", "ENROL.md"))
    assert complaint("receiver enrol DIR FILE --overlap 7d") is None
    assert complaint("receiver enrol DIR FILE --overlaps 7d") is not None
    assert complaint("receiver enroll DIR FILE") is not None


def test_the_map_of_the_architecture_names_what_is_there() -> None:
    """Each file that the map names exists, and each name in brackets behind it stands in that file."""
    chart = (DOCS / "ARCHITECTURE.md").read_text().split("## Where does")[1].split("\n## ")[0]
    named = re.findall(r"`(agent/[^`]*)`(?: and `(agent/[^`]*)`)?(?: \(`([^`]*)`\))?", chart)
    assert len(named) > 8
    files = [(file, name) for first, second, name in named for file in (first, second) if file]
    assert [file for file, _ in files if not (ROOT / file).exists()] == []
    assert [(file, name) for file, name in files if name and name not in (ROOT / file).read_text()] == []


@pytest.mark.parametrize("path", OF_TODAY, ids=names(OF_TODAY))
def test_files_that_a_document_names_exist(path: Path) -> None:
    """Paths in inline code: from the root, or from `agent` as in ARCHITECTURE.md; not what is beside the repository."""
    named = re.findall(r"`((?!\.\./)(?:[\w.-]+/)+[\w-]+\.(?:py|toml|md|service|timer))\b[^`*]*`", path.read_text())
    assert [file for file in named if not any((root / file).exists() for root in (ROOT, ROOT / "agent"))] == []


@pytest.mark.parametrize("path", OF_TODAY, ids=names(OF_TODAY))
def test_tests_that_a_document_names_exist(path: Path) -> None:
    """As pytest names them: the file, two colons, the function. A claim whose test was renamed shows nothing."""
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", path.read_text())
    assert [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text()] == []


def test_each_cannot_of_the_threat_model_says_what_shows_it() -> None:
    """What nobody tests is a hope. What somebody can do needs no test."""
    rows = [line for line in (DOCS / "THREAT-MODEL.md").read_text().splitlines() if line.startswith("| cannot |")]
    assert len(rows) > 30
    assert [row for row in rows if not row.split("|")[-2].strip()] == []


def test_the_runbook_has_each_cause_of_a_failed_delivery() -> None:
    """Whoever reads a cause in a log finds there what mends it, by the very words."""
    runbook = (DOCS / "RUNBOOK.md").read_text()
    receivers = [words.partition(";")[0].removeprefix("the receiver's certificate ") for _, words in causes._RECEIVERS]
    causes_told = [*causes._OWN.values(), *receivers]
    assert len(causes_told) > 15
    assert [words for words in causes_told if f'"{words}"' not in runbook] == []


def anchors(path: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("path", DOCUMENTS, ids=names(DOCUMENTS))
def test_links_of_a_document_lead_somewhere(path: Path) -> None:
    """Files exist, and so do headings that a link names."""
    broken = []
    for target, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)]*))?\)", path.read_text()):
        file = path.parent / target if target else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(f"{target}#{anchor}")
    assert broken == []


TERMS: Final = (
    "AEAD|audit log|backlog|batch|bundle|case|certificate|chain|contradicted|credential|crop|daemon|destroy|detector|"
    "digest|doctor|drain|enrol|envelope|epoch|evicted|expired|fleet|forked|frame|frozen|gate|genuine|hold|identity|"
    "inference|jitter|key frame|keyring|lane|layer|look|loopback|manifest|mask|minisign|operator|owner|passage|"
    "passphrase|pipeline|read|reader|receipt|receiver|recipient|recording|record|region|replayed|revoked|revoke|"
    "rotated|rotate|seal|serial|set aside|spool|swap|threshold|track|truth|unit|vote"
)
"""Words of this field, or with a meaning of their own here, that help texts and settings use."""


def help_texts() -> Iterator[str]:
    """Yield the help of every command and option, and the description of every setting."""
    for command in COMMANDS.values():
        yield command.help or ""
        yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
    definitions = layer_schema(Layer.UNIT)
    for section in (definitions, *definitions["$defs"].values()):
        yield section.get("description", "")
        yield from (info.get("description", "") for info in section.get("properties", {}).values())


def test_the_glossary_has_the_terms_of_help_and_settings() -> None:
    """A term of the list that help or settings use has a row; one that nobody uses any more has left the list."""
    terms = TERMS.split("|")
    used = " ".join(help_texts()).lower().replace("-", " ")
    rows = re.findall(r"^\| (.+?) \|", (DOCS / "GLOSSARY.md").read_text(), re.MULTILINE)
    explained = {word.strip("` ").lower() for row in rows for word in row.split(",")}
    assert [term for term in terms if not re.search(rf"\b{term.lower()}", used)] == []
    assert [term for term in terms if term.lower() not in explained] == []

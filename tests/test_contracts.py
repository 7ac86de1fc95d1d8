"""Who may do what: make a file durable, read a private key, start a circle of imports.

import-linter has the layers (`pyproject.toml`); what it cannot see stands here. Each gate is tried on a small bad
example too: a gate that lets everything through fails here.
"""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Final

import grimp
import pytest

from tests.rules.names import methods, named, path_moves

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "agent").rglob("*.py"))

DURABLE: Final = frozenset(
    {"os.fsync", "os.fdatasync", "os.sync", "os.replace", "os.rename", "os.renames", "os.link"}
    | {"shutil.move", "pathlib.Path.replace", "pathlib.Path.rename", "pathlib.Path.hardlink_to"}
)
"""What makes a file durable, or gives it the name under which it is found after a power cut."""
NO_MOVES: Final = {"self._file.replace": "`ConfigNoteFile.replace`: a note, which goes through `agent.disk.notes`"}
"""Methods of one argument that are called like those of a path and are none: what they are."""

_PEM: Final = "cryptography.hazmat.primitives.serialization"
PRIVATE: Final = frozenset(
    {
        f"agent.keys.keyfiles.{name}"
        for name in ("load_ed25519_private", "load_p256_private", "load_server_private", "read_private_file")
    }
    | {f"{_PEM}.load_{form}_private_key" for form in ("pem", "der", "ssh")}
    | {f"{_PEM}.pkcs12.load_key_and_certificates", f"{_PEM}.pkcs12.load_pkcs12"}
)
"""What reads a private key file, or turns its bytes into a key."""
PRIVATE_METHODS: Final = frozenset({"load_cert_chain"})
"""Methods of `ssl.SSLContext` that read one."""
PRIVATE_READERS: Final = {
    "agent/cli/receiver/state.py": "the verifier's own key signs what it remembers",
    "agent/receiver/backup.py": "copies the receiver's private keys, where that is asked for",
    "agent/receiver/admission/pki.py": "the CA key signs certificates, the receipt key the records of devices",
    "agent/receiver/admission/receipt_change.py": "one receipt key follows another",
    "agent/receiver/admission/renewals.py": "the receipt key signs the records of devices",
    "agent/receiver/admission/revoke.py": "the receipt key signs the records of devices",
    "agent/receiver/admission/server_certificate.py": "the receiver's certificate is renewed for the key that it has",
    "agent/receiver/intake/server.py": "the receipt key signs receipts",
    "agent/receiver/intake/server_tls.py": "the receiver's TLS key, which OpenSSL reads from its file",
    "agent/receiver/stores/objects.py": "an object store's keys, which lie as a private key does",
    "agent/unit/capture/cameras.py": "a camera's login, which lies as a private key does",
    "agent/unit/reload/capture.py": "a new configuration is tried before the daemon takes it",
    "agent/unit/upload/tls_files.py": "the unit's TLS key is looked at with care before OpenSSL reads it",
    "agent/upload/tls.py": "OpenSSL reads the unit's TLS key from its file",
    "agent/unit/doctor/delivery.py": "the doctor signs a probe with the unit's key",
    "agent/unit/doctor/files.py": "the doctor says what is wrong with the unit's keys",
    "agent/unit/doctor/parts.py": "the doctor seals a sample with the unit's key",
}
"""Modules outside of `keys` and `custody` that read private key files: what for."""

QUESTIONS: Final = ("is_", "has_", "must_", "may_", "should_")
EFFECTS_ALLOWED: Final = {"agent/picture.py": {"bgr", "luma", "sample"}}
"""A picture keeps what was made of it, for who looks next. `agent/vision` is not looked at."""


def name_of(path: Path) -> str:
    """Return a path below the repository's root."""
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Return the trees of all modules by name."""
    return {name_of(path): ast.parse(path.read_text()) for path in SOURCES}


def outside(trees: dict[str, ast.Module], *rooms: str) -> dict[str, ast.Module]:
    """Return the trees of all modules that are in none of these rooms, by name."""
    return {
        name: tree for name, tree in trees.items() if not name.startswith(tuple(f"agent/{room}/" for room in rooms))
    }


def durable_steps(tree: ast.Module) -> set[str]:
    """Return what a module does that makes files durable."""
    return set(named(tree)) & DURABLE | set(path_moves(tree)) - NO_MOVES.keys()


def private_reads(tree: ast.Module) -> set[str]:
    """Return what a module does that reads private key files."""
    return set(named(tree)) & PRIVATE | set(methods(tree)) & PRIVATE_METHODS


def predicates_with_effects(tree: ast.Module) -> set[str]:
    """Return the properties and `is_*`, `has_*`, `must_*` functions that set an attribute or call something in vain."""
    return {
        each.name
        for each in ast.walk(tree)
        if isinstance(each, ast.FunctionDef)
        and (
            each.name.lstrip("_").startswith(QUESTIONS)
            or any(ast.unparse(d) == "property" for d in each.decorator_list)
        )
        and any(map(_is_effect, ast.walk(each)))
    }


def _is_effect(node: ast.AST) -> bool:
    match node:
        case (
            ast.Attribute(ctx=ast.Store() | ast.Del())
            | ast.Subscript(ctx=ast.Store() | ast.Del(), value=ast.Attribute())
        ):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Attribute() | ast.Name(id="self")))):
            return True
    return False


def circles(graph: grimp.ImportGraph) -> set[frozenset[str]]:
    """Return the groups of modules that import each other by some way (strongly connected components)."""
    groups = {
        frozenset({name} | (graph.find_upstream_modules(name) & graph.find_downstream_modules(name)))
        for name in graph.modules
    }
    return {group for group in groups if len(group) > 1}


def test_only_disk_makes_files_durable(trees: dict[str, ast.Module]) -> None:
    """A sync, a rename or a link anywhere else has an order of steps that no fault test knows."""
    others = outside(trees, "disk")
    assert "agent/keys/keyfiles.py" in others
    assert {name: steps for name, tree in others.items() if (steps := durable_steps(tree))} == {}


def test_only_keys_and_custody_read_private_keys(trees: dict[str, ast.Module]) -> None:
    """And those of the table, each with its reason; one that does so no more leaves the table."""
    assert {
        name for name, tree in outside(trees, "keys", "custody").items() if private_reads(tree)
    } == PRIVATE_READERS.keys()


def test_questions_have_no_effect(trees: dict[str, ast.Module]) -> None:
    """Who asks changes nothing, so it may be asked in any order and as often as one likes."""
    found = {name: asked for name, tree in outside(trees, "vision").items() if (asked := predicates_with_effects(tree))}
    assert found == EFFECTS_ALLOWED


BAD_QUESTIONS = {
    "it remembers": "def is_new(self):\n    self.seen = 1",
    "it counts": "def has_room(self):\n    self.asked += 1\n    return True",
    "it fills a table": "def is_new(self, key):\n    self.seen[key] = 1",
    "it calls back": "def is_set(self):\n    self._beat()\n    return True",
    "it empties a list": "def _must_list(self):\n    self.newest.clear()",
    "a property": "class A:\n    @property\n    def state(self):\n        self._look()\n        return 1",
}


@pytest.mark.parametrize("body", BAD_QUESTIONS.values(), ids=BAD_QUESTIONS)
def test_the_gate_sees_questions_with_effects(body: str) -> None:
    """However they change something."""
    assert predicates_with_effects(ast.parse(body))


def test_no_modules_import_each_other() -> None:
    """No circle of files, whatever its length; imports inside of functions and for types count."""
    graph = grimp.build_graph("agent", cache_dir=None)
    assert len(graph.modules) > 100
    assert circles(graph) == set()


BAD_DURABILITY = {
    "a sync": "import os\nos.fsync(fd)",
    "a sync under another name": "import os as system\nsystem.fdatasync(fd)",
    "a sync that is imported": "from os import fsync as sync\nsync(fd)",
    "a sync that is passed on": "import os\nrun(os.fsync)",
    "a sync inside of a function": "def f():\n    import os\n    os.fsync(1)",
    "a rename": "import os\nos.rename(a, b)",
    "a move": "import shutil\nshutil.move(a, b)",
    "a path's rename": "temporary.replace(path)",
    "a path's link": "path.with_name('x').hardlink_to(path)",
    "an unbound method": "from pathlib import Path\nPath.replace(a, b)",
}


@pytest.mark.parametrize("body", BAD_DURABILITY.values(), ids=BAD_DURABILITY)
def test_the_gate_sees_what_makes_a_file_durable(body: str) -> None:
    """However it is written."""
    assert durable_steps(ast.parse(body))


@pytest.mark.parametrize(
    "body",
    [
        "text.replace('a', 'b')",
        "moment.replace(hour=0)",
        "from dataclasses import replace\nreplace(note, starts=1)",
        "files.rename(a, b)",
        "import os\nos.open(path, os.O_RDONLY)",
        "from agent.disk.durable import replace_file\nreplace_file(path, data, mode=0o600)",
    ],
)
def test_the_gate_lets_other_calls_of_these_names(body: str) -> None:
    """Texts, times, records, the port, and `agent.disk` itself."""
    assert durable_steps(ast.parse(body)) == set()


BAD_KEYS = {
    "a key": "from agent.keys.keyfiles import load_ed25519_private\nload_ed25519_private(path)",
    "a key by its module": "from agent.keys import keyfiles\nkeyfiles.load_p256_private(path)",
    "a file by its module": "import agent.keys.keyfiles\nagent.keys.keyfiles.read_private_file(path)",
    "a PEM": "from cryptography.hazmat.primitives import serialization\nserialization.load_pem_private_key(b'', None)",
    "a TLS key": "context.load_cert_chain(certificate, key)",
}


@pytest.mark.parametrize("body", BAD_KEYS.values(), ids=BAD_KEYS)
def test_the_gate_sees_who_reads_a_private_key(body: str) -> None:
    """However it is written."""
    assert private_reads(ast.parse(body))


def test_the_gate_lets_public_keys() -> None:
    """They are anybody's."""
    assert private_reads(ast.parse("from agent.keys import keyfiles\nkeyfiles.load_ed25519_public(path)")) == set()


def test_the_gate_sees_circles() -> None:
    """Of two files and of three; a chain is none."""
    graph = grimp.ImportGraph()
    for importer, imported in ("ab", "ba", "cd", "de", "ec", "ac", "fa", "fg"):
        graph.add_import(importer=importer, imported=imported)
    assert circles(graph) == {frozenset("ab"), frozenset("cde")}

"""Remove each durability or safety step in turn: the suite must fail for every one of them.

    python -m tests.torture.mutation

What is removed: a call that syncs, renames, links, unlinks, overwrites, verifies, shreds or sets aside; a check that
raises; one of the comparisons of a receipt. Each mutant is one change in a copy of the package, against the tests of
its part only, the quick ones first. A mutant whose tests do not end in time counts as killed: they did not pass.
"""

from __future__ import annotations

import argparse
import ast
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.torture.report import Result

ROOT: Final = Path(__file__).parents[2]
PARALLEL: Final = 2
TIMEOUT_S: Final = 300.0

STEPS: Final = frozenset(
    {
        "fsync", "fdatasync", "sync_dir", "sync_directory", "rename", "replace", "link", "unlink", "overwrite",
        "sync_content", "rename_durably", "create_file", "replace_file", "remove_file", "erase_file", "overwrite_file",
        "replace_secret", "make_directory", "write_whole", "_write_all", "_overwrite", "replace_unsynced",
        "write_new_file",
        "verify", "verify_sign1", "verify_envelope", "shred", "quarantine", "_erase", "_sync", "_set_aside",
        "_require_usable", "_require_room", "_discard", "_sync_dirs",
    }
)  # fmt: skip
"""Calls whose removal must show."""

FILES_TESTS: Final = (
    "tests/contract/test_clock_and_files.py",
    "tests/unit/spool/test_start.py",
    "tests/faults/test_system_calls.py",
)
SPOOL_TESTS: Final = (
    "tests/contract/test_spool.py",
    "tests/unit/spool",
    "tests/faults/test_spool_faults.py",
    "tests/faults/test_unusable_files.py",
    "tests/faults/test_crash_states.py",
    "tests/faults/test_system_calls.py",
    "tests/faults/test_error_injection.py",
)
DURABLE_TESTS: Final = ("tests/faults/test_durable.py", "tests/faults/test_system_calls.py")
NOTE_TESTS: Final = ("tests/faults/test_notes.py", "tests/unit/seal/test_keyring_file.py")
FORMAT_TESTS: Final = ("tests/unit/wire/test_receipt.py", "tests/unit/wire/test_envelope.py")


@dataclass(frozen=True, slots=True)
class Place:
    """A module to mutate.

    Attributes:
        path: Below the repository's root.
        tests: What must fail, quick ones first.
        only: Functions and classes to mutate; all if empty.
    """

    path: str
    tests: tuple[str, ...]
    only: frozenset[str] = frozenset()


PLACES: Final = (
    Place("agent/disk/durable.py", DURABLE_TESTS),
    Place("agent/disk/files.py", FILES_TESTS),
    Place("agent/spool/spool.py", SPOOL_TESTS),
    Place("agent/spool/aside.py", SPOOL_TESTS),
    Place("agent/spool/erasing.py", SPOOL_TESTS),
    Place("agent/spool/reader.py", SPOOL_TESTS),
    Place("agent/seal/last_link.py", NOTE_TESTS),
    Place("agent/keys/keyring_serial.py", NOTE_TESTS),
    Place(
        "agent/keys/keyfiles.py", ("tests/unit/keys/test_keyfiles.py",), frozenset({"write_new_file", "replace_file"})
    ),
    Place("agent/disk/notes.py", NOTE_TESTS),
    Place("agent/wire/receipt.py", FORMAT_TESTS, frozenset({"verify_receipt", "VerifiedReceipt"})),
    Place("agent/wire/cose.py", FORMAT_TESTS, frozenset({"verify_sign1"})),
    Place("agent/wire/envelope.py", FORMAT_TESTS, frozenset({"verify_envelope"})),
    Place("agent/upload/checked.py", ("tests/unit/upload/test_worker.py",)),
    Place("agent/upload/worker.py", ("tests/unit/upload/test_worker.py", "tests/unit/upload/test_queue.py")),
)
REDUCED: Final = (
    (
        ("agent/disk/durable.py", "write_whole", "sync_content"),
        "tests/faults/test_durable.py::test_each_step_is_these_system_calls",
    ),
    (
        ("agent/spool/spool.py", "put", "sync_dir"),
        "tests/faults/test_spool_faults.py::test_the_steps_are_the_documented_ones",
    ),
    (
        ("agent/wire/receipt.py", "verify_receipt", "length"),
        "tests/unit/wire/test_receipt.py::test_a_well_signed_receipt_about_something_else_proves_nothing",
    ),
)
"""Path, function and what is removed, of the mutants that `make test` tries; and the test that each must fail."""
PLUGINS_LEFT_OUT: Final = ("pytest_cov", "anyio")
"""No mutant's tests need them, and each start of pytest takes longer with them."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change of one file.

    Attributes:
        place: Where.
        function: The innermost function or class.
        what: What is removed.
        line: Its line, from 1.
        text: The whole file, changed.
    """

    place: Place
    function: str
    what: str
    line: int
    text: str

    def __str__(self) -> str:
        """Say where it is and what it lacks."""
        return f"{self.place.path}:{self.line} {self.function} without {self.what}"


def mutants(place: Place) -> list[Mutant]:
    """Return every mutant of one module."""
    source = (ROOT / place.path).read_text()
    found: list[Mutant] = []
    for function, node, what, replacement in _removals(ast.parse(source)):
        if not place.only or place.only & set(function.split(".")):
            text = _replaced(source, node, replacement)
            found.append(Mutant(place, function, what, node.lineno, text))
    return found


def _removals(tree: ast.AST, function: str = "") -> Iterator[tuple[str, ast.expr | ast.stmt, str, str]]:
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                yield from _removals(node, f"{function}.{node.name}".lstrip("."))
                continue
            case ast.Expr(value=ast.Call(func=called)) if _name(called) in STEPS:
                yield function, node, _name(called), "pass"
            case ast.If(test=test, body=[ast.Raise()], orelse=[]):
                yield function, test, f"its check: {ast.unparse(test)}", "False"
            case ast.For(iter=ast.Tuple(elts=rows)) if all(isinstance(row, ast.Tuple) for row in rows):
                for row in rows:
                    yield function, row, f"comparing {ast.unparse(row)}", "*()"
        yield from _removals(node, function)


def _name(called: ast.expr) -> str:
    match called:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case _:
            return ""


def _replaced(source: str, node: ast.expr | ast.stmt, replacement: str) -> str:
    lines = source.encode().splitlines(keepends=True)
    assert node.end_lineno is not None
    assert node.end_col_offset is not None
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return (before + replacement.encode() + after).decode()


_NOT_COPIED: Final = ("*.onnx", "*.pyc.*")
"""Bytecode is copied, so that no start compiles what is as it was; another process may be writing some just now."""


class Bench:
    """Copies of the package and its tests, one per process at work."""

    def __init__(self, folder: Path, copies: int) -> None:
        """Make the copies below `folder`."""
        self._free: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for index in range(copies):
            copy = folder / str(index)
            for name in ("agent", "tests", "models"):
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns(*_NOT_COPIED))
            shutil.copy(ROOT / "pyproject.toml", copy)
            self._free.put(copy)

    def passes(self, tests: Sequence[str], mutant: Mutant | None = None) -> bool:
        """Whether tests pass, with a mutant in place if there is one."""
        copy = self._free.get()
        try:
            if mutant is None:
                return _run(copy, tests)
            path = copy / mutant.place.path
            whole = path.read_text()
            path.write_text(mutant.text)
            try:
                return _run(copy, tests)
            finally:
                path.write_text(whole)
        finally:
            self._free.put(copy)


def _run(copy: Path, tests: Sequence[str]) -> bool:
    without = [option for name in ("cacheprovider", *PLUGINS_LEFT_OUT) for option in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", *without, *tests]
    # No bytecode is kept: a mutant may have its module's size and second of change.
    # The path: daemons that the tests start look for `agent` there, and not in the folder where they are started.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "MUTATION": "1", "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return False
    if done.returncode in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest ran nothing of {' '.join(tests)}: {done.stderr.decode()[-500:]}")
    return done.returncode == pytest.ExitCode.OK


def run(*, full: bool, say: Callable[[str], None], only: str = "") -> Result:
    """Try every mutant against the tests of its part, or three, each against the one test that it must fail.

    Args:
        full: Every one.
        say: Called with a line for a person now and then.
        only: Try those alone whose description has this in it.
    """
    began_s = time.monotonic()
    every = [mutant for place in PLACES for mutant in mutants(place) if only in str(mutant)]
    tried = [(mutant, mutant.place.tests) for mutant in every] if full else list(_reduced(every))
    survivors: list[Mutant] = []
    with tempfile.TemporaryDirectory(prefix="plateseal-mutants-") as folder:
        bench = Bench(Path(folder), min(PARALLEL, len(tried)))
        if full:
            for tests in dict.fromkeys(tests for _, tests in tried):
                if not bench.passes(tests):
                    say(f"mutation: {' '.join(tests)} fails without any mutant")
                    return Result(_NAME, _TARGET, f"{' '.join(tests)} fails without any mutant", False, 0.0)

        def attempt(mutant: Mutant, tests: Sequence[str]) -> None:
            if bench.passes(tests, mutant):
                survivors.append(mutant)
                say(f"mutation: SURVIVED {mutant}")
            else:
                say(f"mutation: killed {mutant}")

        with ThreadPoolExecutor(PARALLEL) as pool:
            list(pool.map(attempt, *zip(*tried, strict=True)))
    by_place = Counter(Path(mutant.place.path).name for mutant, _ in tried)
    figures = f"{len(tried)} mutants, {len(tried) - len(survivors)} killed, {len(survivors)} survived (" + (
        ", ".join(f"{name} {count}" for name, count in by_place.items()) + ")"
    )
    return Result(_NAME, _TARGET, figures, bool(tried) and not survivors, time.monotonic() - began_s)


_NAME: Final = "durability and safety steps removed by mutation"
_TARGET: Final = "every mutant killed"


def _reduced(every: Sequence[Mutant]) -> Iterator[tuple[Mutant, tuple[str, ...]]]:
    """Yield the mutants of `REDUCED`, each with the one test that it must fail."""
    for meant, test in REDUCED:
        yield next(mutant for mutant in every if _is_meant(mutant, *meant)), (test,)


def _is_meant(mutant: Mutant, path: str, function: str, what: str) -> bool:
    return mutant.place.path == path and mutant.function.split(".")[-1] == function and what in mutant.what


def main() -> int:
    """Try every mutant, print a line for each, and return 1 if one survives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default="", help="try those alone whose description has this in it")
    options = parser.parse_args()
    result = run(full=True, say=lambda line: print(line, file=sys.stderr), only=options.only)  # noqa: T201
    sys.stdout.write(f"{result.figures}, {result.seconds:.0f} s\n")
    return 0 if result.holds else 1


if __name__ == "__main__":
    sys.exit(main())

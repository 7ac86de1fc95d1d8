"""What is skipped is counted and told, and fails the run where no skip is allowed; there is no other way to skip."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import NEEDS, ROOT, apt_line
from tests.skips import ALLOWED, STRICT_VARIABLE, load_allowed

TESTS = """
import pytest

@pytest.mark.needs("openssl", "minisign")
def test_both(): pass

@pytest.mark.needs("openssl")
@pytest.mark.parametrize("n", [1, 2])
def test_one(n): pass

def test_free(): pass
"""
OWN_REASON = (
    TESTS
    + """
def test_odd(): pytest.skip("it is Sunday")
"""
)
ENTRY = '[[allowed]]\ntests = ["tests/test_x.py::{test}"]\nneeds = ["openssl", "minisign"]\nreason = "it says so"\n'
SKIPPING = {"skip", "skipif", "skipIf", "skipTest", "SkipTest", "importorskip"}
MODES = pytest.mark.parametrize(
    "mode", [(), ("-p", "tests.side_by_side", "--processes=2")], ids=["one process", "side by side"]
)


class Run:
    """A run of pytest on one file, on a machine that has only the programs named."""

    def __init__(self, root: Path, *options: str, text: str = TESTS, has: tuple[str, ...] = (), **more: str) -> None:
        """Write the file and run it; `more` is the list of allowed skips, and variables."""
        programs = root / "bin"
        (root / "tests").mkdir()
        programs.mkdir()
        (root / "tests" / "test_x.py").write_text(text)
        if allowed := more.pop("allowed", ""):
            (root / ALLOWED).write_text(allowed)
        for name in has:
            (programs / name).touch(0o755)
        clean = {name: value for name, value in os.environ.items() if name != STRICT_VARIABLE and "COV" not in name}
        clean |= {"PYTHONPATH": str(ROOT), "PATH": str(programs), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "tests.skips", f"--rootdir={root}", *options, "tests"],
            cwd=root, env=clean | more,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        self.code, self.said = done.returncode, done.stdout + done.stderr


def lines_with(said: str, *words: str) -> list[str]:
    """Return the lines that hold all of these words."""
    return [line for line in said.splitlines() if all(word in line for word in words)]


@MODES
def test_the_run_ends_with_what_was_missing(tmp_path: Path, mode: tuple[str, ...]) -> None:
    """A row for each thing with its count, and one command for all of them; the run is all right."""
    run = Run(tmp_path, *mode)
    assert run.code == 0, run.said
    assert len(lines_with(run.said, "3 tests skipped")) == 1
    rows = re.findall(r"^ +([0-9]+)  the program (\w+)$", run.said, re.MULTILINE)
    assert rows == [("3", "openssl"), ("1", "minisign")]
    assert len(lines_with(run.said, "apt-get install minisign openssl")) == 1
    assert "1 passed, 3 skipped" in run.said


def test_a_machine_that_has_everything_gets_no_table(tmp_path: Path) -> None:
    """Every test runs, and none is allowed not to."""
    run = Run(tmp_path, has=("openssl", "minisign"), PLATESEAL_NO_SKIPS="1")
    assert run.code == 0, run.said
    assert "4 passed" in run.said
    assert not lines_with(run.said, "skipped")


@MODES
def test_a_skip_fails_where_none_is_allowed(tmp_path: Path, mode: tuple[str, ...]) -> None:
    """Each is named, with why."""
    run = Run(tmp_path, *mode, has=("openssl",), PLATESEAL_NO_SKIPS="1")
    assert run.code == 1, run.said
    named = lines_with(run.said, "FAILED")
    assert len(named) == 1
    assert "tests/test_x.py::test_both: skipped (needs the program minisign: apt-get install minisign)" in named[0]


def test_a_listed_skip_does_not_fail(tmp_path: Path) -> None:
    """By its pattern and its needs; the table is printed all the same."""
    run = Run(tmp_path, allowed=ENTRY.format(test="test_[bo]*"), PLATESEAL_NO_SKIPS="1")
    assert run.code == 0, run.said
    assert len(lines_with(run.said, "3 tests skipped")) == 1


def test_a_list_covers_only_the_needs_and_tests_that_it_names(tmp_path: Path) -> None:
    """Other tests of the file fail the run."""
    run = Run(tmp_path, allowed=ENTRY.format(test="test_both"), PLATESEAL_NO_SKIPS="1")
    assert run.code == 1
    assert [line.split()[1] for line in lines_with(run.said, "FAILED")] == [
        "tests/test_x.py::test_one[1]:",
        "tests/test_x.py::test_one[2]:",
    ]
    other = tmp_path / "other"
    other.mkdir()
    allowed = ENTRY.format(test="test_both").replace('"openssl", ', "")
    run = Run(other, "-k", "both", allowed=allowed, PLATESEAL_NO_SKIPS="1")
    assert (run.code, len(lines_with(run.said, "FAILED", "test_both"))) == (1, 1)


def test_a_variable_ends_a_permission(tmp_path: Path) -> None:
    """As where the tests in question are to run after all."""
    allowed = ENTRY.format(test="*") + 'unless = "ALL_IS_HERE"\n'
    run = Run(tmp_path, allowed=allowed, PLATESEAL_NO_SKIPS="1", ALL_IS_HERE="1")
    assert (run.code, len(lines_with(run.said, "FAILED"))) == (1, 3)


def test_a_permission_that_is_not_needed_is_told(tmp_path: Path) -> None:
    """The test ran without what it is said to need; where that is there, an entry is only not used."""
    entries = ENTRY.format(test="test_free") + ENTRY.format(test="*")
    run = Run(tmp_path, allowed=entries, PLATESEAL_NO_SKIPS="1")
    assert run.code == 1
    assert len(lines_with(run.said, "FAILED", "test_free is listed, and ran without openssl, minisign")) == 2
    other = tmp_path / "other"
    other.mkdir()
    assert Run(other, has=("openssl", "minisign"), allowed=entries, PLATESEAL_NO_SKIPS="1").code == 0


def test_a_skip_for_another_reason_is_named_and_never_allowed(tmp_path: Path) -> None:
    """What is not in the table of needs cannot be listed either."""
    run = Run(
        tmp_path,
        text=OWN_REASON,
        has=("openssl", "minisign"),
        allowed=ENTRY.format(test="*odd"),
        PLATESEAL_NO_SKIPS="1",
    )
    assert run.code == 1
    assert len(lines_with(run.said, "    1  it is Sunday")) == 1
    assert len(lines_with(run.said, "FAILED", "test_odd: skipped (it is Sunday)")) == 1


def test_a_failed_run_stays_failed_and_a_wrong_need_is_an_error(tmp_path: Path) -> None:
    """A skip hides neither a failure nor a slip of the pen."""
    assert Run(tmp_path, text=TESTS.replace("test_free(): pass", "test_free(): assert 0")).code == 1
    (tmp_path / "other").mkdir()
    run = Run(tmp_path / "other", text=TESTS.replace('"openssl", ', '"opnessl", '))
    assert run.code == 4
    assert len(lines_with(run.said, "no such need in tests/needs.py", "test_both: 'opnessl'")) == 1


def test_nothing_is_skipped_in_another_way() -> None:
    """The marker is the only one: it alone is counted by what is missing."""
    found = {
        path
        for path, node in nodes("skip")
        if (isinstance(node, ast.Attribute) and node.attr in SKIPPING)
        or (isinstance(node, ast.ImportFrom) and SKIPPING & {name.name for name in node.names})
    }
    assert found == {"tests/skips.py"}


def test_each_need_is_used_and_says_what_to_do() -> None:
    """No row is dead."""
    used = {
        argument.value
        for _, node in nodes("needs")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "needs"
        for argument in node.args
        if isinstance(argument, ast.Constant)
    }
    used |= {
        constant.value
        for _, node in nodes("needs")
        if isinstance(node, ast.keyword) and node.arg == "needs"
        for constant in ast.walk(node.value)
        if isinstance(constant, ast.Constant)
    }
    assert used == NEEDS.keys()
    assert all(need.cure for need in NEEDS.values())
    assert apt_line(["root"]) == ""


def test_the_allowed_skips_are_of_tests_that_there_are() -> None:
    """A reason each, needs of the table, a file and tests that are there."""
    entries = load_allowed(ROOT / ALLOWED)
    assert 1 <= len(entries) <= 6
    for entry in entries:
        assert len(entry.reason.split()) > 5
        assert NEEDS.keys() >= set(entry.needs) > set()
        assert entry.tests
        for pattern in entry.tests:
            path, _, name = pattern.partition("::")
            assert re.search(f"^def {re.escape(name.rstrip('*')) or 'test_'}", (ROOT / path).read_text(), re.MULTILINE)


def nodes(word: str) -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of every file below `tests` that has a word in it, in capitals or not."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text, name = path.read_text(), str(path.relative_to(ROOT))
        if word in text.lower():
            for node in ast.walk(ast.parse(text)):
                yield name, node

"""Tests in several processes come to what they come to in one, and nothing that a test does takes the others along."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fakes.waiting import WITHIN_S, wait_until
from tests.needs import ROOT
from tests.side_by_side import parts_of

MIXED = """
import sys
import pytest

@pytest.fixture
def broken(): raise OSError("no disk")

@pytest.fixture
def ends(): yield; raise ValueError("not ended")

def test_good(tmp_path): (tmp_path / "own").touch(); print("said by good")
def test_bad(): print("said by bad"); print("to errors", file=sys.stderr); assert 1 == 2
def test_without_disk(broken): pass
def test_after(ends): pass
def test_skipped(): pytest.skip("it is Sunday")
@pytest.mark.xfail(strict=False)
def test_expected(): assert False
"""
DIES = """
import os, signal
def test_before(): pass
def test_dies(): {how}
def test_behind(): pass
"""
WAITS = """
import os, threading
from pathlib import Path
import pytest

@pytest.fixture
def held(request):
    Path(f"{request.node.name}.begun").write_text(str(os.getpid()))
    yield
    Path(f"{request.node.name}.ended").touch()

def test_waits(held): threading.Event().wait()
"""


def command(*options: str) -> list[str]:
    """Return the command that runs all tests of a folder."""
    return [sys.executable, "-m", "pytest", "-p", "tests.side_by_side", "-p", "no:cacheprovider", "-rA", *options]


def environment() -> dict[str, str]:
    """Return the variables of a run that has nothing to do with this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV", "PLATESEAL"))}
    return kept | {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}


def run(folder: Path, *options: str, **files: str) -> tuple[int, str]:
    """Write the files and run them; return the status, and what was said."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    done = subprocess.run(
        [*command(*options), f"--rootdir={folder}"], cwd=folder, env=environment(),
        capture_output=True, text=True, check=False, timeout=WITHIN_S,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def outcomes(said: str) -> list[str]:
    """Return the lines of the summary, in one order."""
    return sorted(re.findall(r"^(?:PASSED|FAILED|ERROR|SKIPPED|XFAIL) .*$", said, re.MULTILINE))


def test_two_processes_come_to_what_one_comes_to(tmp_path: Path) -> None:
    """Passes, failures with what they printed, errors before and after a test, skips; status and count too."""
    (code, said), (code_of_two, said_of_two) = (
        run(tmp_path, f"--processes={count}", test_a=MIXED, test_b=MIXED) for count in (1, 2)
    )
    assert (code, len(outcomes(said))) == (1, 14)
    assert (code_of_two, outcomes(said_of_two)) == (code, outcomes(said))
    assert re.search(r"^[.FEsx]{12,}", said_of_two, re.MULTILINE), "one line of dots for all files"
    last, last_of_two = (re.sub(r" in [0-9.]+s.*", "", text.splitlines()[-1]) for text in (said, said_of_two))
    assert last_of_two == last
    for text in (said, said_of_two):
        lines = text.splitlines()
        assert [lines.count(words) for words in ("said by bad", "to errors", "said by good")] == [2, 2, 2]


@pytest.mark.parametrize(
    ("how", "status"), [("os._exit(3)", "3"), ("os.kill(os.getpid(), signal.SIGKILL)", "-9")], ids=["ends", "killed"]
)
def test_a_process_that_dies_takes_one_test_with_it(tmp_path: Path, how: str, status: str) -> None:
    """That test has failed, and says why; all others run."""
    code, said = run(tmp_path, "--processes=2", test_a=DIES.format(how=how), test_b=MIXED.replace("== 2", "== 1"))
    assert code == 1
    assert "FAILED test_a.py::test_dies" in said
    assert f"its process ended in this test, with status {status}" in said
    for name in ("test_a.py::test_before", "test_a.py::test_behind", "test_b.py::test_good"):
        assert f"PASSED {name}" in said


def test_a_run_that_is_to_end_at_a_failure_does(tmp_path: Path) -> None:
    """No test begins that comes later in the same process."""
    failing = "def test_bad(): assert False\n" + "".join(f"def test_{number}(): pass\n" for number in range(50))
    code, said = run(tmp_path, "--processes=2", "-x", test_a=failing)
    assert code == 1
    assert "stopping after 1 failures" in said
    assert "test_49" not in said


def test_ctrl_c_ends_the_run_and_what_tests_began(tmp_path: Path) -> None:
    """It comes to the first process alone here."""
    for name in ("test_a", "test_b"):
        (tmp_path / f"{name}.py").write_text(WAITS.replace("waits", f"waits_{name}"))
    begun, ended = ([tmp_path / f"test_waits_test_{name}.{what}" for name in "ab"] for what in ("begun", "ended"))
    with subprocess.Popen(
        [*command("--processes=2"), f"--rootdir={tmp_path}"], cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        wait_until(lambda: all(path.exists() and path.read_text() for path in begun))
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=WITHIN_S)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert "KeyboardInterrupt" in said
    assert all(path.exists() for path in ended)
    assert not any(Path(f"/proc/{path.read_text()}").exists() for path in begun)


def test_files_stay_together_and_rows_do_not() -> None:
    """In the order of before."""
    tests = [
        "tests/x.py::one",
        "tests/x.py::two[a::b]",
        "tests/torture/test_rows.py::a",
        "tests/torture/test_rows.py::b",
    ]
    assert parts_of([*tests, "tests/y.py::one"]) == [[0, 1], [2], [3], [4]]


@pytest.mark.parametrize("count", ["0", "-1", "many", "1.5", "٣", ""])
def test_a_wrong_count_is_refused_in_one_line(tmp_path: Path, count: str) -> None:
    """With what is allowed."""
    code, said = run(tmp_path, f"--processes={count}", test_a="def test_good(): pass")
    assert code == pytest.ExitCode.USAGE_ERROR
    assert said.strip().splitlines() == [f"ERROR: --processes: a number from 1 on, or auto, not {count!r}"]

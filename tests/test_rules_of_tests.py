"""No test asserts a time, every test asserts, and no broad handler stands where none is allowed.

Each gate is tried on a small bad example too: a gate that lets everything through fails here.
"""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.rules.assertions import Certain
from tests.rules.clock import leans_on_the_clock
from tests.rules.handlers import broad_handlers
from tests.rules.source import functions

ROOT = Path(__file__).parents[1]
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))
MEASURE = ("tests/bench", "tests/torture")
"""What is measured there is time; their tests judge no row by it."""
WITHOUT_A_CLOCK = [
    path
    for path in sorted((ROOT / "tests").rglob("*.py"))
    if not path.is_relative_to(ROOT / MEASURE[0]) and not path.is_relative_to(ROOT / MEASURE[1])
]
AT_THE_CLOCK: Final = {
    ("tests/fakes/waiting.py", "patiently"): "the one deadline of all waits",
    ("tests/fakes/waiting.py", "wait_until"): "the one sleep between two looks",
    ("tests/fakes/waiting.py", "turns"): "no time passes: the event loop goes round",
    ("tests/fakes/rtsp_scene.py", "pictures"): "a camera's frames come at its rate",
    ("tests/newest.py", "make"): "an environment of days ago is made anew",
    ("tests/newest.py", "Kept.__init__"): "as above, for what was found in it",
    ("tests/contract/test_clock_and_files.py", "test_a_status_tells_length_and_time"): (
        "a file's time lies between two looks at the clock, however far they are apart"
    ),
    ("tests/unit/receiver/test_rotation.py", "test_the_command_takes_a_rotation"): (
        "a date seven days ahead, compared with a margin of a day"
    ),
    (
        "tests/unit/unit/process/test_watchdog.py",
        "test_who_waits_whether_to_stop_is_alive",
    ): "a wait beats, however long it takes",
    ("tests/unit/unit/process/test_watchdog.py", "test_another_thread_does_not_beat"): "as above: here it must not",
    ("tests/unit/unit/process/test_watchdog.py", "test_a_second_event_keeps_the_same_pulse"): "as above",
    (
        "tests/unit/unit/process/test_watchdog.py",
        "test_a_wait_ends_at_once_when_it_is_set",
    ): "a wait is ended, whenever",
}
"""(file, function): why it may compare a time, sleep or wait for a short while: none fails on a slow machine."""
BROAD: Final = {
    ("agent/unit/reload/trial.py", "Reload._look"): "a bundle that trips a library is refused; the thread goes on",
    ("agent/capture/live.py", "LiveCamera._read"): "what ends the thread is raised where its frames are awaited",
    ("agent/capture/round_robin.py", "RoundRobin._play"): "as above",
    ("agent/capture/prefetch.py", "_part"): "as above",
    ("agent/custody/audit_check.py", "_entry_length"): "hostile input makes the CBOR library raise from several trees",
    ("agent/wire/cbor.py", "_load"): "as above",
    ("agent/wire/cbor.py", "_encode_again"): "hostile input makes values that cannot be encoded or hashed",
    ("agent/wire/cbor.py", "encode"): "an encoder that is half-way through is replaced; the error goes on",
    ("agent/vision/detector.py", "OnnxDetector._run"): "onnxruntime's errors share no base class",
    ("agent/vision/detector.py", "_load"): "as above",
    ("agent/vision/reader.py", "OnnxReader._read_batch"): "as above",
    ("agent/vision/reader.py", "_load"): "as above, and those of the library and of YAML",
}
"""(file, function): why one `except Exception` may stand there."""


def name_of(path: Path) -> str:
    """Return a path as the tables write it."""
    return str(path.relative_to(ROOT))


@cache
def certain(module: str) -> Certain | None:
    """Return what is certain of a module of the tests; None for any other."""
    path = ROOT / f"{module.replace('.', '/')}.py"
    if not (module.startswith("tests.") and path.is_file()):
        return None
    return Certain(ast.parse(path.read_text()), elsewhere=asserts)


def asserts(module: str, name: str) -> bool:
    """Whether a function of another module is certain to assert."""
    found = certain(module)
    return found is not None and found.asserts(name)


def not_certain(source: str) -> list[str]:
    """Return the tests of a file that may pass without an assertion."""
    tree = ast.parse(source)
    found = Certain(tree, elsewhere=asserts)
    tests = [(name, node) for name, node in functions(tree) if node.name.startswith("test_")]
    return [f"line {node.lineno}: {name}" for name, node in tests if not found.is_certain(node)]


@pytest.mark.parametrize("path", WITHOUT_A_CLOCK, ids=name_of)
def test_nothing_leans_on_the_clock(path: Path) -> None:
    """No time is compared, nothing sleeps, no wait has less than a minute; but for the table's exceptions."""
    found = leans_on_the_clock(ast.parse(path.read_text()))
    allowed = {function for file, function in AT_THE_CLOCK if file == name_of(path)}
    assert {function: what for function, what in found.items() if function not in allowed} == {}
    assert allowed <= found.keys(), "an exception is not needed any more"


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_every_test_is_certain_to_assert(path: Path) -> None:
    """An assertion that is reached, also if every list that the test loops over were empty."""
    assert not_certain(path.read_text()) == []


def test_broad_handlers_stand_in_the_table_only() -> None:
    """Each with its reason; one that is gone leaves the table."""
    found = {
        (name_of(path), function): count
        for path in sorted((ROOT / "agent").rglob("*.py"))
        for function, count in broad_handlers(ast.parse(path.read_text())).items()
    }
    assert found == dict.fromkeys(BROAD, 1)


def test_the_tables_name_files_that_are_there() -> None:
    """An exception for a file that was renamed would hold for nothing."""
    assert [file for file, _ in [*AT_THE_CLOCK, *BROAD] if not (ROOT / file).is_file()] == []


BAD_CLOCK = {
    "a difference": "began = time.monotonic()\nact()\nassert time.monotonic() - began < 2",
    "a difference with a name": "began = time.perf_counter()\nlong = time.perf_counter() - began\nassert long < 2",
    "a list of times": "at = []\nat.append(time.time())\nassert max(at) < 5",
    "an if": "began = datetime.now(UTC)\nif datetime.now(UTC) - began > limit:\n    fail()",
    "seconds of a difference": "took = (datetime.now(UTC) - began).total_seconds()\nassert took < 1",
    "our own clock": "began = SystemClock().monotonic_s()\nassert SystemClock().monotonic_s() < began + 1",
    "a name that says so": "assert run.took_s < 2",
    "a loop": "end = time.monotonic() + 10\nwhile time.monotonic() < end:\n    act()",
    "a sleep": "time.sleep(0.1)",
    "a sleep by its name": "from time import sleep\nsleep(0.1)",
    "a timer": "threading.Timer(1.5, start).start()",
    "a short wait": "assert event.wait(20.0)",
    "a short join": "thread.join(timeout=10)",
    "a short run": "subprocess.run(command, timeout=30)",
}
GOOD_CLOCK = {
    "a helper": "wait_until(lambda: done)",
    "a fake": "clock.advance(2)\nassert clock.elapsed_s == 2",
    "a long wait": "assert event.wait(WITHIN_S)\nsubprocess.run(command, timeout=300)",
    "a date": "frame = Frame(datetime.now(UTC))\nassert frame.sequence == 3",
    "another join": "assert ', '.join(names) == 'a, b'",
}


@pytest.mark.parametrize("body", BAD_CLOCK.values(), ids=BAD_CLOCK)
def test_the_gate_sees_the_clock(body: str) -> None:
    """In a test, in a method of a helper, and outside of any function."""
    indented = body.replace("\n", "\n        ")
    for source, name in (
        (f"def test_it():\n        {indented}", "test_it"),
        (f"class Bench:\n    def stop(self):\n        {indented}", "Bench.stop"),
        (body, ""),
    ):
        assert list(leans_on_the_clock(ast.parse(source))) == [name]


@pytest.mark.parametrize("body", GOOD_CLOCK.values(), ids=GOOD_CLOCK)
def test_the_gate_lets_what_does_not_lean_on_the_clock(body: str) -> None:
    """Otherwise everything would stand in the table."""
    assert leans_on_the_clock(ast.parse(body)) == {}


NOTHING_ASSERTED = {
    "nothing": "act()",
    "a loop over what is found": "for one in find():\n    assert one > 0",
    "a loop over an empty list": "for one in []:\n    assert one",
    "a loop over a list that grows": "found = [1]\nfound = find()\nfor one in found:\n    assert one",
    "an expected error in a loop": "for one in find():\n    with pytest.raises(ValueError):\n        one()",
    "all of what is found": "assert all(one > 0 for one in find())",
    "none of what is found": "assert not any(one > 0 for one in find())",
    "one branch": "if find():\n    assert True",
    "a loop that may not begin": "while find():\n    assert True",
    "an error that is let go": "try:\n    act()\nexcept ValueError:\n    assert True",
    "a function that nobody calls": "def check_it():\n    assert True",
    "a helper that does not assert": "looks_at(find())",
}
ASSERTED = {
    "an assertion": "assert find()",
    "an expected error": "with pytest.raises(ValueError):\n    act()",
    "a count before a loop": "found = find()\nassert len(found) == 3\nfor one in found:\n    assert one",
    "a loop over a literal": "for one in (1, 2):\n    assert one",
    "a loop over a name of one": "for name, number in zip(NAMES, [1, 2], strict=True):\n    assert name",
    "both branches": "if find():\n    assert True\nelse:\n    pytest.fail('no')",
    "a helper": "check_it(find())",
    "a function of its own": "async def inner():\n    assert find()\nin_loop(inner)",
    "a wait": "bench.wait_until(lambda: find())",
}
AROUND = "NAMES = ('a', 'b')\ndef check_it(found):\n    assert found\ndef looks_at(found):\n    return found\n"


@pytest.mark.parametrize("body", NOTHING_ASSERTED.values(), ids=NOTHING_ASSERTED)
def test_the_gate_sees_a_test_that_may_assert_nothing(body: str) -> None:
    """Whatever it looks like."""
    indented = body.replace("\n", "\n    ")
    assert not_certain(f"{AROUND}def test_it():\n    {indented}") == ["line 6: test_it"]


@pytest.mark.parametrize("body", ASSERTED.values(), ids=ASSERTED)
def test_the_gate_lets_a_test_that_asserts(body: str) -> None:
    """Whether itself, or by a helper that is certain to."""
    indented = body.replace("\n", "\n    ")
    assert not_certain(f"{AROUND}def test_it():\n    {indented}") == []


@pytest.mark.parametrize(
    ("clause", "count"),
    [
        ("except Exception:", 1),
        ("except BaseException as error:", 1),
        ("except (ValueError, builtins.Exception):", 1),
        ("except:", 1),
        ("except ValueError:", 0),
        ("except (KeyError, OSError) as error:", 0),
    ],
)
def test_the_gate_sees_a_broad_handler(clause: str, count: int) -> None:
    """In a method, and in the module itself."""
    body = f"try:\n    act()\n{clause}\n    pass\n"
    indented = body.replace("\n", "\n        ")
    assert broad_handlers(ast.parse(body))[""] == count
    assert broad_handlers(ast.parse(f"class A:\n    def b(self):\n        {indented}"))["A.b"] == count

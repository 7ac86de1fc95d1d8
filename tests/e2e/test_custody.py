"""Custody as a user does it, with real processes: keys, opening, holding, destroying, auditing, a court's export."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action
from agent.custody.locked import parse_locked
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.owner import MANDATE
from tests.fakes.waiting import WITHIN_S

pytestmark = pytest.mark.e2e

CASE = ("--case", "2027-0815", "--reason", "hit and run")


@pytest.fixture
def bench(tmp_path: Path) -> CustodyBench:
    """Return an owner with keys of two days, and a receiver's folder with reads of both."""
    return make_custody_bench(tmp_path)


def plateseal(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run `plateseal custody` as a program does: no terminal."""
    return subprocess.run(
        [sys.executable, "-m", "agent.cli.main", "custody", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )


def on_terminal(arguments: list[str | Path], answers: list[tuple[str, str]]) -> tuple[int, str]:
    """Run `plateseal custody` on a terminal, answering each prompt; return its status and all it showed."""
    pid, terminal = pty.fork()
    if pid == 0:  # pragma: no cover  the child becomes the program
        os.execv(sys.executable, [sys.executable, "-m", "agent.cli.main", "custody", *map(str, arguments)])  # noqa: S606
    shown, waiting = b"", list(answers)
    while True:
        readable, _, _ = select.select([terminal], [], [], WITHIN_S)
        assert readable, f"the program waits: {shown!r}"
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the terminal of a program that has ended
            break
        if not part:
            break
        shown += part
        if waiting and waiting[0][0].encode() in shown.rpartition(b"\n")[2]:
            os.write(terminal, waiting.pop(0)[1].encode() + b"\n")
            shown += b"\n"
    os.close(terminal)
    assert waiting == []
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_from_opening_to_destruction_with_a_trace(bench: CustodyBench) -> None:
    """Open, hold, destroy: what is held opens, what is not never again; the log tells it and verifies."""
    common: list[str | Path] = [
        "--dir",
        bench.directory,
        "--store",
        bench.receiver,
        "--passphrase-file",
        bench.passphrase_file,
    ]
    opened = plateseal("open", *common, *CASE, "--plate", "AB?123*", "--json")
    assert opened.returncode == 0, opened.stderr
    assert [json.loads(line)["text"] for line in opened.stdout.splitlines()] == ["AB1123", "AB3123C"]
    held = plateseal("hold", *common, *CASE, "--plate", "AB1123")
    assert held.returncode == 0, held.stderr
    raw_keys = [key.raw for key in bench.owner.private_keys().values()]
    destroyed = plateseal("destroy", *common, "--before", "2026-03-10", "--reason", "retention", "--yes", "--as", "max")
    assert destroyed.returncode == 0, destroyed.stderr
    assert "3 reads become unreadable, 1 stay readable as held" in destroyed.stdout
    left = [path for path in bench.directory.rglob("*") if path.is_file()]
    assert not any(raw in path.read_bytes() for path in left for raw in raw_keys)
    after = plateseal("open", *common, *CASE)
    assert "1 reads fit" in after.stdout
    assert "AB1123" in after.stdout
    assert "not opened: 3 with a destroyed key" in after.stdout
    audit = plateseal("audit", "--dir", bench.directory, "--json")
    assert audit.returncode == 0, audit.stderr
    acts = [(entry["action"], entry["count"]) for entry in json.loads(audit.stdout)["entries"]]
    assert acts == [
        ("keys", 2), ("search", 5), ("open", 2), ("search", 5), ("hold", 1), ("destroy", 2), ("search", 5), ("open", 1),
    ]  # fmt: skip
    assert not re.search("AB.?123|XY", audit.stdout)


def test_a_passphrase_typed_on_a_terminal_makes_and_opens_keys(bench: CustodyBench, tmp_path: Path) -> None:
    """Typed unseen, twice for new keys; the files have the cost that OWASP asks for; another one opens nothing."""
    owner = tmp_path / "new"
    make: list[str | Path] = ["keys", "--dir", owner, "--epochs", "1", "--type", "x25519"]
    secret = "correct horse battery"
    code, shown = on_terminal(make, [("Passphrase: ", secret), ("The same again: ", secret)])
    assert (code, secret in shown) == (0, False), shown
    locked = parse_locked((owner / "owner.key").read_bytes())
    assert (locked.scrypt.n, locked.scrypt.r, locked.scrypt.p) == (1 << 17, 8, 1)
    look: list[str | Path] = ["open", "--dir", owner, "--store", bench.receiver, *CASE]
    code, shown = on_terminal(look, [("Passphrase: ", secret)])
    assert code == 0, shown
    assert "4 sealed to somebody else" in shown
    code, shown = on_terminal(look, [("Passphrase: ", "another passphrase")])
    assert code == 8
    assert "the passphrase is wrong" in shown


def test_destruction_is_confirmed_on_a_terminal(bench: CustodyBench) -> None:
    """No leaves the keys, yes destroys them; what it would do is shown before."""
    arguments: list[str | Path] = [
        "destroy", "--dir", bench.directory, "--store", bench.receiver, "--before", "2026-03-02", "--reason", "x",
        "--passphrase-file", bench.passphrase_file,
    ]  # fmt: skip
    code, shown = on_terminal(arguments, [("Destroy these keys for good?", "n")])
    assert code == 2
    assert "2 reads become unreadable" in shown
    assert len(list((bench.directory / "private").iterdir())) == 2
    code, shown = on_terminal(arguments, [("Destroy these keys for good?", "y")])
    assert (code, "1 keys are destroyed" in shown) == (0, True), shown
    assert len(list((bench.directory / "private").iterdir())) == 1


def test_with_no_room_for_the_log_nothing_is_shown(bench: CustodyBench) -> None:
    """The entry fits in part only: nothing is opened, one line says why, and the log verifies as before."""
    # A log beyond the 32 KiB that SQLite maps for its own use: the limit is to meet the log first.
    AuditLog(bench.owner).append(Action.OPEN, MANDATE, count=2000, ids=[bytes(32)] * 2000)
    limit = (bench.directory / "audit.cose").stat().st_size + 100
    command = [sys.executable, "-m", "agent.cli.main", "custody", "open", "--dir", str(bench.directory)]
    command += ["--store", str(bench.receiver), "--passphrase-file", str(bench.passphrase_file), *CASE]
    script = (
        "import os, resource, signal, sys\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-B", "-c", script, *command],
        # Without coverage, whose own data file would meet the limit too.
        env={key: value for key, value in os.environ.items() if not key.startswith("COVERAGE_")},
        capture_output=True,
        text=True,
        check=False,
        timeout=WITHIN_S,
    )
    assert (done.returncode, done.stdout) == (15, ""), done.stderr
    assert "audit.cose: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert plateseal("audit", "--dir", bench.directory).returncode == 0

"""From `custody destroy` to `receiver drop-epoch`: what leaves the disk, what stays, and the mistakes of users."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.cli.main import main
from tests.fakes.custody_bench import CustodyBench, make_custody_bench

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def bench(tmp_path: Path) -> CustodyBench:
    """Return an owner and a receiver's folder."""
    return make_custody_bench(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `plateseal` with arguments, in this process; return exit code, output and errors."""

    def run_command(*arguments: str | Path) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["plateseal", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run_command


def owner_runs(bench: CustodyBench, run: Run, command: str, *more: str | Path) -> str:
    """Run a command of the owner, which must succeed; return what it said."""
    passphrase = () if command == "destroyed" else ("--passphrase-file", bench.passphrase_file)
    code, out, err = run("custody", command, "--dir", bench.directory, *passphrase, *more)
    assert code == 0, err
    return out


def destroyed_list(bench: CustodyBench, run: Run) -> Path:
    """Hold a read of the first day for a case, destroy the first day's key, and write the list."""
    case = ("--case", "2027-0815", "--reason", "hit and run", "--store", bench.receiver)
    owner_runs(bench, run, "hold", *case, "--plate", "AB1123")
    owner_runs(bench, run, "destroy", "--before", "2026-03-02", "--reason", "retention", "--yes")
    path = bench.directory.parent / "destroyed.json"
    assert "1 destroyed keys, 1 held reads" in owner_runs(bench, run, "destroyed", "--out", path)
    return path


def test_reads_of_destroyed_keys_leave_the_disk(bench: CustodyBench, run: Run) -> None:
    """The held read opens for its case as before, the other of its day is gone, and verify says so and goes on."""
    path, files = destroyed_list(bench, run), bench.receiver / "bodies"
    before = sum(file.stat().st_size for file in files.iterdir())
    code, out, err = run("receiver", "drop-epoch", bench.receiver, "--destroyed", path, "--yes", "--json")
    assert (code, err) == (0, "")
    answer = json.loads(out)
    kid = bench.envelopes[1].kids[0].hex()
    expected = {"keys": [kid], "reads": 1, "bytes": len(bench.envelopes[1].data)}
    assert answer == {"dropped": [expected], "waiting": [], "held": 1}
    assert before - sum(file.stat().st_size for file in files.iterdir()) == len(bench.envelopes[1].data)
    case = ("--case", "2027-0815", "--reason", "hit and run", "--store", bench.receiver, "--json")
    opened = [json.loads(line)["envelope"] for line in owner_runs(bench, run, "open", *case).splitlines()]
    assert opened == [bench.envelopes[index].envelope_id for index in (0, 2, 3)]
    code, out, err = run("receiver", "verify", bench.receiver)
    assert (code, err) == (0, "")
    assert "4 envelopes, seq 0 to 4, continuous, 1 dropped by policy" in out
    assert f"1 reads sealed to {kid[:16]}" in out
    code, out, _ = run("receiver", "drop-epoch", bench.receiver, "--destroyed", path)
    assert (code, "nothing to drop" in out) == (0, True)


def test_an_export_and_a_backup_of_what_is_left(bench: CustodyBench, run: Run, tmp_path: Path) -> None:
    """The held read is exported with its receipt; its dropped neighbour is named as missing; the backup verifies."""
    path = destroyed_list(bench, run)
    assert run("receiver", "drop-epoch", bench.receiver, "--destroyed", path, "--yes")[0] == 0
    case = ("--case", "2027-0815", "--reason", "hit and run", "--store", bench.receiver)
    held = bench.envelopes[0].envelope_id
    said = owner_runs(bench, run, "export", *case, "--id", held, "--out", tmp_path / "export")
    assert "the message after it: it is not in the store" in said
    assert (tmp_path / "export" / "receipt.cose").exists()
    assert run("receiver", "backup", bench.receiver, tmp_path / "backup")[0] == 0
    code, out, _ = run("receiver", "verify", tmp_path / "backup")
    assert (code, "1 dropped by policy" in out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "nothing says that a key is destroyed"),
        (("{old}",), "nothing says that a key is destroyed"),
        (("--yes-the-key-exists",), "nothing says that a key is destroyed"),
        (("abcdef", "--destroyed", "{list}"), "at least 8 characters"),
        (("00000000", "--destroyed", "{list}"), "00000000: no read here is sealed to a key with this id"),
        (("{new}", "--destroyed", "{list}"), "its key still exists"),
        (("--destroyed", "{list}.gone"), "No such file"),
        (("--destroyed", "{passphrase}"), "not a JSON document; `plateseal custody destroyed` writes it"),
        (("--destroyed", "{list}"), "nothing was done: say --yes, or run this on a terminal and confirm"),
    ],
)
def test_mistakes_are_one_line_and_drop_nothing(
    bench: CustodyBench, run: Run, arguments: tuple[str, ...], expected: str
) -> None:
    """Each says what is wrong."""
    path = destroyed_list(bench, run)
    old, new = (bench.envelopes[index].kids[0].hex()[:16] for index in (0, 2))
    places = {"old": old, "new": new, "list": path, "passphrase": bench.passphrase_file}
    code, _, err = run("receiver", "drop-epoch", bench.receiver, *(word.format(**places) for word in arguments))
    assert code == 2
    assert expected in err
    assert err.count("\n") == 1
    assert len(list((bench.receiver / "bodies").iterdir())) == 3


def test_a_key_that_exists_is_dropped_only_when_that_is_said(bench: CustodyBench, run: Run) -> None:
    """Then its reads are gone although they would open, and opening warns; what is not named stays."""
    new = bench.envelopes[2].kids[0].hex()
    code, out, err = run("receiver", "drop-epoch", bench.receiver, new[:8], "--yes-the-key-exists", "--yes")
    assert (code, err) == (0, "")
    assert f"dropped: 2 reads sealed to {new[:16]}" in out
    assert [file.name for file in (bench.receiver / "bodies").iterdir() if file.name == new] == []
    case = ("--case", "2027-0815", "--reason", "hit and run", "--store", bench.receiver)
    _, _, err = run("custody", "open", "--dir", bench.directory, "--passphrase-file", bench.passphrase_file, *case)
    assert f"beware: 2 reads of 2026-03-02 ({new[:16]}) were dropped at the receiver" in err


def test_a_key_that_came_back_is_not_in_the_list(bench: CustodyBench, run: Run) -> None:
    """A copy of its file was restored: its reads open, so they are not the receiver's to drop."""
    kid = bench.envelopes[0].kids[0].hex()
    file = bench.directory / "private" / f"{kid}.cose"
    kept = file.read_bytes()
    path = destroyed_list(bench, run)
    file.write_bytes(kept)
    file.chmod(0o600)
    code, _, err = run("custody", "destroyed", "--dir", bench.directory, "--out", path)
    assert (code, "1 destroyed keys are here again" in err) == (0, True)
    assert json.loads(path.read_text())["destroyed"] == []

"""The custody commands in one process: what they print, their answers as JSON, and each mistake a user can make."""

from __future__ import annotations

import getpass
import json
import sqlite3
import stat
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.cli import owner as cli_owner
from agent.cli.main import main
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.owner import PASSPHRASE

CASE = ("--case", "2027-0815", "--reason", "hit and run")


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def bench(tmp_path: Path) -> CustodyBench:
    """Return an owner and a receiver's folder."""
    return make_custody_bench(tmp_path)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `plateseal custody` with arguments, in this process."""

    def run_command(*arguments: str | Path) -> Done:
        monkeypatch.setattr(sys, "argv", ["plateseal", "custody", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return run_command


def with_store(bench: CustodyBench, command: str, *more: str | Path) -> list[str | Path]:
    """Return a command's arguments with the folders and the passphrase."""
    return [
        command, "--dir", bench.directory, "--store", bench.receiver, "--passphrase-file", bench.passphrase_file, *more,
    ]  # fmt: skip


def test_open_prints_a_table_and_what_was_not_opened(bench: CustodyBench, run: Run) -> None:
    """A row per read that fits, with its envelope id; the count at the end."""
    done = run(*with_store(bench, "open", *CASE, "--plate", "ab?123*"))
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert [line.split()[1] for line in lines[1:3]] == ["AB1123", "AB3123C"]
    assert bench.envelopes[0].envelope_id in lines[1]
    assert lines[-1] == "2 reads fit, of 5 messages in the store"
    assert done.err == ""


def test_open_as_json_gives_one_object_a_line(bench: CustodyBench, run: Run) -> None:
    """Nothing but reads on standard output; the count on standard error."""
    done = run(*with_store(bench, "open", *CASE, "--from", "2026-03-02", "--to", "2026-03-02", "--json"))
    reads = [json.loads(line) for line in done.out.splitlines()]
    assert [read["text"] for read in reads] == ["AB3123C", "XY4"]
    assert reads[0]["captured_at"] == "2026-03-02T12:00:00.000Z"
    assert "2 reads fit, of 2" in done.err


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (["--from", "2026-03-01T12:00"], 4),
        (["--from", "2026-03-01T13:00+01:00"], 4),
        (["--from", "2026-03-01T12:00:00.001Z"], 2),
        (["--to", "2026-03-01"], 2),
        (["--to", "2026-03-01T12:00"], 0),
        (["--camera", "cam-1"], 4),
        (["--camera", "cam-9"], 0),
    ],
)
def test_windows_are_days_or_times_in_utc(bench: CustodyBench, run: Run, window: list[str], expected: int) -> None:
    """A day counts as a whole; a time without a zone is UTC."""
    done = run(*with_store(bench, "open", *CASE, *window, "--json"))
    assert len(done.out.splitlines()) == expected, done.err


def test_crops_are_written_only_when_asked(bench: CustodyBench, run: Run, tmp_path: Path) -> None:
    """For the user's eyes only, named by the envelope."""
    folder = tmp_path / "crops"
    assert run(*with_store(bench, "open", *CASE, "--plate", "AB1123", "--crops", folder)).code == 0
    (path,) = folder.iterdir()
    assert path.name == f"{bench.envelopes[0].envelope_id}.jpg"
    assert path.read_bytes().startswith(b"\xff\xd8\xff")
    assert (stat.S_IMODE(folder.stat().st_mode), stat.S_IMODE(path.stat().st_mode)) == (0o700, 0o600)


def test_a_plate_cannot_steer_the_terminal(bench: CustodyBench, run: Run) -> None:
    """Control characters are shown as question marks."""
    assert cli_owner.shown("A\x1b[31mB\u202e1") == "A?[31mB?1"
    assert run(*with_store(bench, "open", *CASE)).code == 0


def test_the_store_may_be_named_by_its_file(bench: CustodyBench, run: Run) -> None:
    """The devices lie beside it."""
    arguments = with_store(bench, "open", *CASE)
    arguments[arguments.index(bench.receiver)] = bench.receiver / "envelopes.db"
    assert "4 reads fit" in run(*arguments).out


def test_hold_destroy_and_open_again(bench: CustodyBench, run: Run) -> None:
    """What is held opens for its case afterwards; the rest is counted as destroyed."""
    held = json.loads(run(*with_store(bench, "hold", *CASE, "--plate", "AB*", "--json")).out)
    assert held["held"] == [bench.envelopes[0].envelope_id, bench.envelopes[2].envelope_id]
    assert held["new_case"] is True
    again = run(*with_store(bench, "hold", *CASE, "--id", bench.envelopes[0].envelope_id))
    assert "1 reads are held for case 2027-0815\n" in again.out
    done = run(*with_store(bench, "destroy", "--before", "2026-03-02", "--reason", "retention", "--yes"))
    assert done.code == 0, done.err
    assert "1 keys to destroy, 1 stay" in done.out
    assert "1 reads become unreadable, 1 stay readable as held, 2 stay readable, 0 are unreadable" in done.out
    assert "held for cases: 2 reads" in done.out
    assert len(list((bench.directory / "private").iterdir())) == 1
    opened = run(*with_store(bench, "open", *CASE))
    assert "3 reads fit" in opened.out
    assert "not opened: 1 with a destroyed key" in opened.out


def test_destroy_answers_as_json(bench: CustodyBench, run: Run) -> None:
    """The keys, and what became of the store's reads; the newest key is destroyed when asked."""
    done = run(*with_store(bench, "destroy", "--before", "2026-03-03T00:00", "--reason", "x", "--yes", "--json"))
    answer = json.loads(done.out)
    assert (answer["destroyed"], len(answer["keys"]), answer["left"]) == (2, 2, 0)
    assert answer["store"] == {"unreadable": 4, "held": 0, "readable": 0, "unreadable_already": 0}


def test_destroy_warns_of_a_recipients_newest_key(bench: CustodyBench, run: Run) -> None:
    """Units go on sealing to it; without --yes and a terminal nothing is destroyed."""
    done = run(
        "destroy", "--dir", bench.directory, "--before", "2026-03-03", "--reason", "x",
        "--passphrase-file", bench.passphrase_file,
    )  # fmt: skip
    assert done.code == 2
    assert "beware: agency has no newer key" in done.out
    assert done.err == "plateseal: nothing was done: say --yes, or run this on a terminal and confirm\n"
    assert len(list((bench.directory / "private").iterdir())) == 2


def test_destroy_with_nothing_to_destroy_is_no_mistake(bench: CustodyBench, run: Run) -> None:
    """A timer may run it every day; nothing is asked and nothing entered."""
    log = (bench.directory / "audit.cose").read_bytes()
    done = run(*with_store(bench, "destroy", "--before", "99999d", "--reason", "retention"))
    assert (done.code, done.err) == (0, "")
    assert "0 keys to destroy, 2 stay" in done.out
    answer = json.loads(run(*with_store(bench, "destroy", "--before", "2020-01-01", "--reason", "x", "--json")).out)
    assert (answer["destroyed"], answer["keys"]) == (0, [])
    assert (bench.directory / "audit.cose").read_bytes() == log


def test_destroy_asks_on_a_terminal(bench: CustodyBench, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """No keeps the keys, yes destroys them."""
    arguments = with_store(bench, "destroy", "--before", "2026-03-02", "--reason", "retention")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    refused = run(*arguments)
    assert (refused.code, refused.err) == (2, "plateseal: nothing was done\n")
    assert len(list((bench.directory / "private").iterdir())) == 2
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert run(*arguments).code == 0
    assert len(list((bench.directory / "private").iterdir())) == 1


def test_audit_prints_who_when_what_and_why(bench: CustodyBench, run: Run) -> None:
    """And a head that proves, later, that nothing before it was cut off. No passphrase is needed."""
    run(*with_store(bench, "open", *CASE, "--as", "erika", "--plate", "AB*"))
    done = run("audit", "--dir", bench.directory)
    assert done.code == 0
    assert "erika" in done.out
    assert "hit and run" in done.out
    assert "AB1123" not in done.out
    head = done.out.rstrip().rpartition(" ")[2]
    run(*with_store(bench, "open", *CASE))
    assert run("audit", "--dir", bench.directory, "--expect-head", head).code == 0
    answer = json.loads(run("audit", "--dir", bench.directory, "--json").out)
    assert [entry["action"] for entry in answer["entries"]] == ["keys", "search", "open", "search", "open"]
    assert answer["entries"][1]["by"] == ["plate"]
    assert (answer["entries"][2]["count"], len(answer["entries"][2]["ids"])) == (2, 2)
    assert answer["findings"] == []


def test_audit_says_what_is_wrong_and_fails(bench: CustodyBench, run: Run) -> None:
    """One line each on standard error, exit code 7; entries that were cut off, with or without the noted head."""
    log = bench.directory / "audit.cose"
    whole = log.read_bytes()
    run(*with_store(bench, "open", *CASE))
    head = json.loads(run("audit", "--dir", bench.directory, "--json").out)["head"]
    after = log.read_bytes()
    log.write_bytes(whole)
    assert "was cut off: it ends with entry 0, and had 3 entries" in run("audit", "--dir", bench.directory).err
    cut = run("audit", "--dir", bench.directory, "--expect-head", head)
    assert cut.code == 7
    assert "the log was cut or replaced" in cut.err
    log.write_bytes(after.replace(b"hit and run", b"hit and fun"))
    altered = run("audit", "--dir", bench.directory)
    assert altered.code == 7
    assert "entry 1 is altered" in altered.err
    assert "entry 2 is altered" in altered.err
    assert run(*with_store(bench, "open", *CASE)).code == 7


def test_audit_mends_half_an_entry_when_asked(bench: CustodyBench, run: Run) -> None:
    """After a crash: reported, then set aside, then the log goes on."""
    run(*with_store(bench, "open", *CASE))
    log = bench.directory / "audit.cose"
    log.write_bytes(log.read_bytes()[:-1])
    torn = run("audit", "--dir", bench.directory)
    assert torn.code == 7
    assert "the last write was cut off" in torn.err
    mend = ("audit", "--dir", bench.directory, "--mend", "--passphrase-file", bench.passphrase_file)
    assert "--reason" in run(*mend).err
    mended = run(*mend, "--reason", "power cut")
    assert mended.code == 0, mended.err
    assert "audit.torn-" in mended.err
    assert "power cut" in mended.out
    assert run(*with_store(bench, "open", *CASE)).code == 0


def test_export_says_what_it_wrote(bench: CustodyBench, run: Run, tmp_path: Path) -> None:
    """With the receipt that the receiver signed first, whoever has its key; and without one, where none is kept."""
    envelope_id = bench.envelopes[1].envelope_id
    done = run(*with_store(bench, "export", *CASE, "--id", envelope_id, "--out", tmp_path / "a", "--json"))
    answer = json.loads(done.out)
    assert {"envelope.cose", "receipt.cose", "previous.cose", "next.cose", "VERIFY.md"} <= set(answer["files"])
    assert answer["missing"] == []
    (bench.receiver / "receipt.key").unlink()
    done = run(*with_store(bench, "export", *CASE, "--id", envelope_id, "--out", tmp_path / "c"))
    assert (tmp_path / "c" / "receipt.cose").read_bytes() == (tmp_path / "a" / "receipt.cose").read_bytes()
    with closing(sqlite3.connect(bench.receiver / "envelopes.db")) as connection:
        connection.execute("DELETE FROM receipts")
        connection.commit()
    done = run(*with_store(bench, "export", *CASE, "--id", envelope_id, "--out", tmp_path / "b"))
    assert "without the receipt" in done.out
    assert not (tmp_path / "b" / "receipt.cose").exists()


MISTAKES: dict[str, tuple[list[str], int, str]] = {
    "no case": (["open", "--store", "STORE", "--reason", "x"], 2, "--case"),
    "no reason": (["open", "--store", "STORE", "--case", "1"], 2, "--reason"),
    "empty case": (["open", "--store", "STORE", "--case", "", "--reason", "x"], 2, "--case"),
    "empty reason": (["open", "--store", "STORE", "--case", "1", "--reason", " "], 2, "--reason"),
    "plate in the reason": (
        ["open", "--store", "STORE", "--case", "1", "--reason", "AB 12", "--plate", "AB12"],
        2,
        "leave the plate out",
    ),
    "no pattern": (["open", "--store", "STORE", *CASE, "--plate", "A[1]"], 2, "--plate"),
    "no time": (["open", "--store", "STORE", *CASE, "--from", "yesterday"], 2, "--from yesterday"),
    "no such day": (["open", "--store", "STORE", *CASE, "--to", "2027-02-30"], 2, "--to 2027-02-30"),
    "last day": (["open", "--store", "STORE", *CASE, "--to", "9999-12-31"], 2, "--to 9999-12-31"),
    "window backwards": (["open", "--store", "STORE", *CASE, "--from", "2026-03-02", "--to", "2026-03-01"], 2, "--to"),
    "no store": (["open", "--store", "missing", *CASE], 2, "--store missing"),
    "store without devices": (["open", "--store", ".", *CASE], 2, "no folder devices"),
    "hold without a filter": (["hold", "--store", "STORE", *CASE], 2, "say which reads"),
    "hold of no id": (["hold", "--store", "STORE", *CASE, "--id", "ab"], 2, "64 hex digits"),
    "hold of an odd id": (["hold", "--store", "STORE", *CASE, "--id", "g" * 64], 2, "64 hex digits"),
    "destroy without a reason": (["destroy", "--before", "30d", "--reason", " "], 2, "--reason"),
    "destroy of keys in use": (["destroy", "--before", "2999-01-01", "--reason", "x"], 2, "still to come"),
    "destroy before nothing": (["destroy", "--before", "soon", "--reason", "x"], 2, "--before soon"),
    "destroy of too long ago": (["destroy", "--before", "999999d", "--reason", "x"], 2, "--before 999999d"),
    "head that is none": (["audit", "--expect-head", "xyz"], 2, "--expect-head"),
    "export of nothing": (
        ["export", "--store", "STORE", *CASE, "--id", "ab" * 32, "--out", "out"],
        2,
        "no such envelope",
    ),
    "export into a full folder": (["export", "--store", "STORE", *CASE, "--id", "FIRST", "--out", "."], 2, "not empty"),
    "name that is none": (["open", "--store", "STORE", *CASE, "--as", "a\nb"], 2, "--as"),
    "crops nowhere": (["open", "--store", "STORE", *CASE, "--crops", "missing/x"], 2, "--crops"),
}


def keys_of(bench: CustodyBench) -> dict[Path, bytes]:
    """Return the owner's files without the audit log."""
    files = [path for path in bench.directory.rglob("*") if path.is_file() and path.name != "audit.cose"]
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_gives_one_clear_line(
    bench: CustodyBench, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """What and where on standard error, nothing on standard output, and nothing opened or changed."""
    monkeypatch.chdir(tmp_path)
    arguments, code, message = MISTAKES[name]
    before = keys_of(bench)
    places = {"STORE": str(bench.receiver), "FIRST": bench.envelopes[0].envelope_id}
    command = [places.get(argument, argument) for argument in arguments]
    needs_key = [] if command[0] == "audit" else ["--passphrase-file", str(bench.passphrase_file)]
    done = run(*command, "--dir", bench.directory, *needs_key)
    assert message in done.err
    assert done.code == code
    assert "Traceback" not in done.err
    assert "XY2" not in done.out
    assert keys_of(bench) == before


PASSPHRASE_MISTAKES: dict[str, tuple[bytes | None, int, int, str]] = {
    "wrong": (b"not this one\n", 0o600, 8, "the passphrase is wrong"),
    "empty": (b"\n", 0o600, 8, "is empty"),
    "open to others": (PASSPHRASE, 0o644, 8, "chmod 600"),
    "missing": (None, 0o600, 8, "No such file"),
}


@pytest.mark.parametrize("name", PASSPHRASE_MISTAKES)
def test_a_passphrase_mistake_gives_one_clear_line(bench: CustodyBench, run: Run, tmp_path: Path, name: str) -> None:
    """Nothing is entered, opened or shown; the passphrase is in no message."""
    content, mode, code, message = PASSPHRASE_MISTAKES[name]
    path = tmp_path / "other"
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)
    log = (bench.directory / "audit.cose").read_bytes()
    done = run("open", "--dir", bench.directory, "--store", bench.receiver, *CASE, "--passphrase-file", path)
    assert (done.code, done.out) == (code, "")
    assert message in done.err
    assert len(done.err.splitlines()) == 1
    assert "not this one" not in done.err
    assert (bench.directory / "audit.cose").read_bytes() == log


def test_without_a_terminal_or_a_file_there_is_no_passphrase(bench: CustodyBench, run: Run, tmp_path: Path) -> None:
    """One line says what to do, for opening and for making keys."""
    line = "plateseal: a passphrase is needed: give --passphrase-file FILE, or run this on a terminal\n"
    opened = run("open", "--dir", bench.directory, "--store", bench.receiver, *CASE)
    assert (opened.code, opened.err) == (2, line)
    made = run("keys", "--dir", tmp_path / "new")
    assert (made.code, made.err) == (2, line)
    assert not (tmp_path / "new").exists()


def test_a_passphrase_is_typed_twice_for_new_keys_and_once_for_old_ones(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that differ make nothing; whatever form the keyboard gives an accent, it is the same passphrase."""
    typed: list[str] = []
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    monkeypatch.setattr(getpass, "getpass", lambda _: typed.pop(0))
    keys = ("keys", "--dir", tmp_path / "owner", "--epochs", "1", "--type", "x25519")
    typed[:] = ["first passphrase", "second passphrase"]
    differ = run(*keys)
    assert (differ.code, differ.err) == (2, "plateseal: passphrase: the two that were typed differ\n")
    assert not (tmp_path / "owner").exists()
    typed[:] = ["caf\u00e9 au lait", "cafe\u0301 au lait"]
    assert run(*keys, "--from", "2027-01-01").code == 0
    typed[:] = ["cafe\u0301 au lait"]
    assert run(*keys, "--from", "2027-01-02").code == 0
    assert typed == []
    typed[:] = [""]
    assert "from 1 to 1024 bytes" in run(*keys, "--from", "2027-01-03").err


def test_keys_without_a_passphrase_must_be_asked_for(run: Run, tmp_path: Path, bench: CustodyBench) -> None:
    """By its own option, each time; it contradicts a passphrase, and a directory that has one."""
    owner = tmp_path / "plain"
    keys = ("keys", "--dir", owner, "--epochs", "1", "--type", "x25519")
    assert "contradicts" in run(*keys, "--no-passphrase", "--passphrase-file", bench.passphrase_file).err
    assert run(*keys, "--no-passphrase", "--from", "2027-01-01").code == 0
    assert "say --no-passphrase" in run(*keys, "--from", "2027-01-02").err
    assert "under a passphrase, and none was given" in run("keys", "--dir", bench.directory, "--no-passphrase").err
    opened = run("open", "--dir", owner, "--store", bench.receiver, *CASE)
    assert "not opened: 4 sealed to somebody else" in opened.out
    refused = run(*with_store(bench, "open", *CASE)[:1], "--dir", owner, "--store", bench.receiver, *CASE,
                  "--passphrase-file", bench.passphrase_file)  # fmt: skip
    assert "under no passphrase, and one was given" in refused.err


def test_progress_is_for_long_work_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing in a pipe, nothing before two seconds; how long it will take, and the line is taken away again."""
    now_s = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    quiet = cli_owner.Progress("opening")
    now_s[0] += 10
    quiet.show(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    progress = cli_owner.Progress("opening")
    progress.show(1, 5000)
    progress.clear()
    assert capsys.readouterr().err == ""
    now_s[0] += cli_owner.PROGRESS_AFTER_S
    progress.show(1000, 5000)
    progress.show(1001, 5000)
    progress.clear()
    assert capsys.readouterr().err == "\r\x1b[Kopening: 1,000 of 5,000, about 0 min 08 s left\r\x1b[K"

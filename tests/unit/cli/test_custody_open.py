"""`plateseal custody open` and `hold`: ranges of time, Ctrl-C, and the forms in which reads are printed."""

from __future__ import annotations

import csv
import io
import signal
import time
from pathlib import Path

import pytest

from agent.cli import owner as cli_owner
from agent.cli.custody import printing
from agent.cli.custody.printing import Form, Printer
from agent.custody.access import load_keys
from agent.custody.opener import open_read
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.custody_cli import CASE, Done, custody
from tests.fakes.owner import Camera, make_owner


@pytest.fixture
def bench(tmp_path: Path) -> CustodyBench:
    """Return an owner and a receiver with reads of two days."""
    return make_custody_bench(tmp_path)


def run(bench: CustodyBench, command: str, *more: str | Path) -> Done:
    """Run a command on the bench's folders, for the case."""
    folders = ("--dir", bench.directory, "--store", bench.receiver, "--passphrase-file", bench.passphrase_file)
    return custody(command, *folders, *CASE, *more)


def test_a_range_says_what_was_not_looked_at(bench: CustodyBench) -> None:
    """With the option that looks at it all the same."""
    done = run(bench, "open", "--from", "2026-03-02")
    assert "2 reads fit, of 2 messages that were looked at" in done.out
    assert "not looked at: 3 sealed to keys of other times" in done.out
    assert "--every-epoch" in done.out
    assert "2 reads fit, of 5 messages in the store" in run(bench, "open", "--from", "2026-03-02", "--every-epoch").out


@pytest.mark.parametrize(("command", "said"), [("open", "AB1123"), ("hold", "1 reads are held for case 2027-0815")])
def test_ctrl_c_shows_what_was_found_so_far(
    bench: CustodyBench, monkeypatch: pytest.MonkeyPatch, command: str, said: str
) -> None:
    """And what was not searched; the exit code is that of a program that was interrupted, and Ctrl-C works again."""

    def interrupt(_: cli_owner.Progress, done: int, _total: int) -> None:
        if done == 1:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli_owner.Progress, "show", interrupt)
    before = signal.getsignal(signal.SIGINT)
    done = run(bench, command, "--plate", "AB*")
    assert (done.code, signal.getsignal(signal.SIGINT)) == (130, before)
    assert said in done.out
    assert "1 reads fit, of 1 messages that were looked at" in done.out
    assert "stopped. Not searched: about 4 messages, those behind entry 1 of the log" in done.out


def test_a_misread_plate_is_found_when_that_is_said(bench: CustodyBench) -> None:
    """By `hold` as well, which takes the same options."""
    assert "0 reads fit" in run(bench, "open", "--plate", "A8?123*").out
    assert "2 reads fit" in run(bench, "open", "--plate", "A8?123*", "--near", "1").out
    assert "2 reads are held" in run(bench, "hold", "--plate", "A8?123*", "--near", "1").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--near", "1"], "--near: is for --plate"),
        (["--near", "1", "--plate", "A*"], "--near 1: --plate must have more than 1"),
        (["--csv", "--json"], "--csv: contradicts --json"),
    ],
)
def test_options_that_do_not_fit_are_refused(bench: CustodyBench, options: list[str], said: str) -> None:
    """Nothing is searched, and nothing entered."""
    done = run(bench, "open", *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert '"search"' not in custody("audit", "--dir", bench.directory, "--json").out


def test_csv_has_a_heading_and_a_row_for_each_read(bench: CustodyBench) -> None:
    """Nothing else is on standard output; where nothing fits, the heading says so."""
    done = run(bench, "open", "--plate", "AB*", "--csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert [(row["captured_at"], row["plate"], row["camera"]) for row in rows] == [
        ("2026-03-01T12:00:00.000Z", "AB1123", "cam-1"),
        ("2026-03-02T12:00:00.000Z", "AB3123C", "cam-1"),
    ]
    assert [row["envelope"] for row in rows] == [bench.envelopes[number].envelope_id for number in (0, 2)]
    assert "2 reads fit" in done.err
    assert len(run(bench, "open", "--plate", "ZZ*", "--csv").out.splitlines()) == 1


def test_no_cell_is_a_formula(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A unit that is in other hands may call its camera what it likes."""
    owner = make_owner(tmp_path / "owner")
    camera = Camera(owner)
    envelope = camera.seal("AB1", camera="=1+1")
    keys = load_keys(owner, "")
    opened = open_read(envelope, keys.private)
    Printer(Form.CSV).print([opened])
    (row,) = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert row["camera"] == "'=1+1"


def test_a_terminal_has_local_time_and_says_the_zone(bench: CustodyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elsewhere times are UTC, whatever the machine's zone is."""
    monkeypatch.setenv("TZ", "XYZ-05:30")
    time.tzset()
    try:
        assert "2026-03-01T12:00:00.000Z  AB1123" in run(bench, "open", "--plate", "AB*").out
        monkeypatch.setattr(printing, "is_terminal", lambda: True)
        out = run(bench, "open", "--plate", "AB*").out
    finally:
        monkeypatch.undo()
        time.tzset()
    assert out.startswith("captured (local time)           plate ")
    assert "\n2026-03-01 17:30:00.000 +05:30  AB1123 " in out


def index(bench: CustodyBench, *more: str | Path) -> Done:
    """Make the index of the bench's receiver."""
    folders = ("--dir", bench.directory, "--store", bench.receiver, "--passphrase-file", bench.passphrase_file)
    return custody("index", *folders, *more)


def test_an_index_says_what_it_has_and_spares_the_others(bench: CustodyBench) -> None:
    """A search prints the same reads, and how many it did not open; a second index has nothing to do."""
    plain = run(bench, "open", "--plate", "AB*", "--csv").out
    assert "4 reads entered in" in index(bench).out
    done = run(bench, "open", "--plate", "AB*", "--csv")
    assert done.out == plain
    assert "2 reads fit, of 5 messages in the store\n  not opened: 2 that do not fit, by the index" in done.err
    assert "0 reads entered in" in index(bench).out
    assert "in 0 files" in index(bench).out


def test_an_index_is_no_part_of_a_copy(bench: CustodyBench, tmp_path: Path) -> None:
    """It can be made anew, and is not named as left out."""
    index(bench)
    folders = ("--dir", bench.directory, "--out", tmp_path / "copy", "--passphrase-file", bench.passphrase_file)
    done = custody("copy", *folders)
    assert (done.code, "left out" in done.out, (tmp_path / "copy/index").exists()) == (0, False, False)


def test_ctrl_c_keeps_what_was_indexed(bench: CustodyBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is that of a program that was interrupted; the next run goes on."""

    def interrupt(_: cli_owner.Progress, done: int, _total: int) -> None:
        if done == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(cli_owner.Progress, "show", interrupt)
    done = index(bench)
    assert (done.code, "2 reads entered" in done.out, "stopped" in done.out) == (130, True, True)
    monkeypatch.undo()
    assert "2 reads entered" in index(bench).out


def test_an_index_that_cannot_be_written_is_told(bench: CustodyBench) -> None:
    """In one line that names the file; nothing half is left."""
    (bench.directory / "index").write_text("")
    done = index(bench)
    assert (done.code, "index: cannot be made" in done.err) == (8, True)

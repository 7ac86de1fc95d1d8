"""`plateseal custody open` and `hold`: ranges of time, Ctrl-C, and the forms in which reads are printed."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from agent.cli import owner as cli_owner
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.custody_cli import CASE, Done, custody


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

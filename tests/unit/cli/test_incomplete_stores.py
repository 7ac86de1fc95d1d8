"""The owner's commands on a store that is not all of the store: they refuse, or say so before anything else."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli.main import main
from agent.keys.keyfiles import load_ed25519_private
from agent.receiver.admission.devices import DeviceBook, Event, EventKind
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.reads import NOON

Run = Callable[..., tuple[int, str, str]]
CASE = ("--case", "2027-0815", "--reason", "hit and run")
COMMANDS = {
    "open": CASE,
    "hold": (*CASE, "--plate", "AB*"),
    "export": (*CASE, "--id", "00" * 32, "--out", "x"),
    "destroy": ("--before", "2026-03-10", "--reason", "retention", "--yes"),
}


@pytest.fixture
def bench(tmp_path: Path) -> CustodyBench:
    """Return an owner and a receiver's folder."""
    return make_custody_bench(tmp_path)


@pytest.fixture
def run(bench: CustodyBench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a custody command on the bench's folders; return its exit code, output and errors."""

    def run_command(command: str, *more: str) -> tuple[int, str, str]:
        common = ["--dir", bench.directory, "--store", bench.receiver, "--passphrase-file", bench.passphrase_file]
        monkeypatch.setattr(sys, "argv", ["plateseal", "custody", command, *map(str, common), *more])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return run_command


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_store_of_a_receiver_with_units_is_refused(bench: CustodyBench, run: Run, command: str) -> None:
    """The write-ahead log was not copied: no command takes that for a store without reads, and no key is destroyed."""
    store = ReceiverLayout(bench.receiver).store
    store.unlink()
    SqliteStore.create(store).close()
    before = bench.owner.layout.audit.read_bytes()
    code, out, err = run(command, *COMMANDS[command])
    assert (code, out) == (2, ""), err
    assert "1 device key is enrolled and nothing is stored" in err
    assert "plateseal receiver backup" in err
    assert bench.owner.layout.audit.read_bytes() == before
    assert len(list(bench.owner.layout.private.iterdir())) == 2


def test_a_store_that_ends_too_early_is_told_and_opened(bench: CustodyBench, run: Run) -> None:
    """Restored from an older copy: what is there opens, and a line says that there was more."""
    layout = ReceiverLayout(bench.receiver)
    book = DeviceBook(layout.devices)
    (device,) = book.all()
    later = replace(device, history=(*device.history, Event(EventKind.RENEWED, NOON, 9)))
    book.save(later, load_ed25519_private(layout.receipt_key))
    code, out, err = run("open", *CASE, "--json")
    assert (code, len([json.loads(line) for line in out.splitlines()])) == (0, 4)
    assert err.startswith("beware: --store ")
    assert "names entry 9 of the log, and the store ends at 5" in err

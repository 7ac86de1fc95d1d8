"""A backup of a receiver that runs: whole, of one moment, and nothing is overwritten."""

from __future__ import annotations

import shutil
import stat
import threading
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.errors import PlatesealError, ReceiverError, UsageError
from agent.keys.keyfiles import public_pem
from agent.receiver import backup as module
from agent.receiver.admission.devices import DeviceBook, Event, EventKind
from agent.receiver.admission.pki import issue_operator
from agent.receiver.backup import back_up
from agent.receiver.intake.verification import verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.copying import Snapshot
from agent.receiver.stores.sqlite import SqliteStore
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, make_bench
from tests.fakes.reads import NOON
from tests.fakes.stored import alter_body, bodies


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a receiver that has stored a chain of 20 envelopes."""
    made = make_bench(tmp_path)
    with SqliteStore.open(made.receiver.store) as store:
        store.store_batch(make_chain(made.device.signing_key, 20), NOON, made.receipt_key)
    return made


def quiet(_what: str, _done: int, _total: int) -> None:
    """Watch nothing."""


def stored(path: Path) -> list[bytes]:
    """Return what a store holds."""
    with SqliteStore.open_read_only(path) as store:
        return bodies(store)


def test_a_backup_of_a_running_receiver_has_what_is_in_the_write_ahead_log(tmp_path: Path) -> None:
    """Nothing is in the one file yet; the copy is one file that has all, and verifies on its own."""
    bench, out = make_bench(tmp_path), tmp_path / "out"
    issue_operator(bench.receiver.directory, "anna", passphrase="x")
    with SqliteStore.open(bench.receiver.store) as store:
        store.store_batch(make_chain(bench.device.signing_key, 20), NOON, bench.receipt_key)
        made = back_up(bench.receiver.directory, out, with_keys=False, watch=quiet)
        expected = bodies(store)
    assert (made.envelopes, made.log_end, made.devices, made.operators) == (20, 20, 1, 1)
    assert (made.keys, made.left_out, made.damage) == ((), ("ca.key", "server.key", "receipt.key"), ())
    copied = ReceiverLayout(out)
    names = {path.name for path in out.iterdir()}
    assert names == {"envelopes.db", "bodies", "devices", "operators", "ca.pem", "server.pem", "receipt.pub"}
    shutil.rmtree(bench.receiver.directory)
    with SqliteStore.open_read_only(copied.store) as store:
        reports = verify_store(store, DeviceBook(copied.devices))
    assert [(report.envelopes, report.is_continuous) for report in reports] == [(20, True)]
    assert stored(copied.store) == expected
    assert stat.S_IMODE(copied.store.stat().st_mode) == 0o600


def test_private_keys_come_along_only_if_asked(bench: Bench, tmp_path: Path) -> None:
    """They are told by name; a receiver can be served from such a copy."""
    made = back_up(bench.receiver.directory, tmp_path / "out", with_keys=True, watch=quiet)
    assert (made.keys, made.left_out) == (("ca.key", "server.key", "receipt.key"), ())
    for name in made.keys:
        copied = tmp_path / "out" / name
        assert copied.read_bytes() == (bench.receiver.directory / name).read_bytes()
        assert stat.S_IMODE(copied.stat().st_mode) == 0o600
    with SqliteStore.open(tmp_path / "out" / "envelopes.db") as store:
        store.store_batch(make_chain(bench.device.signing_key, 1), NOON, bench.receipt_key)
        assert store.totals().envelopes == 21


def test_what_earlier_and_coming_receipts_are_checked_with_comes_along(bench: Bench, tmp_path: Path) -> None:
    """The public halves of the receipt keys before this one and after it."""
    for path in (bench.receiver.receipt_earlier, bench.receiver.receipt_next_public):
        path.write_bytes(public_pem(Ed25519PrivateKey.generate().public_key()))
    back_up(bench.receiver.directory, tmp_path / "out", with_keys=False, watch=quiet)
    copied = ReceiverLayout(tmp_path / "out")
    assert copied.receipt_earlier.read_bytes() == bench.receiver.receipt_earlier.read_bytes()
    assert copied.receipt_next_public.read_bytes() == bench.receiver.receipt_next_public.read_bytes()


@pytest.mark.parametrize("what", ["file", "folder"])
def test_nothing_is_overwritten(bench: Bench, tmp_path: Path, what: str) -> None:
    """A folder with anything in it, or a file of that name, is left as it is."""
    out = tmp_path / "out"
    if what == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "note").write_text("mine")
    with pytest.raises(UsageError, match="cannot be made or listed" if what == "file" else "not empty"):
        back_up(bench.receiver.directory, out, with_keys=False, watch=quiet)
    assert (out if what == "file" else out / "note").read_text() == "mine"


def test_a_backup_while_envelopes_are_stored_is_of_one_moment(bench: Bench, tmp_path: Path) -> None:
    """Batches are stored without a pause; each backup verifies, has what was there at its beginning, and ends."""
    chain = make_chain(bench.device.signing_key, 3000, body=bytes(2000))
    done, failed = threading.Event(), list[BaseException]()

    def store_on() -> None:
        try:
            with SqliteStore.open(bench.receiver.store) as store:
                for first in range(0, len(chain), 8):
                    if done.is_set():
                        return
                    store.store_batch(chain[first : first + 8], NOON, bench.receipt_key)
        except BaseException as error:  # noqa: BLE001  told by the test
            failed.append(error)

    writer = threading.Thread(target=store_on)
    writer.start()
    try:
        made = []
        for turn in range(4):
            before = Snapshot(bench.receiver.store)
            before.close()
            out = tmp_path / f"out-{turn}"
            made.append((before.count, back_up(bench.receiver.directory, out, with_keys=False, watch=quiet), out))
    finally:
        done.set()
        writer.join()
    assert failed == []
    assert len(made) == 4
    for least, backed_up, out in made:
        assert backed_up.envelopes >= least
        with SqliteStore.open_read_only(ReceiverLayout(out).store) as store:
            reports = verify_store(store, DeviceBook(ReceiverLayout(out).devices))
            assert (sum(report.envelopes for report in reports), store.totals().log_end) == (
                backed_up.envelopes,
                backed_up.log_end,
            )
        assert all(report.is_continuous for report in reports)


def test_records_and_store_are_of_the_same_moment(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate is renewed after the store was taken: both are taken again, or reads seem to lack."""
    book, turns = DeviceBook(bench.receiver.devices), []
    (device,) = book.all()

    def later(path: Path) -> Snapshot:
        snapshot = Snapshot(path)
        turns.append(snapshot.log_end)
        if len(turns) == 1:
            with SqliteStore.open(path) as store:
                store.store_batch(make_chain(bench.device.signing_key, 5), NOON, bench.receipt_key)
            renewed = Event(EventKind.RENEWED, NOON + timedelta(days=1), 25)
            book.save(replace(device, history=(*device.history, renewed)), bench.receipt_key)
        return snapshot

    monkeypatch.setattr(module, "Snapshot", later)
    made = back_up(bench.receiver.directory, tmp_path / "out", with_keys=False, watch=quiet)
    assert (turns, made.log_end) == ([20, 25], 25)
    assert CliRunner().invoke(app, ["verify", str(tmp_path / "out")]).exit_code == 0


def test_a_damaged_store_is_copied_and_told(bench: Bench, tmp_path: Path) -> None:
    """A copy of what is left is better than none, and no success."""
    alter_body(bench.receiver.store, bytes(9), where="log = 3")
    said = CliRunner().invoke(app, ["backup", str(bench.receiver.directory), str(tmp_path / "out")])
    assert isinstance(said.exception, PlatesealError)
    assert said.exception.exit_code == 7
    assert "1 of its entries are no envelopes" in str(said.exception)
    assert len(stored(tmp_path / "out" / "envelopes.db")) == 20


def test_a_copy_that_was_cut_off_is_no_backup(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store gets its name last: a folder in which it is missing says so to everybody."""

    def cut_off(*_: object) -> None:
        raise ReceiverError("cut off")

    monkeypatch.setattr(module, "_read_back", cut_off)
    with pytest.raises(ReceiverError, match="cut off"):
        back_up(bench.receiver.directory, tmp_path / "out", with_keys=False, watch=quiet)
    said = CliRunner().invoke(app, ["verify", str(tmp_path / "out")])
    assert "envelopes.db: is missing" in str(said.exception)
    assert "which a backup that was cut off lacks" in str(said.exception)


def test_a_folder_that_is_no_receivers_is_told(tmp_path: Path) -> None:
    """And no folder is made for it."""
    with pytest.raises(ReceiverError, match="there is no store to copy"):
        back_up(tmp_path, tmp_path / "out", with_keys=False, watch=quiet)
    assert not (tmp_path / "out").exists()


def test_a_backup_says_what_it_has_and_what_not(bench: Bench, tmp_path: Path) -> None:
    """For a person in words, for a program by name."""
    said = CliRunner().invoke(app, ["backup", str(bench.receiver.directory), str(tmp_path / "out")])
    assert said.exit_code == 0, said.output
    assert "20 envelopes, the log up to entry 20, 1 device keys, 0 operators; read back and compared" in said.output
    assert "without the private keys ca.key, server.key, receipt.key" in said.output
    said = CliRunner().invoke(
        app, ["backup", str(bench.receiver.directory), str(tmp_path / "b"), "--with-keys", "--json"]
    )
    assert '"keys": ["ca.key", "server.key", "receipt.key"], "left_out": []' in said.output

"""Another receipt key: units believe both meanwhile, and what the one before signed stays good."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agent.cli.custody import app as custody_app
from agent.cli.receiver import app
from agent.disk.watch import LOOK_EVERY_S, RETRY_AFTER_S
from agent.errors import KeyFileError, UsageError
from agent.keys import keyfiles
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import enrol
from agent.receiver.admission.receipt_change import prepare_change, take_change
from agent.receiver.intake.server import serve
from agent.receiver.intake.verification import verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.unit.upload.receipt_keys import PinnedKeys
from agent.wire import cose
from agent.wire.receipt import verify_receipt
from tests.fakes.clock import FakeClock
from tests.fakes.custody_bench import make_custody_bench
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, make_bench

AT = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Return a receiver with an enrolled unit."""
    return make_bench(tmp_path)


def is_sound(receiver: ReceiverLayout) -> bool:
    """Whether every record and every kept receipt of a receiver verifies."""
    with SqliteStore.open_read_only(receiver.store) as store:
        reports = verify_store(store, DeviceBook(receiver.devices))
    return bool(reports) and all(each.is_continuous and each.receipted == each.envelopes for each in reports)


def test_receipts_of_both_keys_verify_at_the_receiver_and_on_the_unit(bench: Bench, tmp_path: Path) -> None:
    """One chain of envelopes, the first half under the old key; the unit pins what `receipt.pub.next` holds."""
    envelopes = make_chain(bench.device.signing_key, 4)
    with SqliteStore.open(bench.receiver.store) as store:
        receipts = store.store_batch(envelopes[:2], AT, bench.receipt_key)
        prepared = prepare_change(bench.receiver.directory)
        (tmp_path / "pinned.pub").write_bytes(prepared.file.read_bytes())
        pinned = PinnedKeys(tmp_path / "pinned.pub", FakeClock())
        assert prepare_change(bench.receiver.directory) == prepared
        assert take_change(bench.receiver.directory).new_key_id == prepared.new_key_id
        receipts += store.store_batch(envelopes[2:], AT + timedelta(hours=1), bench.receipt_key)
    signers = []
    for each, envelope in zip(receipts, envelopes, strict=True):
        assert isinstance(each, bytes)
        signers.append(verify_receipt(each, envelope, pinned).receiver_kid)
    assert signers == [prepared.old_key_id] * 2 + [prepared.new_key_id] * 2
    assert is_sound(bench.receiver)
    assert cose.ed25519_kid(bench.receipt_public) == prepared.new_key_id
    enrol(bench.receiver.directory, bench.device.directory / "enrolment.json")
    assert is_sound(bench.receiver)


def test_without_the_earlier_key_its_receipts_are_named(bench: Bench) -> None:
    """The file of earlier keys is what keeps them good: whoever copies a store copies it too."""
    with SqliteStore.open(bench.receiver.store) as store:
        store.store_batch(make_chain(bench.device.signing_key, 2), AT, bench.receipt_key)
    prepare_change(bench.receiver.directory)
    take_change(bench.receiver.directory)
    assert is_sound(bench.receiver)
    bench.receiver.receipt_earlier.unlink()
    assert not is_sound(bench.receiver)


def test_custody_checks_and_hands_out_receipts_of_an_earlier_key(tmp_path: Path) -> None:
    """An export has the receipt as it was signed, and the public half of the key that signed it."""
    bench = make_custody_bench(tmp_path)
    layout = ReceiverLayout(bench.receiver)
    before = layout.receipt_public.read_bytes()
    prepare_change(bench.receiver)
    take_change(bench.receiver)
    mandate = ["--case", "7", "--reason", "trial", "--passphrase-file", str(bench.passphrase_file)]
    what = ["--id", bench.envelopes[0].envelope_id, "--out", str(tmp_path / "out"), "--json"]
    command = ["export", "--dir", str(bench.directory), "--store", str(bench.receiver), *mandate, *what]
    done = CliRunner().invoke(custody_app, command, catch_exceptions=False)
    answer = json.loads(done.output)
    assert (answer["doubts"], [each for each in answer["missing"] if "receipt" in each]) == ([], [])
    assert (tmp_path / "out" / "receipt.pub").read_bytes() == before
    assert layout.receipt_public.read_bytes() != before


class Cut(Exception):  # noqa: N818  not an error of ours: the process was killed
    """The process ended here."""


def _cut_before(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """End the process before its `step`-th change of a name on the disk."""
    count = 0

    def wrap(real: Callable[..., object]) -> Callable[..., object]:
        def wrapped(*arguments: object, **options: object) -> object:
            nonlocal count
            count += 1
            if count >= step:
                raise Cut
            return real(*arguments, **options)

        return wrapped

    for name in ("rename", "pwrite", "fsync"):
        monkeypatch.setattr(os, name, wrap(getattr(os, name)))


def test_a_crash_at_any_step_leaves_a_sound_receiver_and_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records and receipts verify after each cut; a start in between says what finishes it."""
    for step in range(1, 60):
        (tmp_path / str(step)).mkdir()
        bench = make_bench(tmp_path / str(step))
        with SqliteStore.open(bench.receiver.store) as store:
            store.store_batch(make_chain(bench.device.signing_key, 1), AT, bench.receipt_key)
        prepared = prepare_change(bench.receiver.directory)
        _cut_before(monkeypatch, step)
        try:
            take_change(bench.receiver.directory)
            whole = True
        except Cut:
            whole = False
        monkeypatch.undo()
        assert is_sound(bench.receiver)
        if whole:
            break
        if bench.receipt_key.public_key() != bench.receipt_public:
            with pytest.raises(KeyFileError, match=r"finish it: .*receipt-key .* --take"):
                serve(bench.receiver.directory, host="127.0.0.1", port=0)
        if bench.receiver.receipt_next_key.exists():
            take_change(bench.receiver.directory)
        assert cose.ed25519_kid(bench.receipt_key.public_key()) == prepared.new_key_id
        assert cose.ed25519_kid(bench.receipt_public) == prepared.new_key_id
        assert is_sound(bench.receiver)
        assert len(DeviceBook(bench.receiver.devices).receipt_keys()) == 2
    else:
        pytest.fail("the change never came to its end")
    assert step > 5


def test_the_commands_lead_through_it(bench: Bench) -> None:
    """Prepared, then taken; taking what is not prepared is a mistake of use. Private keys stay private."""
    runner, folder = CliRunner(), str(bench.receiver.directory)
    assert isinstance(runner.invoke(app, ["receipt-key", folder, "--take"]).exception, UsageError)
    prepared = json.loads(runner.invoke(app, ["receipt-key", folder, "--json"]).output)
    assert stat.S_IMODE(bench.receiver.receipt_next_key.stat().st_mode) == 0o600
    assert Path(prepared["units_pin"]).read_bytes().count(b"BEGIN PUBLIC KEY") == 2
    taken = runner.invoke(app, ["receipt-key", folder, "--take"], catch_exceptions=False)
    assert "systemctl restart plateseal-receiver" in taken.output
    assert stat.S_IMODE(bench.receiver.receipt_key.stat().st_mode) == 0o600
    assert not bench.receiver.receipt_next_key.exists()
    assert not bench.receiver.receipt_next_public.exists()


def test_a_unit_takes_up_pinned_keys_without_a_restart(
    bench: Bench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A second key is believed from the next look on; a file that holds none, or three, changes nothing."""
    clock, path = FakeClock(), tmp_path / "pinned.pub"
    path.write_bytes(bench.receiver.receipt_public.read_bytes())
    pinned = PinnedKeys(path, clock)
    change = prepare_change(bench.receiver.directory)

    def known() -> list[bool]:
        clock.advance(max(LOOK_EVERY_S, RETRY_AFTER_S))
        return [pinned.get(kid) is not None for kid in (change.old_key_id, change.new_key_id)]

    assert known() == [True, False]
    both = change.file.read_bytes()
    for wrong in (b"", both + both, b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"):
        keyfiles.replace_file(path, wrong, keyfiles.PUBLIC_MODE)
        assert known() == [True, False]
    assert caplog.text.count("those before go on") == 3
    keyfiles.replace_file(path, both, keyfiles.PUBLIC_MODE)
    assert known() == [True, True]
    assert len(pinned) == 2

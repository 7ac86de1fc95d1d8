"""Custody and the receiver's word: a key's end, and receipts that do not agree with the store, the unit or the read."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from agent.cli.custody import app
from agent.custody.access import open_reads
from agent.custody.export import export_read
from agent.custody.owner import Owner
from agent.custody.search import Query, Tally, Unopened
from agent.receiver.admission.revoke import revoke
from agent.records import ClockState
from agent.wire import cbor, cose
from agent.wire.header import SeenReceipt
from agent.wire.suites import KeyType
from tests.fakes.custody_bench import CustodyBench, make_custody_bench
from tests.fakes.owner import DAY, MANDATE, RECEIPT_KEY, Camera, MemoryReceiver, make_owner
from tests.fakes.reads import NOON


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    """Return an owner with keys for NOON."""
    return make_owner(tmp_path / "owner", key_type=KeyType.X25519)


def opened(owner: Owner, receiver: MemoryReceiver) -> tuple[int, Tally]:
    """Open everything, and return how many reads came, and the tally."""
    tally = Tally()
    reads = sum(len(batch) for batch in open_reads(owner, receiver, Query(), MANDATE, tally=tally))
    return reads, tally


def test_reads_before_the_end_of_a_key_open_and_those_after_do_not(owner: Owner) -> None:
    """Before, the file of a stolen unit was deleted, and none of its reads opened."""
    camera = Camera(owner, run=0)
    receiver = MemoryReceiver(camera, stored=[camera.seal(f"AB{number}").data for number in range(4)])
    receiver.ends[cose.ed25519_kid(camera.key.public_key())] = 3
    reads, tally = opened(owner, receiver)
    assert reads == 3
    assert dict(tally.unopened) == {Unopened.REVOKED: 1}


def test_an_honest_receiver_leaves_no_doubt(owner: Owner, tmp_path: Path) -> None:
    """In both versions, and in the export."""
    old, new = Camera(owner), Camera(owner, run=0)
    envelopes = [camera.seal("AB1") for camera in (old, new) for _ in range(2)]
    receiver = MemoryReceiver(old, new, stored=[each.data for each in envelopes])
    assert opened(owner, receiver)[1].doubts == {}
    name = envelopes[0].envelope_id
    assert (
        export_read(owner, receiver, name, MANDATE, out=tmp_path / "out", receipt_keys=receiver.receipt_keys).doubts
        == ()
    )


@pytest.mark.parametrize("clock", list(ClockState))
def test_a_receipt_from_before_the_capture_is_doubted(owner: Owner, clock: ClockState) -> None:
    """Where the camera's clock was synchronised; a clock in doubt accuses nobody."""
    camera = Camera(owner, run=0)
    envelope = camera.seal("AB1", clock=clock)
    receiver = MemoryReceiver(camera, stored=[envelope.data])
    for before, expected in ((timedelta(minutes=59), False), (timedelta(minutes=61), True)):
        receiver.stored_at = NOON - before
        _, tally = opened(owner, receiver)
        assert bool(tally.doubts) is (expected and clock is ClockState.SYNCHRONIZED)


def test_a_receipt_that_the_unit_has_not_seen_is_doubted(owner: Owner) -> None:
    """The unit has signed the digest of another one for the same entry."""
    camera = Camera(owner, run=0)
    receiver = MemoryReceiver(camera, stored=[camera.seal("AB1").data])
    told = receiver.receipt_at(1)
    assert told is not None
    kid = cose.ed25519_kid(RECEIPT_KEY.public_key())
    camera.seen = SeenReceipt(kid[:8], 1, cbor.sha256(told))
    envelope = camera.seal("AB2")
    receiver.stored.append(envelope.data)
    assert opened(owner, receiver)[1].doubts == {}
    receiver.stored_at += timedelta(days=1)
    assert list(opened(owner, receiver)[1].doubts) == [envelope.envelope_id]


def test_a_missing_receipt_is_a_doubt_in_version_2_only(owner: Owner) -> None:
    """An earlier plateseal kept none."""
    old, new = Camera(owner), Camera(owner, run=0)
    first, second = old.seal("AB1"), new.seal("AB2")
    receiver = MemoryReceiver(old, new, stored=[first.data, second.data], keeps_receipts=False)
    assert list(opened(owner, receiver)[1].doubts) == [second.envelope_id]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> CustodyBench:
    """Return a receiver's folder with reads."""
    return make_custody_bench(tmp_path_factory.mktemp("bench"))


def run(bench: CustodyBench, command: str, *arguments: str) -> Result:
    """Run a custody command for a case."""
    words = [command, "--dir", str(bench.directory), "--passphrase-file", str(bench.passphrase_file)]
    case = ["--store", str(bench.receiver), "--case", "1", "--reason", "theft"]
    return CliRunner().invoke(app, [*words, *case, *arguments], catch_exceptions=False)


def edit(bench: CustodyBench, statement: str) -> None:
    """Change the store."""
    with closing(sqlite3.connect(bench.receiver / "envelopes.db")) as connection:
        connection.execute(statement)
        connection.commit()


def test_an_export_of_an_edited_row_hands_out_the_first_receipt(bench: CustodyBench, tmp_path: Path) -> None:
    """And says what the row says otherwise; the export before signed 2023 for it."""
    wanted = bench.envelopes[1].envelope_id
    run(bench, "export", "--id", wanted, "--out", str(tmp_path / "a"))
    edit(bench, "UPDATE envelopes SET stored_at_ms = stored_at_ms - 100000000000 WHERE seq = 1")
    done = run(bench, "export", "--id", wanted, "--out", str(tmp_path / "b"), "--json")
    edit(bench, "UPDATE envelopes SET stored_at_ms = stored_at_ms + 100000000000 WHERE seq = 1")
    assert (tmp_path / "b" / "receipt.cose").read_bytes() == (tmp_path / "a" / "receipt.cose").read_bytes()
    (doubt,) = json.loads(done.stdout)["doubts"]
    assert "the row says log 2 at 2023-01-01" in doubt


def test_the_commands_go_on_with_a_revoked_unit(bench: CustodyBench) -> None:
    """By the receiver's own folder: what was logged before opens, the rest is counted by its reason."""
    revoke(bench.receiver, "cam-1", at=3, reason="stolen", now=NOON + 9 * DAY)
    done = run(bench, "open")
    assert "3 reads fit" in done.output
    assert "not opened: 2 logged after the end of their key" in done.output


def test_a_device_record_that_does_not_hold_is_told(bench: CustodyBench) -> None:
    """Its reads are not opened, and the command goes on."""
    path = next((bench.receiver / "devices").iterdir())
    path.write_text(path.read_text().replace("stolen", "strayed"))
    assert f"not opened: 5 {Unopened.BAD_RECORD}" in run(bench, "open").output

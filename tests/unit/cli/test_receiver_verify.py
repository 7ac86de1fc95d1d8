"""`plateseal receiver verify`: what it says of reads that a unit's own bounds forced out."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import sign_tombstone
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import EPOCH, make_chain, next_position
from tests.fakes.pki import make_bench
from tests.fakes.reads import NOON


def test_lost_reads_are_told_by_what_became_of_them(tmp_path: Path) -> None:
    """In one line for a person, and by name for a program: places that are explained, reads by reason."""
    bench = make_bench(tmp_path)
    key = bench.device.signing_key
    reads = make_chain(key, 5)
    gone = Gone(reads[1].position.chain, 1, 3, reads[3].digest)
    evicted = sign_tombstone(Tombstone(LossReason.EVICTED, 3, NOON, NOON, (gone,)), key, next_position(reads[-1]))
    overflow = sign_tombstone(Tombstone(LossReason.OVERFLOW, 7, NOON, NOON), key, next_position(evicted))
    with SqliteStore.open(bench.receiver.store) as store:
        store.store_batch([reads[0], reads[4], evicted, overflow], NOON, bench.receipt_key)
    said = CliRunner().invoke(app, ["verify", str(bench.receiver.directory)])
    assert said.exit_code == 0
    assert "continuous, 7 overflowed by the unit's own bounds, 3 evicted by the unit's own bounds" in said.output
    said = json.loads(CliRunner().invoke(app, ["verify", str(bench.receiver.directory), "--json"]).output)
    (report,) = said["chains"]
    told = {name: report[name] for name in ("explained", "overflowed", "expired", "evicted", "continuous")}
    assert told == {"explained": 3, "overflowed": 7, "expired": 0, "evicted": 3, "continuous": True}


def test_each_day_is_told_by_unit_in_order_of_time(tmp_path: Path) -> None:
    """Also where a chain goes on over midnight, and a later chain was stored on a day before."""
    bench = make_bench(tmp_path)
    key = bench.device.signing_key
    late, early = make_chain(key, 5), make_chain(key, 2)
    overflow = sign_tombstone(Tombstone(LossReason.OVERFLOW, 7, NOON, NOON), key, next_position(late[-1]))
    with SqliteStore.open(bench.receiver.store) as store:
        store.store_batch([*early, *late[:3]], NOON, bench.receipt_key)
        store.store_batch([*late[3:], overflow], NOON + timedelta(days=1), bench.receipt_key)
        store.drop_epochs([EPOCH], NOON)
    said = json.loads(CliRunner().invoke(app, ["verify", str(bench.receiver.directory), "--json"]).output)
    lost = {"overflowed": 0, "expired": 0, "evicted": 0}
    first, second = (f"{NOON + timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
    assert said["units"] == [
        {
            "device": "cam-1",
            "days": [
                {"day": first, "envelopes": 0, "dropped": 5, **lost},
                {"day": second, "envelopes": 1, "dropped": 2, **lost, "overflowed": 7},
            ],
        }
    ]
    shown = CliRunner().invoke(app, ["verify", str(bench.receiver.directory)]).output
    rows = [line.split() for line in shown.splitlines() if line.startswith("cam-1  ")]
    assert [row[1:4] for row in rows] == [[first, "0", "5"], [second, "1", "2"], ["all", "1", "7"]]

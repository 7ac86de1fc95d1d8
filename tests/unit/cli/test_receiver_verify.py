"""`plateseal receiver verify`: what it says of reads that a unit's own bounds forced out."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from agent.cli.receiver import app
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import sign_tombstone
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import make_chain, next_position
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
    (report,) = json.loads(CliRunner().invoke(app, ["verify", str(bench.receiver.directory), "--json"]).output)
    told = {name: report[name] for name in ("explained", "overflowed", "expired", "evicted", "continuous")}
    assert told == {"explained": 3, "overflowed": 7, "expired": 0, "evicted": 3, "continuous": True}

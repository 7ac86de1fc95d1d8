"""Two clusters on this machine, a primary and its synchronous standby: what was receipted outlives the primary."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import ReceiverError
from agent.receiver.stores.opening import create_store, open_store
from agent.wire.envelope import Envelope
from tests.fakes.envelopes import make_chain
from tests.fakes.postgres import Cluster
from tests.fakes.receipts import RECEIVER
from tests.fakes.waiting import wait_until

pytestmark = pytest.mark.needs("postgresql")

_AT: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_DATABASE: Final = "reads"


@pytest.fixture
def pair() -> Iterator[tuple[Cluster, Cluster]]:
    """Return a primary with a store that needs a standby, and its synchronous standby."""
    with ExitStack() as stack:
        primary = stack.enter_context(Cluster())
        primary.execute(f"CREATE DATABASE {_DATABASE}")
        create_store(primary.url(_DATABASE), needs_standby=True)
        standby = stack.enter_context(Cluster(copy_of=primary))
        primary.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{standby.name}'")
        primary.execute("SELECT pg_reload_conf()")
        query = "SELECT sync_state FROM pg_stat_replication"
        wait_until(lambda: primary.execute(query) == [("sync",)])
        yield primary, standby


def test_what_was_receipted_is_on_the_standby_when_the_primary_dies(pair: tuple[Cluster, Cluster]) -> None:
    """Killed while it takes batches, and the standby promoted: none of the receipted ones is missing, none has another
    receipt. The new primary gives no new one until it has a standby of its own.
    """
    primary, standby = pair
    chains = [make_chain(Ed25519PrivateKey.generate(), 400, run=0) for _ in range(2)]
    receipts: dict[bytes, bytes] = {}

    def deliver(chain: list[Envelope]) -> None:
        with open_store(primary.url(_DATABASE)) as store:
            for begin in range(0, len(chain), 4):
                batch = chain[begin : begin + 4]
                try:
                    outcomes = store.store_batch(batch, _AT, RECEIVER)
                except ReceiverError:
                    return
                kept = zip(batch, outcomes, strict=True)
                receipts.update({each.digest: outcome for each, outcome in kept if isinstance(outcome, bytes)})

    threads = [threading.Thread(target=deliver, args=(chain,)) for chain in chains]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(receipts) > 40)
    primary.kill()
    for thread in threads:
        thread.join()
    standby.promote()
    with open_store(standby.url(_DATABASE), read_only=True) as store:
        stored = {row.id: row.receipt for row in store.pages()}
        logs = [row.log for row in store.pages()]
    assert {key: stored.get(key) for key in receipts} == receipts
    assert logs == list(range(1, len(logs) + 1))
    with open_store(standby.url(_DATABASE)) as store, pytest.raises(ReceiverError, match="names"):
        store.store_batch(chains[0], _AT, RECEIVER)


def test_without_the_standby_nobody_is_told_that_anything_lasts(pair: tuple[Cluster, Cluster]) -> None:
    """A batch waits for it; a wait that was cancelled is no receipt, and the repeat waits until the standby is back."""
    primary, standby = pair
    chain = make_chain(Ed25519PrivateKey.generate(), 2, run=0)
    said: list[object] = []

    def deliver() -> None:
        with open_store(primary.url(_DATABASE)) as store:
            try:
                said.append(store.store_batch(chain, _AT, RECEIVER))
            except ReceiverError as error:
                said.append(error)

    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    standby.kill()
    first = threading.Thread(target=deliver)
    first.start()
    wait_until(lambda: primary.execute(waiting))
    primary.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    first.join()
    assert "not known to last: canceling wait" in str(said.pop())
    repeat = threading.Thread(target=deliver)
    repeat.start()
    wait_until(lambda: primary.execute(waiting))
    assert said == []
    standby.start()
    repeat.join()
    (outcomes,) = said
    assert isinstance(outcomes, list)
    assert all(isinstance(outcome, bytes) for outcome in outcomes)

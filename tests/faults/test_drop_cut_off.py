"""SIGKILL before every statement and every system call of a drop: nothing is dropped, or the next start finishes it."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.receiver.stores.filing import HELD
from agent.receiver.stores.sqlite import SqliteStore
from agent.wire.envelope import Envelope
from tests.fakes.envelopes import make_chain, make_envelope, next_position
from tests.fakes.receipts import RECEIVER
from tests.fakes.stored import bodies
from tests.fakes.waiting import WITHIN_S

WARM: Final = multiprocessing.get_context("forkserver")
WARM.set_forkserver_preload([__name__])
CALLS: Final = ("pwrite", "fsync", "fdatasync", "unlink")
AT: Final = datetime(2026, 3, 1, tzinfo=UTC)
FIRST, SECOND, KEPT = (bytes([number]) * 32 for number in (1, 2, 3))
"""Ids of keys: two that are dropped, one that is not."""


def make_store(path: Path) -> list[Envelope]:
    """Make a store with reads of three epochs, and return them."""
    chain = make_chain(Ed25519PrivateKey.generate(), 3, kids=[FIRST])
    key = Ed25519PrivateKey.generate()
    others = make_chain(key, 3, kids=[SECOND])
    others.append(make_envelope(key, next_position(others[-1]), kids=[KEPT]))
    path.parent.mkdir()
    with SqliteStore.create(path) as store:
        store.store_batch([*chain, *others], AT, RECEIVER)
    return [*chain, *others]


def drop_and_die(path: Path, held: bytes, step: int) -> None:
    """Drop two epochs, and die before the statement or the system call of that number."""
    done = 0

    def count(*_: object) -> None:
        nonlocal done
        done += 1
        if done > step:
            os.kill(os.getpid(), signal.SIGKILL)

    def between(call: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **options: Any) -> Any:
            count()
            return call(*arguments, **options)

        return called

    store = SqliteStore.open(path)
    assert store._connection is not None
    store._connection.set_trace_callback(count)
    for name in CALLS:
        setattr(os, name, between(getattr(os, name)))
    store.drop_epochs([FIRST, SECOND], AT, held=[held])


def cut_off(path: Path, held: bytes, step: int) -> bool:
    """Drop in a process of its own; return whether it was killed."""
    process = WARM.Process(target=drop_and_die, args=(path, held, step))
    process.start()
    process.join(WITHIN_S)
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode != 0


def test_a_drop_that_was_killed_is_whole_or_nothing_and_the_next_start_gives_the_disk_back(tmp_path: Path) -> None:
    """At each step: every read is there or both epochs are gone, no damage is told, and dropping again ends the same.

    Kills must have left each state: nothing dropped, files that wait for the next start, and one of two unlinked.
    """
    template = tmp_path / "template" / "envelopes.db"
    envelopes = make_store(template)
    held, last = envelopes[1], envelopes[-1]
    left_at_the_kill, step, was_killed = set[frozenset[str]](), 0, True
    while was_killed:
        path = tmp_path / str(step) / "envelopes.db"
        shutil.copytree(template.parent, path.parent)
        was_killed = cut_off(path, held.digest, step)
        left = frozenset(file.name for file in (path.parent / "bodies").iterdir())
        with SqliteStore.open(path) as store:
            is_dropped = [epoch.dropped_at is not None for epoch in store.epochs()][:2]
            assert is_dropped in ([False, False], [True, True])
            assert bodies(store) == ([held.data, last.data] if is_dropped[0] else [each.data for each in envelopes])
            assert store.faults() == []
            if is_dropped[0]:
                left_at_the_kill.add(left)
                assert {file.name for file in (path.parent / "bodies").iterdir()} == {HELD, KEPT.hex()}
            else:
                assert was_killed
            store.drop_epochs([FIRST, SECOND], AT, held=[held.digest])
            assert bodies(store) == [held.data, last.data]
            assert store.faults() == []
            assert [row.receipt is None for row in store.pages()] == [False] * len(envelopes)
        assert {file.name for file in (path.parent / "bodies").iterdir()} == {HELD, KEPT.hex()}
        step += 1
    stays = {HELD, KEPT.hex()}
    assert left_at_the_kill == {
        frozenset({*stays, FIRST.hex(), SECOND.hex()}),
        frozenset({*stays, SECOND.hex()}),
        frozenset(stays),
    }

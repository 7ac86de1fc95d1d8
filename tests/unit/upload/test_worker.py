"""The delivery loop: what each answer, and each missing answer, does to the spool."""

from __future__ import annotations

import concurrent.futures
import logging
import re
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tenacity import Future, RetryCallState, Retrying

from agent.config.models import UploadConfig
from agent.errors import (
    BatchTooLargeError,
    BrokenTransferError,
    RejectedError,
    SpoolError,
    SpoolFileError,
    TransportError,
    UndeliveredError,
)
from agent.records import Envelope, Shredded, SpoolState, Usage, VerifiedReceipt
from agent.upload import queue
from agent.upload import request as request_module
from agent.upload import slow as slow_module
from agent.upload import worker as worker_module
from agent.upload.backoff import wait_as_told
from agent.upload.checked import MAX_UNREADABLE, STUCK_WAIT_S, UNREADABLE_WAIT_S
from agent.upload.old_receiver import UPGRADE_WAIT_S
from agent.upload.pace import LogBudget
from agent.upload.slow import SlowEnvelopes
from agent.upload.worker import ANSWER_WAITS_S, UploadWorker
from agent.wire.cose import ed25519_kid
from agent.wire.envelope import parse_envelope
from agent.wire.protocol import Answer, Later, Refused, Stored
from tests.fakes.clock import FakeClock
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.receipts import PINNED, honest_receipt, proof
from tests.fakes.receiver import ReceiverSimulator
from tests.fakes.spool import MemorySpool
from tests.fakes.waiting import WITHIN_S, wait_until

KEY = Ed25519PrivateKey.generate()
MOST_ASKED = 50
"""No test here has an envelope read as often."""
OWN = {ed25519_kid(KEY.public_key()): KEY.public_key()}


class SteadySpool(MemorySpool):
    """A spool whose disk cannot read some envelopes, and that sees when the same is asked without end."""

    def __init__(self) -> None:
        super().__init__(max_bytes=1 << 24)
        self.unreadable: set[str] = set()
        self.kept: list[set[str]] = []
        self.refuses_to_keep = False
        self._asked: Counter[str] = Counter()

    def keep_pending(self) -> None:
        """As the port; notes what was pending then, or refuses."""
        if self.refuses_to_keep:
            raise SpoolError("spool: cannot sync pending: Input/output error")
        self.kept.append({entry.envelope_id for entry in self.entries(SpoolState.PENDING)})

    def get(self, envelope_id: str) -> Envelope:
        """As the port."""
        self._asked[envelope_id] += 1
        assert self._asked[envelope_id] <= MOST_ASKED, "the worker goes round without getting anywhere"
        if envelope_id in self.unreadable:
            raise SpoolError(f"spool: cannot read {envelope_id}: Input/output error")
        return super().get(envelope_id)


@dataclass
class Parts:
    """A worker with everything around it."""

    worker: UploadWorker
    spool: SteadySpool
    receiver: ReceiverSimulator
    clock: FakeClock
    stop: threading.Event
    noted: list[VerifiedReceipt]

    def fill(self, count: int, *, run: int | None = None) -> list[Envelope]:
        """Put a chain of envelopes into the spool; with `run` of version 2."""
        envelopes = make_chain(KEY, count, run=run)
        for envelope in envelopes:
            self.spool.put(envelope)
        return envelopes

    def pending(self) -> list[str]:
        """Return the ids that wait, oldest first."""
        return [entry.envelope_id for entry in self.spool.entries(SpoolState.PENDING)]

    def drain_in_vain(self, left: str) -> None:
        """Drain, and have it say what is left."""
        with pytest.raises(UndeliveredError, match=f"^not drained: {re.escape(left)}"):
            self.worker.run(drain=True)

    def set_aside(self) -> list[str]:
        """Return the ids in quarantine."""
        return [entry.envelope_id for entry in self.spool.entries(SpoolState.QUARANTINE)]


def settings(**changes: object) -> UploadConfig:
    """Return upload settings with waits too short to notice."""
    paths = dict.fromkeys(("ca", "certificate", "key", "receiver_key"), Path("unused"))
    waits = {"retry_first_s": 0.001, "retry_most_s": 0.002, "poll_s": 0.001}
    return UploadConfig.model_validate({"url": "https://localhost:1", **paths, **waits, **changes})


def make_parts(
    *,
    clock: FakeClock | None = None,
    stop: threading.Event | None = None,
    spool: SteadySpool | None = None,
    **changes: object,
) -> Parts:
    """Wire a worker to fakes."""
    spool, receiver, clock = spool or SteadySpool(), ReceiverSimulator(), clock or FakeClock()
    stop = stop or threading.Event()
    noted: list[VerifiedReceipt] = []
    worker = UploadWorker(
        spool=spool,
        transport=receiver,
        receiver_keys=PINNED,
        device_key=OWN.get,
        settings=settings(**changes),
        clock=clock,
        stop=stop,
        note_receipt=noted.append,
    )
    return Parts(worker, spool, receiver, clock, stop, noted)


def test_what_is_sent_is_durable_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its put may not have returned: after a power cut the receiver would have what no start knows of."""
    parts = make_parts()
    parts.fill(3)
    sent: list[bool] = []
    send = parts.receiver.send

    def watched(envelopes: Sequence[bytes]) -> list[Answer]:
        ids = {parse_envelope(data).envelope_id for data in envelopes}
        sent.append(any(ids <= kept for kept in parts.spool.kept))
        return send(envelopes)

    monkeypatch.setattr(parts.receiver, "send", watched)
    parts.worker.run(drain=True)
    assert sent == [True]


def test_a_disk_that_makes_nothing_durable_keeps_nothing_from_being_sent() -> None:
    """Delivered is better than durable."""
    parts = make_parts()
    parts.fill(3)
    parts.spool.refuses_to_keep = True
    parts.worker.run(drain=True)
    assert parts.pending() == []


def test_a_drain_delivers_everything_once_and_in_order() -> None:
    """Oldest first, in batches of the configured size, all erased."""
    parts = make_parts(batch_envelopes=4)
    envelopes = parts.fill(10)
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [envelope.envelope_id for envelope in envelopes]
    assert [len(batch) for batch in parts.receiver.requests] == [4, 4, 2]
    assert parts.pending() == []
    assert (parts.worker.stats.acknowledged, parts.worker.stats.shredded) == (10, 10)


def test_a_batch_keeps_to_its_bytes() -> None:
    """Large envelopes travel in smaller batches; each batch stays under the limit."""
    parts = make_parts(batch_bytes=1 << 20)
    for _ in range(5):
        parts.spool.put(make_envelope(KEY, body=bytes(400_000)))
    parts.worker.run(drain=True)
    assert [len(batch) for batch in parts.receiver.requests] == [2, 2, 1]


def forged(envelope: Envelope) -> bytes:
    """Return a receipt signed by somebody else."""
    return honest_receipt(envelope, key=Ed25519PrivateKey.generate())


def flipped(envelope: Envelope) -> bytes:
    """Return an honest receipt with one bit changed."""
    data = bytearray(honest_receipt(envelope))
    data[len(data) // 2] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    "receipt",
    [forged, flipped, lambda _: honest_receipt(make_envelope(KEY)), lambda _: b"", lambda envelope: envelope.data],
    ids=["another key", "one bit", "another envelope", "empty", "the envelope itself"],
)
def test_a_receipt_that_proves_nothing_erases_nothing(receipt: Callable[[Envelope], bytes]) -> None:
    """The envelope stays and is sent again; an honest receipt then erases it."""
    parts = make_parts()
    (envelope,) = parts.fill(1)
    parts.receiver.script.append(lambda batch: [Stored(receipt(batch[0]))])
    with pytest.raises(TransportError, match="proves nothing"):
        parts.worker.step()
    assert parts.pending() == [envelope.envelope_id]
    assert parts.worker.stats.bad_receipts == 1
    parts.worker.run(drain=True)
    assert parts.pending() == []


def test_one_bad_receipt_does_not_hold_up_the_others() -> None:
    """Two of three are erased, the third stays."""
    parts = make_parts()
    first, second, third = parts.fill(3)

    def one_forged(batch: list[Envelope]) -> list[Answer]:
        return [Stored(forged(each) if each == second else honest_receipt(each)) for each in batch]

    parts.receiver.script.append(one_forged)
    with pytest.raises(TransportError):
        parts.worker.step()
    assert parts.pending() == [second.envelope_id]
    assert {first.envelope_id, third.envelope_id}.isdisjoint(parts.pending())


def test_swapped_receipts_erase_nothing() -> None:
    """Each receipt must name the envelope at its place in the batch."""
    parts = make_parts()
    parts.fill(2)
    parts.receiver.script.append(lambda batch: [Stored(honest_receipt(each)) for each in reversed(batch)])
    with pytest.raises(TransportError):
        parts.worker.step()
    assert len(parts.pending()) == 2


def test_a_refused_envelope_is_set_aside_with_the_reason() -> None:
    """Never erased, never sent again."""
    parts = make_parts()
    bad, good = parts.fill(2)
    parts.receiver.script.append(lambda batch: [Refused("fork"), Stored(honest_receipt(batch[1]))])
    parts.worker.run(drain=True)
    assert parts.set_aside() == [bad.envelope_id]
    assert parts.spool.reasons[bad.envelope_id] == "refused by the receiver: fork"
    assert parts.pending() == []
    assert parts.worker.stats.refused == 1
    assert good.envelope_id not in parts.set_aside()


def test_an_envelope_put_off_waits_its_time() -> None:
    """Others go on; after the time it is sent again."""
    parts = make_parts()
    late, early = parts.fill(2)
    parts.receiver.script.append(lambda batch: [Later(60), Stored(honest_receipt(batch[1]))])
    parts.drain_in_vain("1 left in the spool (1 put off by the receiver, whose log says why)")
    assert parts.pending() == [late.envelope_id]
    parts.drain_in_vain("1 left in the spool (1 put off by the receiver, whose log says why)")
    assert len(parts.receiver.requests) == 1
    parts.clock.advance(61)
    parts.worker.run(drain=True)
    assert parts.pending() == []
    assert early.envelope_id not in parts.receiver.requests[1]


@pytest.mark.parametrize(
    "error",
    [TransportError("503"), RejectedError("403"), TransportError("429", retry_after_s=0.001), RejectedError("401")],
)
def test_no_answer_loses_or_erases_anything(error: TransportError) -> None:
    """Three failures in a row, then the same envelopes arrive."""
    parts = make_parts()
    envelopes = parts.fill(3)
    parts.receiver.script.extend([error, error, error])
    parts.worker.run(drain=True)
    assert set(parts.receiver.stored) == {envelope.envelope_id for envelope in envelopes}
    assert parts.pending() == []
    assert parts.worker.stats.failed_batches == 3


def test_a_batch_that_is_too_large_is_halved_until_it_fits() -> None:
    """And grows again afterwards."""
    parts = make_parts(batch_envelopes=8)
    parts.fill(16)

    def at_most_two(batch: list[Envelope]) -> list[Answer]:
        if len(batch) > 2:
            raise BatchTooLargeError("413")
        return parts.receiver.store(batch)

    parts.receiver.script.extend([at_most_two] * 4)
    parts.worker.run(drain=True)
    assert [len(batch) for batch in parts.receiver.requests] == [8, 4, 2, 4, 2, 4, 8]
    assert parts.pending() == []


def test_a_single_envelope_that_is_too_large_is_set_aside() -> None:
    """It would block all others for ever."""
    parts = make_parts()
    (envelope,) = parts.fill(1)
    parts.receiver.script.append(BatchTooLargeError("413"))
    parts.worker.run(drain=True)
    assert parts.set_aside() == [envelope.envelope_id]


def test_a_corrupt_envelope_is_set_aside_and_the_others_go() -> None:
    """Found before it is sent."""
    parts = make_parts()
    bad, good = parts.fill(2)
    parts.spool.corrupt(bad.envelope_id, good.data)
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [good.envelope_id]
    assert parts.set_aside() == [bad.envelope_id]
    assert "corrupt on disk" in parts.spool.reasons[bad.envelope_id]


def test_an_envelope_of_an_unknown_key_is_set_aside_and_the_others_go() -> None:
    """Whole, well signed, but by nobody this unit knows: never sent, kept, counted."""
    parts = make_parts()
    (good,) = parts.fill(1)
    stranger = make_envelope(Ed25519PrivateKey.generate())
    parts.spool.put(stranger)
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [good.envelope_id]
    assert parts.set_aside() == [stranger.envelope_id]
    assert "signed by a key that this unit does not know" in parts.spool.reasons[stranger.envelope_id]
    assert (parts.worker.stats.unsigned, parts.worker.stats.corrupt) == (1, 0)


def test_an_envelope_with_a_wrong_signature_is_set_aside() -> None:
    """Its name fits its bytes and its key id is ours; only the signature tells."""
    parts = make_parts()
    (good,) = parts.fill(1)
    forged_data = bytearray(make_envelope(KEY).data)
    forged_data[-1] ^= 1
    forgery = parse_envelope(bytes(forged_data))
    parts.spool.put(forgery)
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [good.envelope_id]
    assert parts.set_aside() == [forgery.envelope_id]
    assert "signature" in parts.spool.reasons[forgery.envelope_id]
    assert parts.worker.stats.unsigned == 1


def test_a_drain_goes_on_behind_a_batch_of_which_nothing_may_be_sent() -> None:
    """Many bad envelopes in front do not look like an empty spool."""
    parts = make_parts(batch_envelopes=2)
    bad, good = parts.fill(5), make_envelope(KEY)
    for envelope in bad:
        parts.spool.corrupt(envelope.envelope_id, b"damaged")
    parts.spool.put(good)
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [good.envelope_id]
    assert len(parts.set_aside()) == parts.worker.stats.corrupt == 5


def test_many_bad_envelopes_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """The first get a line each; the next line, a minute later, says how many had none."""
    parts = make_parts()
    for envelope in parts.fill(30):
        parts.spool.corrupt(envelope.envelope_id, b"damaged")
    parts.worker.run(drain=True)
    assert len(caplog.records) == LogBudget.LINES
    parts.clock.advance(LogBudget.WINDOW_S)
    (late,) = parts.fill(1)
    parts.spool.corrupt(late.envelope_id, b"damaged")
    parts.worker.run(drain=True)
    assert "(20 others before it without a line)" in caplog.records[-1].getMessage()
    assert len(parts.set_aside()) == 31


@pytest.mark.parametrize("error", [BrokenTransferError("reset"), TransportError("503"), RejectedError("401")])
def test_only_a_broken_transfer_makes_batches_smaller(error: TransportError) -> None:
    """A batch that broke on its way is sent again as two; a receiver that is away costs nothing."""
    parts = make_parts(batch_envelopes=8)
    envelopes = parts.fill(8)
    parts.receiver.script.extend([error, error])
    parts.worker.run(drain=True)
    sizes = [len(batch) for batch in parts.receiver.requests]
    assert sizes == ([8, 4, 2, 4, 2] if isinstance(error, BrokenTransferError) else [8, 8, 8])
    assert list(parts.receiver.stored) == [envelope.envelope_id for envelope in envelopes]


def test_a_line_that_breaks_whatever_it_is_sent_gets_single_envelopes() -> None:
    """Never less than one, never set aside for it."""
    parts = make_parts(batch_envelopes=8)
    envelopes = parts.fill(3)
    parts.receiver.script.extend([BrokenTransferError("timeout")] * 5)
    parts.worker.run(drain=True)
    assert [len(batch) for batch in parts.receiver.requests] == [3, 1, 1, 1, 1, 1, 2]
    assert set(parts.receiver.stored) == {envelope.envelope_id for envelope in envelopes}
    assert parts.set_aside() == []


def test_a_slow_line_settles_below_its_timeout() -> None:
    """Every envelope takes 9 of 60 s: batches stay small enough, and none has to time out for it."""
    parts = make_parts(batch_envelopes=64, reply_timeout_s=60)
    parts.fill(40)

    def slowly(batch: list[Envelope]) -> list[Answer]:
        parts.clock.advance(9 * len(batch))
        if 9 * len(batch) > 60:
            parts.clock.advance(60 - 9 * len(batch))
            raise BrokenTransferError("timeout")
        return parts.receiver.store(batch)

    parts.receiver.script.extend([slowly] * 60)
    parts.worker.run(drain=True)
    sizes = [len(batch) for batch in parts.receiver.requests]
    assert sizes[:3] == [8, 4, 2]
    assert set(sizes[1:]) <= {1, 2, 4}
    assert parts.worker.stats.failed_batches == 1
    assert parts.pending() == []


def test_the_newest_get_their_share_while_a_backlog_drains() -> None:
    """Every fourth batch; the others go oldest first; everything arrives once."""
    parts = make_parts(batch_envelopes=2, fresh_share=0.25)
    ids = [envelope.envelope_id for envelope in parts.fill(20)]
    parts.worker.run(drain=True)
    requests = parts.receiver.requests
    assert requests[:3] == [ids[0:2], ids[2:4], ids[4:6]]
    assert requests[3] == [ids[19], ids[18]]
    assert requests[4:7] == [ids[6:8], ids[8:10], ids[10:12]]
    assert sorted(parts.receiver.stored) == sorted(ids)
    assert sum(map(len, requests)) == parts.worker.stats.acknowledged == 20


def test_without_a_share_a_backlog_goes_strictly_oldest_first() -> None:
    """`fresh_share = 0`."""
    parts = make_parts(batch_envelopes=2, fresh_share=0)
    ids = [envelope.envelope_id for envelope in parts.fill(20)]
    parts.worker.run(drain=True)
    assert [key for batch in parts.receiver.requests for key in batch] == ids


def test_a_failed_batch_of_the_newest_keeps_its_place() -> None:
    """The newest come again, then the oldest go on in order; nothing but the failed batch is sent twice."""
    parts = make_parts(batch_envelopes=2, fresh_share=0.5)
    ids = [envelope.envelope_id for envelope in parts.fill(12)]
    honest = parts.receiver.store
    parts.receiver.script.extend([honest, TransportError("reset"), honest, honest])
    parts.worker.run(drain=True)
    assert parts.receiver.requests[:4] == [ids[0:2], [ids[11], ids[10]], [ids[11], ids[10]], ids[2:4]]
    assert sorted(parts.receiver.stored) == sorted(ids)
    assert parts.worker.stats.acknowledged == 12


def test_a_batch_is_at_most_its_slice_of_a_limited_line() -> None:
    """Ten seconds' worth, though a single envelope may be more."""
    parts = make_parts(max_bytes_per_s=1000)
    for size in (3000, 3000, 3000, 20_000, 100):
        parts.spool.put(make_envelope(KEY, body=bytes(size)))
    sizes = []
    while parts.pending():
        parts.worker.step()
        sizes.append(len(parts.receiver.requests[-1]))
        parts.clock.advance(60)
    assert sizes == [2, 1, 1, 1]


class TurningStop(threading.Event):
    """A stop event whose waits are over at once, and have turned the clock."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        """As the event's, on the fake clock."""
        self._clock.advance(timeout or 0.0)
        return self.is_set()


def test_a_limited_line_is_kept_to() -> None:
    """Over a whole drain no more than the limit and one batch, and failed requests count too."""
    clock = FakeClock()
    parts = make_parts(clock=clock, stop=TurningStop(clock), max_bytes_per_s=20_000, batch_envelopes=2)
    for envelope in make_chain(KEY, 12, body=bytes(2000)):
        parts.spool.put(envelope)
    sent: list[tuple[float, int]] = []

    def measured(batch: list[Envelope]) -> list[Answer]:
        sent.append((clock.monotonic_s(), sum(len(envelope.data) for envelope in batch)))
        if len(sent) == 2:
            raise TransportError("reset")
        return parts.receiver.store(batch)

    parts.receiver.script.extend([measured] * 20)
    parts.worker.run(drain=True)
    assert len(parts.receiver.stored) == 12
    assert len(sent) == 7
    began_s, _ = sent[0]
    for at_s, size in sent[1:]:
        before = sum(earlier for earlier_s, earlier in sent if earlier_s < at_s)
        assert before <= 20_000 * (at_s - began_s) + size


def test_a_wait_for_the_line_ends_at_a_stop() -> None:
    """A unit that is told to stop does not wait for its next slice."""
    parts = make_parts(max_bytes_per_s=1000)
    parts.spool.put(make_envelope(KEY, body=bytes(500_000)))  # eight minutes' worth
    parts.spool.put(make_envelope(KEY))
    assert parts.worker.step() == 2
    thread = threading.Thread(target=parts.worker.run)
    thread.start()
    parts.stop.set()
    thread.join(WITHIN_S)
    assert not thread.is_alive()
    assert len(parts.receiver.requests) == 1


def test_the_newest_receipt_of_each_batch_is_noted() -> None:
    """It is what the unit's clock is checked against; no receipt, no note."""
    parts = make_parts(batch_envelopes=2)
    parts.fill(3)
    parts.receiver.script.append(lambda _: [Refused("no"), Refused("no")])
    parts.worker.run(drain=True)
    assert [noted.receipt.stored_at for noted in parts.noted] == [datetime(2026, 3, 1, tzinfo=UTC)]


OLD_REFUSAL = "envelope: format version 2, only 1 is allowed"


def test_a_receiver_of_version_1_gets_the_reads_once_it_is_upgraded(caplog: pytest.LogCaptureFixture) -> None:
    """Its refusal of version 2 sets nothing aside: one line says what to do, and an hour later they are delivered."""
    parts = make_parts(batch_envelopes=2)
    parts.fill(5, run=0)
    parts.receiver.script.append(lambda batch: [Refused(OLD_REFUSAL)] * len(batch))
    parts.drain_in_vain("5 left in the spool (5 held back for a receiver that takes version 1 only)")
    assert len(parts.receiver.requests) == 1
    assert (len(parts.pending()), parts.worker.stats.refused) == (5, 0)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "the receiver takes version 1 only: upgrade it first; reads of version 2 wait in the spool, and the next one "
        "is tried in an hour"
    ]
    parts.clock.advance(UPGRADE_WAIT_S)
    parts.worker.run(drain=True)
    assert (parts.pending(), len(parts.receiver.stored)) == ([], 5)


def test_reads_of_version_1_go_on_to_a_receiver_of_version_1() -> None:
    """What an upgraded unit still has from before is not held back."""
    parts = make_parts(batch_envelopes=1)
    parts.fill(1, run=0)
    parts.receiver.script.append(lambda _: [Refused(OLD_REFUSAL)])
    parts.drain_in_vain("1 left in the spool (1 held back")
    parts.fill(2)
    parts.drain_in_vain("1 left in the spool (1 held back")
    assert (len(parts.pending()), len(parts.receiver.stored)) == (1, 2)


def test_a_receiver_that_puts_everything_off_costs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond one listing no more is asked for until something is due again."""
    monkeypatch.setattr(queue, "LISTING", 8)
    parts = make_parts(batch_envelopes=4)
    parts.fill(40)
    parts.receiver.script.extend([lambda batch: [Later(60)] * len(batch)] * 40)
    parts.drain_in_vain("40 left in the spool (8 put off by the receiver, whose log says why, 32 not sent yet)")
    assert sum(map(len, parts.receiver.requests)) <= 16
    parts.receiver.script.clear()
    while parts.pending():
        parts.clock.advance(61)
        parts.worker.step()
    assert len(parts.receiver.stored) == 40


def test_a_link_that_goes_and_comes_is_logged_once_each(caplog: pytest.LogCaptureFixture) -> None:
    """Transitions, not attempts."""
    parts = make_parts()
    parts.fill(1)
    parts.receiver.script.extend([TransportError("refused")] * 5)
    with caplog.at_level(logging.INFO):
        parts.worker.run(drain=True)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_stop_while_failing_ends_the_loop_and_keeps_everything() -> None:
    """SIGTERM during an outage."""
    parts = make_parts()
    parts.fill(2)

    def fail_and_stop(batch: list[Envelope]) -> list[Answer]:
        parts.stop.set()
        raise TransportError("down")

    parts.receiver.script.append(fail_and_stop)
    parts.worker.run()
    assert len(parts.pending()) == 2


def test_an_idle_worker_waits_for_new_reads_until_told_to_stop() -> None:
    """Without `drain` it goes on."""
    parts = make_parts()
    thread = threading.Thread(target=parts.worker.run)
    thread.start()
    (envelope,) = parts.fill(1)
    wait_until(lambda: envelope.envelope_id in parts.receiver.stored)
    parts.stop.set()
    thread.join(WITHIN_S)
    assert not thread.is_alive()


@pytest.fixture
def only_waits(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Return what a request calls to last until the worker has nothing left to do beside it."""
    waits = threading.Event()

    def wait(*arguments: object, **options: object) -> object:
        waits.set()
        return concurrent.futures.wait(*arguments, **options)  # type: ignore[arg-type]

    def until_it_only_waits() -> None:
        waits.clear()
        assert waits.wait(WITHIN_S)

    monkeypatch.setattr(request_module, "ASK_EVERY_S", 0.01)
    monkeypatch.setattr(request_module, "wait", wait)
    return until_it_only_waits


def test_the_next_batch_is_read_and_the_last_one_erased_beside_a_request(only_waits: Callable[[], None]) -> None:
    """While a request is under way two batches are read, and no third: that is all the memory it takes."""
    parts = make_parts(batch_envelopes=2, fresh_share=0)
    parts.fill(8)
    seen: list[int] = []
    read: set[str] = set()
    get = parts.spool.get

    def noted(envelope_id: str) -> Envelope:
        read.add(envelope_id)
        return get(envelope_id)

    def look(batch: list[Envelope]) -> list[Answer]:
        only_waits()
        seen.append(len(read))
        return parts.receiver.store(batch)

    parts.spool.get = noted  # type: ignore[method-assign]
    parts.receiver.script.extend([look] * 4)
    parts.worker.run(drain=True)
    assert seen == [2, 6, 8, 8]
    assert parts.pending() == []
    assert [len(batch) for batch in parts.receiver.requests] == [2, 2, 2, 2]


@pytest.mark.parametrize("error", [TransportError("503"), BrokenTransferError("reset"), BatchTooLargeError("413")])
def test_a_fault_gives_back_what_was_read_beside_it(error: TransportError) -> None:
    """In order, and nothing is left out or sent before its turn."""
    parts = make_parts(batch_envelopes=2, fresh_share=0)
    ids = [envelope.envelope_id for envelope in parts.fill(8)]
    parts.receiver.script.extend([parts.receiver.store, error])
    parts.worker.run(drain=True)
    assert parts.receiver.requests[:2] == [ids[0:2], ids[2:4]]
    assert parts.receiver.requests[2] == (ids[2:4] if type(error) is TransportError else ids[2:3])
    assert list(parts.receiver.stored) == ids
    assert parts.worker.stats.acknowledged == parts.worker.stats.shredded == 8


def test_a_bad_receipt_gives_back_what_was_read_beside_it() -> None:
    """The proven one is erased, the other is sent again, and then the next ones."""
    parts = make_parts(batch_envelopes=2, fresh_share=0)
    envelopes = parts.fill(6)
    ids = [envelope.envelope_id for envelope in envelopes]
    parts.receiver.script.extend(
        [parts.receiver.store, lambda batch: [Stored(honest_receipt(batch[0])), Stored(forged(batch[1]))]]
    )
    parts.worker.run(drain=True)
    assert parts.receiver.requests == [ids[0:2], ids[2:4], ids[3:5], ids[5:6]]
    assert parts.pending() == []
    assert parts.worker.stats.shredded == 6


def test_a_stop_between_two_batches_leaves_nothing_unerased(only_waits: Callable[[], None]) -> None:
    """What is proven is erased, what was read beside it stays in the spool unsent."""
    parts = make_parts(batch_envelopes=2, fresh_share=0)
    ids = [envelope.envelope_id for envelope in parts.fill(8)]

    def stop_after(batch: list[Envelope]) -> list[Answer]:
        only_waits()
        parts.stop.set()
        return parts.receiver.store(batch)

    parts.receiver.script.extend([parts.receiver.store, stop_after])
    parts.worker.run()
    assert parts.receiver.requests == [ids[0:2], ids[2:4]]
    assert parts.pending() == ids[4:]
    assert parts.worker.stats.shredded == 4


def test_reading_ahead_gives_way_to_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that has waited cuts the batch short that is read beside it, so that erasing is not held up."""
    parts = make_parts(batch_envelopes=4, fresh_share=0)
    parts.fill(12)
    get = parts.spool.get
    under_way: list[concurrent.futures.Future[object]] = []

    class NotedLine(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *arguments: Any, **options: Any) -> concurrent.futures.Future[Any]:
            under_way.append(super().submit(*arguments, **options))
            return under_way[-1]

    monkeypatch.setattr(worker_module, "ThreadPoolExecutor", NotedLine)

    def slow(envelope_id: str) -> Envelope:
        concurrent.futures.wait(under_way)  # a request beside which this is read has its answer
        parts.clock.advance(2 * ANSWER_WAITS_S)
        return get(envelope_id)

    parts.spool.get = slow  # type: ignore[method-assign]
    parts.worker.run(drain=True)
    sizes = [len(batch) for batch in parts.receiver.requests]
    assert sizes[:2] == [4, 4]
    assert sizes[2] < 4
    assert parts.pending() == []


def test_an_envelope_that_the_disk_cannot_read_is_set_aside_once_another_one_can_be(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others go; nothing is erased for it, and the alarm tells a person."""
    parts = make_parts()
    bad, good = parts.fill(2)
    parts.spool.unreadable.add(bad.envelope_id)
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [good.envelope_id]
    assert parts.set_aside() == [bad.envelope_id]
    assert "Input/output error" in parts.spool.reasons[bad.envelope_id]
    assert parts.worker.stats.unreadable == 1
    assert any("stays for now" in record.getMessage() for record in caplog.records)


def test_a_disk_that_reads_nothing_costs_no_envelope() -> None:
    """All stay where they are, however often it is tried, and go when the disk is back."""
    parts = make_parts(batch_envelopes=2)
    envelopes = parts.fill(100)
    parts.spool.unreadable.update(envelope.envelope_id for envelope in envelopes)
    for _ in range(3):
        with pytest.raises(SpoolError, match="^not drained: the disk cannot read 64 or more of the envelopes, "):
            parts.worker.run(drain=True)
        parts.clock.advance(UNREADABLE_WAIT_S + 1)
    assert parts.set_aside() == []
    assert len(parts.pending()) == 100
    assert parts.worker.stats.unreadable == 300
    assert len(parts.worker._checked._unreadable) == MAX_UNREADABLE
    parts.spool.unreadable.clear()
    parts.worker.run(drain=True)
    assert len(parts.receiver.stored) == 100
    assert parts.set_aside() == []


def test_what_is_damaged_besides_is_set_aside_for_its_damage() -> None:
    """Envelopes that could not be read and can be again are judged by what is in them, or are gone by then."""
    parts = make_parts()
    gone, damaged, whole = parts.fill(3)
    parts.spool.unreadable.update(envelope.envelope_id for envelope in (gone, damaged, whole))
    with pytest.raises(SpoolError, match="cannot read 3 of the envelopes"):
        parts.worker.run(drain=True)
    parts.spool.unreadable.clear()
    parts.spool.shred(proof(gone))
    parts.spool.corrupt(damaged.envelope_id, whole.data)
    parts.clock.advance(UNREADABLE_WAIT_S + 1)
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [whole.envelope_id]
    assert parts.set_aside() == [damaged.envelope_id]
    assert "corrupt on disk" in parts.spool.reasons[damaged.envelope_id]
    assert parts.worker.stats.corrupt == 1


def waited_s(error: TransportError) -> float:
    """Return the wait after a first attempt that failed with `error`."""
    state = RetryCallState(Retrying(), None, (), {})
    state.outcome = Future(1)
    state.outcome.set_exception(error)
    return wait_as_told(first_s=1.0, most_s=60.0)(state)


def test_waits_follow_the_receiver_and_the_schedule() -> None:
    """Retry-After is a floor, a rejection waits longest, anything else starts small."""
    assert waited_s(TransportError("429", retry_after_s=30.0)) == 30.0
    assert waited_s(RejectedError("403")) == 60.0
    assert 0.5 <= waited_s(TransportError("reset")) <= 2.0


def test_a_stopped_drain_says_what_is_left() -> None:
    """It has not ended well, for nobody sends the rest."""
    parts = make_parts()
    parts.fill(3)
    parts.stop.set()
    parts.drain_in_vain("3 left in the spool (3 not sent yet)")
    assert len(parts.pending()) == 3


def test_a_drain_goes_on_with_what_came_meanwhile() -> None:
    """An envelope that was put after the last listing is no reason to end badly, nor to end early."""
    parts = make_parts()
    parts.fill(1)
    usage, late = parts.spool.usage, make_chain(KEY, 1)

    def put_late(state: SpoolState) -> Usage:
        while late:
            parts.spool.put(late.pop())
        return usage(state)

    parts.spool.usage = put_late  # type: ignore[method-assign]
    parts.worker.run(drain=True)
    assert len(parts.receiver.stored) == 2
    assert parts.pending() == []


class StuckSpool(SteadySpool):
    """A spool with files that cannot be moved or erased."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck: set[str] = set()
        self.unerasable: set[str] = set()
        self.tried = 0

    def quarantine(self, envelope_id: str, *, reason: str) -> None:
        """As the port."""
        if envelope_id in self.stuck:
            self.tried += 1
            raise SpoolFileError(f"spool: cannot rename {envelope_id}: Operation not permitted")
        super().quarantine(envelope_id, reason=reason)

    def shred(self, *receipts: VerifiedReceipt) -> Shredded:
        """As the port."""
        super().shred(*(receipt for receipt in receipts if receipt.envelope_id not in self.stuck))
        ids = [receipt.envelope_id for receipt in receipts]
        return Shredded(
            kept={key: "not permitted" for key in ids if key in self.stuck},
            unerased={key: "not permitted" for key in ids if key in self.unerasable},
        )


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged as an error."""
    return [record.message for record in caplog.records if record.levelname == "ERROR"]


def test_what_cannot_be_set_aside_stops_nothing_and_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """It stays, is not sent again, and is not called set aside until it is."""
    parts = make_parts(spool=StuckSpool())
    assert isinstance(parts.spool, StuckSpool)
    bad, good = parts.fill(2)
    parts.spool.stuck.add(bad.envelope_id)
    parts.receiver.script.append(lambda batch: [Refused("fork"), Stored(honest_receipt(batch[1]))])
    parts.drain_in_vain("1 left in the spool (1 not to be moved in the spool)")
    assert good.envelope_id not in [*parts.pending(), *parts.set_aside()]
    assert (parts.pending(), parts.set_aside()) == ([bad.envelope_id], [])
    for _ in range(3):
        parts.clock.advance(STUCK_WAIT_S)
        parts.drain_in_vain("1 left in the spool")
    assert errors(caplog) == [
        f"envelope {bad.envelope_id[:16]} cannot be set aside and stays pending (spool: cannot rename "
        f"{bad.envelope_id}: Operation not permitted): refused by the receiver: fork"
    ]
    assert (len(parts.receiver.requests), parts.spool.tried, parts.worker.stats.refused) == (1, 4, 1)
    parts.spool.stuck.clear()
    parts.clock.advance(STUCK_WAIT_S)
    parts.worker.run(drain=True)
    assert parts.set_aside() == [bad.envelope_id]
    assert errors(caplog)[1:] == [f"envelope {bad.envelope_id[:16]} set aside: refused by the receiver: fork"]


def test_what_cannot_be_erased_stops_nothing_and_is_not_counted_as_erased(caplog: pytest.LogCaptureFixture) -> None:
    """One that stays pending is sent again in an hour at the earliest; each is told of once."""
    parts = make_parts(spool=StuckSpool())
    assert isinstance(parts.spool, StuckSpool)
    stuck, unerasable, good = parts.fill(3)
    parts.spool.stuck.add(stuck.envelope_id)
    parts.spool.unerasable.add(unerasable.envelope_id)
    parts.drain_in_vain("1 left in the spool (1 not to be moved in the spool)")
    assert (parts.worker.stats.acknowledged, parts.worker.stats.shredded) == (3, 1)
    assert (len(parts.receiver.stored), parts.pending()) == (3, [stuck.envelope_id])
    assert good.envelope_id in parts.receiver.stored
    parts.clock.advance(STUCK_WAIT_S)
    parts.drain_in_vain("1 left in the spool")
    assert parts.receiver.requests[1:] == [[stuck.envelope_id]]
    assert errors(caplog) == [
        f"envelope {stuck.envelope_id[:16]} is delivered, cannot be erased and stays pending: not permitted",
        f"envelope {unerasable.envelope_id[:16]} is delivered, and its file stays in shredding/ until a start can "
        "erase it: not permitted",
    ]


def test_an_envelope_that_went_meanwhile_is_not_called_set_aside(caplog: pytest.LogCaptureFixture) -> None:
    """Expired between the answer and the move."""
    parts = make_parts()
    (envelope,) = parts.fill(1)

    def expire(batch: list[Envelope]) -> list[Answer]:
        parts.spool.shred(proof(envelope))
        return [Refused("fork")]

    parts.receiver.script.append(expire)
    parts.worker.run(drain=True)
    assert errors(caplog) == []


def timed_out(sent_bytes: int = 20_000) -> BrokenTransferError:
    """Return the failure of a transfer that was too slow."""
    return BrokenTransferError("WriteTimeout; 20000 of 200805 bytes", sent_bytes=sent_bytes, timed_out=True)


def test_an_envelope_that_the_line_does_not_carry_goes_behind_the_others(caplog: pytest.LogCaptureFixture) -> None:
    """After two transfers that timed out; the others are delivered, then it is tried again. Its size is told once."""
    parts = make_parts(fresh_share=0)
    (large,) = make_chain(KEY, 1, body=bytes(200_000))
    parts.spool.put(large)
    small = [envelope.envelope_id for envelope in parts.fill(5)]
    parts.receiver.script.extend([timed_out(), timed_out()])
    parts.worker.run(drain=True)
    assert parts.receiver.requests[0] == [large.envelope_id, *small]
    assert parts.receiver.requests[1] == [large.envelope_id]
    assert list(parts.receiver.stored) == [*small, large.envelope_id]
    lines = [record.message for record in caplog.records if "does not get through" in record.message]
    assert lines == [
        f"envelope {large.envelope_id[:16]} of {len(large.data)} bytes does not get through, the others go first: "
        "WriteTimeout; 20000 of 200805 bytes"
    ]


def test_a_connection_that_breaks_once_puts_nothing_off() -> None:
    """A lone envelope is tried again at once; the second time it goes behind the others."""
    parts = make_parts(batch_envelopes=1, fresh_share=0)
    ids = [envelope.envelope_id for envelope in parts.fill(3)]
    parts.receiver.script.extend([BrokenTransferError("reset"), BrokenTransferError("reset")])
    parts.worker.run(drain=True)
    assert [batch[0] for batch in parts.receiver.requests] == [ids[0], ids[0], *ids[1:], ids[0]]


def test_an_envelope_that_is_alone_is_tried_again_as_often_as_it_takes() -> None:
    """Behind nothing; a drain does not end for it."""
    parts = make_parts()
    (envelope,) = parts.fill(1)
    parts.receiver.script.extend([timed_out() for _ in range(6)])
    parts.worker.run(drain=True)
    assert list(parts.receiver.stored) == [envelope.envelope_id]
    assert len(parts.receiver.requests) == 7


def test_slow_envelopes_wait_longer_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long, up to an hour; one that was answered begins anew, and the book is bounded."""
    (envelope,) = make_chain(KEY, 1)
    slow = SlowEnvelopes(first_wait_s=60)
    assert [slow.note(envelope, timed_out()) for _ in range(9)] == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    slow.done([envelope.envelope_id])
    assert slow.note(envelope, timed_out()) == 60
    monkeypatch.setattr(slow_module, "MAX_REMEMBERED", 1)
    assert slow.note(envelope, timed_out()) == 60

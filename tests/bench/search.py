"""What a search costs: opening one read against its primitives alone, and one day of thirty against all of them.

Reads lie in a receiver's folder as the receiver stores them, and are looked for as `plateseal custody open` does. No
plate fits, so that nothing but looking is measured; processor time counts, and what is compared takes turns.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.cli.owner import Progress, open_receiver
from agent.custody.access import load_keys, open_reads
from agent.custody.audit_entry import Mandate
from agent.custody.owner import Owner
from agent.custody.plates import parse_pattern
from agent.custody.search import Keys, Query, Tally, search
from agent.custody.stored_receiver import StoredReceiver
from agent.keys.keyfiles import load_ed25519_private
from agent.receiver.admission.devices import Device, DeviceBook, Event, EventKind
from agent.receiver.admission.pki import init_receiver
from agent.receiver.stores.opening import open_store
from agent.wire import cbor, cose, suites
from agent.wire.envelope import content_aad, parse_envelope, recipient_info, sealed_content
from agent.wire.suites import KeyType
from tests.fakes.owner import DAY, Camera, make_owner
from tests.fakes.reads import NOON
from tests.torture.campaign import Say
from tests.torture.places import quick_folder
from tests.torture.report import Result

DAYS: Final = 30
READS_A_DAY: Final = 1_000
REDUCED_READS_A_DAY: Final = 4
DAY_TIMES: Final = 25.0
READS: Final = 2_000
REDUCED_READS: Final = 20
ROUNDS: Final = 5
OPEN_TIMES: Final = 1.4
CROP_BYTES: Final = 8_000
BATCH: Final = 64
MANDATE: Final = Mandate(who="bench", case="bench", reason="measuring")
_NOBODY: Final = parse_pattern("NOBODY*")


@dataclass(frozen=True, slots=True)
class _Searched:
    """A search that has ended: its tally, and its processor time in seconds."""

    tally: Tally
    cpu_s: float


def run_one_day(*, full: bool, say: Say) -> Result:
    """Search one day of thirty, and all of them."""
    began_s, reads = time.monotonic(), READS_A_DAY if full else REDUCED_READS_A_DAY
    with quick_folder("one-day") as folder:
        owner, receiver = filled(Path(folder), KeyType.HYBRID, DAYS, reads, say)
        with open_receiver(receiver, Progress("opening")) as view:
            every = _search(owner, view, Query(plate=_NOBODY))
            start = NOON - timedelta(hours=12) + DAYS // 2 * DAY
            days = [_search(owner, view, Query(plate=_NOBODY, start=start, end=start + DAY)) for _ in range(3)]
    day_s, others = statistics.median(day.cpu_s for day in days), sum(day.tally.opened - reads for day in days)
    is_whole = every.tally.opened == DAYS * reads and all(day.tally.scanned == reads for day in days)
    times = every.cpu_s / day_s
    figures = (
        f"{reads:,} reads a day: {times:.1f} times cheaper ({day_s:.2f} s), reads of other epochs opened: {others}"
    )
    say(figures)
    target = f"one day of {DAYS} at least {DAY_TIMES:g} times cheaper than all, reads of other epochs opened: 0"
    holds = is_whole and others == 0 and (not full or times >= DAY_TIMES)
    return Result("one-day", target, figures, holds, time.monotonic() - began_s)


def run_open(*, full: bool, say: Say) -> Result:
    """Open reads with all that a search does to each, and with the primitives alone, for each type of key."""
    began_s, reads = time.monotonic(), READS if full else REDUCED_READS
    types = (KeyType.HYBRID, KeyType.X25519, KeyType.P256)
    shares = {key_type: _share(key_type, reads, ROUNDS if full else 1, say) for key_type in types}
    figures = "; ".join(
        f"{key_type}: {whole_s / bare_s:.2f} times ({1e6 * whole_s:.0f} us a read, alone {1e6 * bare_s:.0f})"
        for key_type, (whole_s, bare_s) in shares.items()
    )
    say(figures)
    target = f"CPU of opening a read at most {OPEN_TIMES:g} times HPKE, AEAD and Ed25519 alone, with each type of key"
    holds = not full or all(whole_s <= OPEN_TIMES * bare_s for whole_s, bare_s in shares.values())
    return Result("open", target, figures, holds, time.monotonic() - began_s)


def _share(key_type: KeyType, reads: int, rounds: int, say: Say) -> tuple[float, float]:
    """Return seconds of processor time for each read: of the search, and of the primitives."""
    with quick_folder("open") as folder:
        owner, receiver = filled(Path(folder), key_type, 1, reads, say)
        with open_receiver(receiver, Progress("opening")) as view:
            keys, bare = load_keys(owner, ""), _primitives(view, load_keys(owner, ""))
            pairs = [(_timed(lambda: _look(view, keys, reads)), _timed(lambda: _do(bare))) for _ in range(rounds)]
    whole_s, bare_s = (statistics.median(each) / reads for each in zip(*pairs, strict=True))
    return whole_s, bare_s


def _look(view: StoredReceiver, keys: Keys, reads: int) -> None:
    tally = Tally()
    assert list(search(view, keys, Query(plate=_NOBODY), tally)) == []
    assert tally.opened == reads


def _do(steps: list[Callable[[], bytes]]) -> None:
    for step in steps:
        assert step()


def _primitives(view: StoredReceiver, keys: Keys) -> list[Callable[[], bytes]]:
    """Return what opens each stored read, with everything at hand that can be: one signature, one HPKE, one AEAD."""
    return [_primitive(data, view, keys) for data in view.envelopes()]


def _primitive(data: bytes, view: StoredReceiver, keys: Keys) -> Callable[[], bytes]:
    envelope = parse_envelope(data)
    content, outer = sealed_content(envelope)
    slot = content.recipients[0]
    key = keys.private[slot.kid]
    hpke_key, hpke = key.suite.load_private(key.raw), key.suite.hpke
    info, sealed = recipient_info(content.alg, slot.protected_bytes), slot.ek + slot.sealed_key
    aad = content_aad(content.protected_bytes, outer)
    protected, _, payload, signature = cbor.as_list(getattr(_decoded(data), "value", None), 4, "envelope")
    assert isinstance(signature, bytes)
    signed, device_key = cbor.encode(["Signature1", protected, b"", payload]), view.device_key(envelope.device_kid)
    assert isinstance(device_key, Ed25519PublicKey)

    def opened() -> bytes:
        device_key.verify(signature, signed)
        content_key = hpke.decrypt(sealed, hpke_key, info=info)
        return suites.content_aead(content.alg, content_key).decrypt(content.nonce, content.ciphertext, aad)

    return opened


def _decoded(data: bytes) -> object:
    return cbor.decode(data, max_bytes=len(data), what="envelope")


def _search(owner: Owner, view: StoredReceiver, query: Query) -> _Searched:
    tally = Tally()

    def work() -> None:
        assert list(open_reads(owner, view, query, MANDATE, tally=tally)) == []

    return _Searched(tally, _timed(work))


def _timed(work: Callable[[], None]) -> float:
    began_s = time.process_time()
    work()
    return time.process_time() - began_s


def filled(
    root: Path, key_type: KeyType, days: int, reads: int, say: Say, *, texts: Sequence[str] = ("AB123CD",)
) -> tuple[Owner, Path]:
    """Make an owner, and a receiver's folder with so many reads of each of some days by one camera, texts in turn."""
    owner = make_owner(root / "owner", key_type=key_type, epochs=days)
    camera, layout = Camera(owner, run=0), init_receiver(root / "receiver")
    receipt_key = load_ed25519_private(layout.receipt_key)
    public = camera.key.public_key()
    history = (Event(EventKind.ENROLLED, NOON, 0),)
    device = Device(
        name="cam-1",
        key_id=cose.ed25519_kid(public),
        signing_key=public,
        fingerprints=("ab" * 32,),
        history=history,
    )
    DeviceBook(layout.devices).save(device, receipt_key)
    moments = [NOON + day * DAY + number * timedelta(seconds=1) for day in range(days) for number in range(reads)]
    with open_store(layout.store) as store:
        for begin in range(0, len(moments), BATCH):
            batch = [
                camera.seal(texts[number % len(texts)], at, crop=os.urandom(CROP_BYTES))
                for number, at in enumerate(moments[begin : begin + BATCH], begin)
            ]
            store.store_batch(batch, moments[-1], receipt_key)
            if begin % (100 * BATCH) == 0:
                say(f"filling: {begin:,} of {len(moments):,}")
    return owner, layout.directory

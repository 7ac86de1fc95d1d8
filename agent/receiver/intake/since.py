"""A verification that goes on where the last one ended (docs/adr/0023-verify-goes-on-where-it-ended.md).

Owns: what may be believed of what a verifier remembers, which chains are checked whole again, and what is remembered
next. Leaves to others: the checks themselves (`verification`), and the record (`memory`).

| of what was verified | is checked again |
|---|---|
| every entry, with its receipt, its place and its time | by a digest over all of them |
| envelopes | a random sample, against the ids that were verified |
| a chain with a finding; one with new entries before its end; one whose key has ended before its newest entry | whole |
| everything, if the receipt keys are others | whole |

Invariant: where the digest holds and no envelope was altered in place, the reports are those of a full verification.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from random import SystemRandom
from typing import Final

from agent.errors import VerificationError
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.intake.gaps import Chain, add_tombstone
from agent.receiver.intake.memory import ChainMemory, Memory
from agent.receiver.intake.reports import ChainReport
from agent.receiver.intake.survey import Survey, Tally, survey
from agent.receiver.intake.testimony import Testimony
from agent.receiver.intake.verification import Walk
from agent.receiver.ports import StoredRow, WholeStore
from agent.wire import cbor

SAMPLE: Final = 1000
"""Envelopes that are read again. Where 0.5 % were altered, one of these is among them with a probability of 99.3 %."""
_DRAWS: Final = 20
"""Draws for each of them: entries whose envelopes were dropped are passed over."""
_Key = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found, and did.

    Attributes:
        reports: One for each chain.
        memory: What may be remembered of it; None if something is wrong with the log as such.
        after: The entry of the log up to which entries were known; 0 if all was checked.
        new: How many entries there are behind it.
        whole: How many chains were checked whole although a part of them was known.
        sampled: How many known envelopes were read again.
        faults: What is wrong besides the chains, a line each.
    """

    reports: list[ChainReport]
    memory: Memory | None = None
    after: int = 0
    new: int = 0
    whole: int = 0
    sampled: int = 0
    faults: tuple[str, ...] = ()


def may_go_on(memory: Memory, keys: Collection[bytes]) -> bool:
    """Whether something is remembered, and was verified with the receipt keys that there are now, by their ids."""
    return memory.log > 0 and memory.keys == frozenset(keys)


def verify_since(store: WholeStore, devices: DeviceBook, memory: Memory | None, *, sample: int = SAMPLE) -> Verified:
    """Check what is new in a store, and that the rest is what was verified.

    Args:
        store: The store; a receiver may be writing to it. What it has at the beginning is checked.
        devices: Who may send.
        memory: What is remembered; None to check everything.
        sample: How many known envelopes are read again.

    Raises:
        ReceiverError: The store or the folder of devices cannot be read.
        VerificationError: It is not the store that is remembered, or not as it was.
    """
    keys = devices.receipt_keys()
    end = store.totals().log_end
    known = 0 if memory is None else memory.log
    if end < known:
        raise VerificationError(
            f"{known} entries of the log were verified, and the store ends at {end}: it is an older copy or another "
            "store, or the newest entries were removed"
        )
    seen = survey(store, old=known, end=end)
    if memory is not None:
        _compare(store, memory, seen)
        if not may_go_on(memory, keys.keys()):
            memory = None
    return _Since(store, devices, memory, seen, Testimony(store, keys, seen.back)).verify(end, sample)


def _compare(store: WholeStore, memory: Memory, seen: Survey) -> None:
    if memory.first not in (None, seen.first):
        raise VerificationError("what was verified is another store, or the first entry of the log was changed")
    if (seen.digest_of_old, store.receipts_up_to(memory.log)) != (memory.digest, memory.receipts):
        raise VerificationError(
            f"the entries of the log up to {memory.log}, or their receipts, are not those that were verified: some "
            "were changed, moved, added or removed"
        )


class _Since:
    """One verification."""

    def __init__(
        self, store: WholeStore, devices: DeviceBook, memory: Memory | None, seen: Survey, testimony: Testimony
    ) -> None:
        self._store = store
        self._memory = memory
        self._chains = {} if memory is None else memory.chains
        self._seen = seen
        self._testimony = testimony
        self._walk = Walk(store, devices, testimony)
        self._keys = frozenset(devices.receipt_keys())
        self._faults: list[str] = []

    def verify(self, end: int, sample: int) -> Verified:
        known = 0 if self._memory is None else self._memory.log
        if self._memory is not None:
            self._testimony.newest.update(self._memory.newest)
        sampled, altered = self._sample(known, sample)
        whole = 0
        for key, tally in sorted(self._seen.chains.items(), key=lambda item: item[0]):
            chain = self._chains.get(key)
            if chain is not None and key not in altered and self._may_go_on(chain, tally):
                self._go_on(chain, tally, end)
            else:
                whole += tally.old > 0
                self._walk.chain(*key, self._rows(key, -1, end, tally.old + tally.new))
        reports = self._walk.settle(after=known or -1, end=end)
        new = sum(tally.new for tally in self._seen.chains.values())
        memory = self._remembered(end) if self._testimony.is_log_sound and not self._faults else None
        return Verified(reports, memory, known, new, whole, sampled, tuple(self._faults))

    def _sample(self, known: int, count: int) -> tuple[int, set[_Key]]:
        """Read known envelopes again; return how many, and the chains of those that are not what their ids say."""
        read, altered = 0, set[_Key]()
        for log in _drawn(known, count):
            row = self._store.get(log)
            if row is not None and row.body is not None:
                read += 1
                if cbor.sha256(row.body) != row.id:
                    altered.add((row.device, row.chain))
            if read == count:
                break
        return read, altered

    def _may_go_on(self, chain: ChainMemory, tally: Tally) -> bool:
        """Whether a full verification would find in the known part of a chain what was found before: nothing."""
        signer = self._walk.signer(chain.device)
        if not isinstance(signer, Device) or (signer.revoked is not None and signer.revoked.after < chain.highest):
            return False
        if chain.run is None and tally.dropped != chain.dropped:
            return False
        return tally.first_new is None or tally.first_new > chain.head.seq

    def _go_on(self, chain: ChainMemory, tally: Tally, end: int) -> None:
        signer = self._walk.signer(chain.device)
        name = signer.name if isinstance(signer, Device) else chain.device.hex()[:16]
        report = ChainReport(name, chain.device, chain.chain, chain.head.seq, 0, tally.receipted, tally.days)
        held = Chain(report, chain.head, chain.highest, list(chain.gaps), lasts=list(chain.lasts))
        for note in chain.tombstones:
            add_tombstone(held, note)
        self._walk.runs.resume(report, chain.run, chain.first_log, chain.before)
        key = chain.device, chain.chain
        self._walk.go_on(held, self._rows(key, chain.head.seq, end, tally.new) if tally.new else ())

    def _rows(self, key: _Key, after: int, end: int, expected: int) -> Iterator[StoredRow]:
        """Yield the entries of a chain up to the end of the log, and see to it that the store finds all of them."""
        found = 0
        for row in self._store.rows_of(*key, after):
            if row.log <= end:
                found += 1
                yield row
        if found != expected:
            self._faults.append(
                f"chain {key[1].hex()[:8]} has {expected} entries to be checked, and {found} are found by their place: "
                "an index of the store is damaged"
            )

    def _remembered(self, end: int) -> Memory:
        chains = {}
        for key, chain in self._walk.chains.items():
            if chain.head is None or chain.report.findings:
                continue
            link = self._walk.runs.of(chain.report)
            chains[key] = ChainMemory(
                *key,
                head=chain.head,
                highest=chain.highest,
                first_log=link.first_log,
                run=link.run,
                before=link.before,
                dropped=chain.report.dropped,
                lasts=tuple(chain.lasts),
                gaps=tuple(chain.gaps),
                tombstones=tuple(chain.tombstones),
            )
        return Memory(
            log=end,
            first=self._seen.first,
            digest=self._seen.digest,
            receipts=self._store.receipts_up_to(end),
            keys=self._keys,
            newest=dict(self._testimony.newest),
            chains=chains,
        )


def _drawn(known: int, count: int) -> Iterator[int]:
    """Yield entries of the log at random, each once: all of them where there are no more than are wanted."""
    if known <= count:
        yield from range(1, known + 1)
        return
    drawn, chance = set[int](), SystemRandom()
    for _ in range(count * _DRAWS):
        log = chance.randint(1, known)
        if log not in drawn:
            drawn.add(log)
            yield log


__all__ = ["SAMPLE", "Verified", "may_go_on", "verify_since"]

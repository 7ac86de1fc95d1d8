"""`receiver verify`: is what the store holds all that its devices sealed, unaltered and in order?

Owns: the walk over a store and what it calls by which name. It believes the signed
bytes alone: the columns of the database are compared with them, never the other way round. Leaves to others: gaps and
losses (`gaps`), the order of a unit's chains (`runs`), receipts and their times (`testimony`).

| finding | what was found |
|---|---|
| missing | sequence numbers without an envelope, and no tombstone that says why |
| altered | bytes that are no envelope, are not what their row's id says, or whose signature does not hold |
| forged | an envelope of a device key that is not enrolled |
| reordered | an envelope that stands at another place than it was signed for, or whose prev is not the one before it |
| replayed | the same envelope, or another one at the same place, a second time |
| forked | two chains of one unit with one number or one predecessor; one of version 1 after the upgrade |
| revoked | an envelope that was logged after the end of its key |
| rotated | an envelope that a key signed after another one had followed it |
| receipt | a kept receipt that does not hold or contradicts its row or its neighbours; or none for version 2 |
| contradicted | the unit has signed that it saw another receipt than the one that is kept |

Of reads whose bytes were dropped with their epoch, entry and receipt are checked, and the links on both sides.

A gap that a tombstone explains is a loss by policy: it is reported, and it is no finding. Where a tombstone names the
envelope before the end of a gap, the `prev` behind the gap must be that envelope's digest.

How many reads a unit lost is what its tombstones count, less what the store holds all the same: a read that was
delivered while the unit forced it out, and a tombstone whose count a later one took over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby

from agent.errors import FormatError, ReceiverError, VerificationError
from agent.receiver.admission.devices import Device, DeviceBook
from agent.receiver.intake.gaps import Chain, Gap, Link, Named, Note, add_tombstone, settle_gaps, take_off_what_is_held
from agent.receiver.intake.reports import ChainReport, Finding, FindingKind, day_of, finding_lines
from agent.receiver.intake.runs import Runs
from agent.receiver.intake.testimony import Testimony
from agent.receiver.ports import StoredRow, WholeStore
from agent.wire.envelope import Envelope, parse_envelope, verify_envelope
from agent.wire.header import MAX_SEQ


def verify_store(store: WholeStore, devices: DeviceBook) -> list[ChainReport]:
    """Check every envelope in a store, chain by chain.

    Raises:
        ReceiverError: The store or the folder of devices cannot be read.
    """
    walk = Walk(store, devices)
    for (device, chain), rows in groupby(store.chain_rows(), key=lambda row: (row.device, row.chain)):
        walk.chain(device, chain, rows)
    return walk.settle()


_Key = tuple[str, bytes]
"""A device's name and a chain's id: a new signing key goes on where the old one ended, so chains refer by device."""


class Walk:
    """One pass over a store; gaps are settled at the end, when all tombstones are known.

    Attributes:
        testimony, runs: What receipts say, and the order of chains.
        chains: What is known of each chain that has an envelope that holds, by device key and chain.
    """

    def __init__(self, store: WholeStore, devices: DeviceBook, testimony: Testimony | None = None) -> None:
        """Begin. The receipts of the whole log are judged, unless `testimony` is given, which may know some of them."""
        self._devices = devices
        self.testimony = Testimony(store, devices.receipt_keys()) if testimony is None else testimony
        self.runs = Runs(store)
        self.chains: dict[tuple[bytes, bytes], Chain] = {}
        self._known: dict[bytes, Device | str] = {}
        self._reports: dict[tuple[bytes, bytes], ChainReport] = {}

    def chain(self, device_kid: bytes, chain: bytes, rows: Iterable[StoredRow]) -> None:
        """Check one chain; rows come in order of their sequence number."""
        device = self.signer(device_kid)
        name = device.name if isinstance(device, Device) else device_kid.hex()[:16]
        self.go_on(Chain(ChainReport(name, device_kid, chain)), rows)

    def go_on(self, held: Chain, rows: Iterable[StoredRow]) -> None:
        """Check what stands in one chain behind its head; rows come in order of their sequence number."""
        report = held.report
        self._reports[report.device_kid, report.chain] = report
        spoiled: set[int] = set()
        for row in rows:
            envelope = None if row.body is None else self.check(row, row.body, report)
            if envelope is None and (row.body is not None or not self._check_dropped(row, report)):
                spoiled.add(row.seq)
            elif held.head is not None and row.seq == held.head.seq:
                report.add(Finding(FindingKind.REPLAYED, row.seq, row.seq, f"envelope {row.id.hex()[:16]}"))
            else:
                link = Link(row.seq, row.id, row.prev if envelope is None else envelope.position.prev)
                _link(held, link, spoiled)
                self._note(held, envelope, row)
                held.head = link
        if held.head is not None:
            self.chains[report.device_kid, report.chain] = held
            device = self.signer(report.device_kid)
            if isinstance(device, Device):
                self.runs.end(report, held.head.digest, device, self._devices.followers(device))

    def settle(self, *, after: int = -1, end: int = MAX_SEQ) -> list[ChainReport]:
        """Tell what can be told once all chains are known, and return the reports, those of a device together.

        Args:
            after: The receipts of the log up to this entry are judged already.
            end: The last entry of the log that is looked at.
        """
        gone = self._gone()
        for chain in self.chains.values():
            named = gone[chain.report.device, chain.report.chain]
            settle_gaps(chain, [each for each, _, _ in named])
            take_off_what_is_held(chain, named)
        names = {(device, each.digest): chain for (device, chain), rows in gone.items() for each, _, _ in rows}
        ends = {(chain.report.device, chain.head.digest) for chain in self.chains.values() if chain.head is not None}
        for chain in self.chains.values():
            for last in chain.lasts:
                if (chain.report.device, last) not in ends and (chain.report.device, last) not in names:
                    self._tell_missing(chain.report, last)
        self.runs.settle({digest: chain for (_, digest), chain in names.items()})
        self.testimony.settle(self._reports, after=after, end=end)
        return list(self._reports.values())

    def _gone(self) -> defaultdict[_Key, list[Named]]:
        """Return what tombstones name, by the chain in which it stood."""
        gone: defaultdict[_Key, list[Named]] = defaultdict(list)
        for chain in self.chains.values():
            for note in chain.tombstones:
                for each in note.gone:
                    named = each, note.reason, chain.report.days[note.day]
                    gone[chain.report.device, each.chain].append(named)
        return gone

    def _tell_missing(self, report: ChainReport, last: bytes) -> None:
        detail = f"the chain before it ended with {last.hex()[:16]}, which is not the end of any chain here"
        report.add(Finding(FindingKind.MISSING, 0, 0, detail))

    def signer(self, kid: bytes) -> Device | str:
        """Return the device that signs with a key, or why there is none."""
        if kid not in self._known:
            try:
                self._known[kid] = self._devices.by_key_id(kid) or "its device key is not enrolled"
            except ReceiverError as error:
                self._known[kid] = str(error)
        return self._known[kid]

    def check(self, row: StoredRow, body: bytes, report: ChainReport) -> Envelope | None:
        """Return the envelope of a row if it is what it claims to be, where it claims to be."""
        try:
            envelope = parse_envelope(body)
            signer = self.signer(envelope.device_kid)
            if isinstance(signer, str):
                report.add(Finding(FindingKind.FORGED, row.seq, row.seq, signer))
                return None
            verify_envelope(envelope, signer.signing_key)
        except (FormatError, VerificationError) as error:
            report.add(Finding(FindingKind.ALTERED, row.seq, row.seq, str(error)))
            return None
        if envelope.digest != row.id:
            report.add(Finding(FindingKind.ALTERED, row.seq, row.seq, "its bytes are not what its id says"))
            return None
        position = envelope.position
        if (envelope.device_kid, position.chain, position.seq) != (row.device, row.chain, row.seq):
            detail = f"it was signed for chain {position.chain.hex()[:8]} seq {position.seq}"
            report.add(Finding(FindingKind.REORDERED, row.seq, row.seq, detail))
            return None
        if signer.revoked is not None and self._is_after_the_end(
            row, self.testimony.log_of(row, envelope), signer, report
        ):
            return None
        return envelope

    def _check_dropped(self, row: StoredRow, report: ChainReport) -> bool:
        """Whether the entry of an envelope that was dropped is what its receipt says, and its key's device is known."""
        signer = self.signer(row.device)
        log = self.testimony.check_dropped(report, row)
        if isinstance(signer, str):
            report.add(Finding(FindingKind.FORGED, row.seq, row.seq, signer))
            return False
        return not self._is_after_the_end(row, log, signer, report)

    def _is_after_the_end(self, row: StoredRow, log: int, signer: Device, report: ChainReport) -> bool:
        """Whether an envelope was logged after its key was revoked; then that is told."""
        if signer.revoked is None or log <= signer.revoked.after:
            return False
        detail = f"logged after the end of its key, which was revoked after log {signer.revoked.after}: "
        detail += signer.revoked.reason
        report.add(Finding(FindingKind.REVOKED, row.seq, row.seq, detail))
        return True

    def _note(self, held: Chain, envelope: Envelope | None, row: StoredRow) -> None:
        report = held.report
        self.runs.note(report, row, envelope)
        report.last_seq = row.seq
        held.highest = max(held.highest, row.log)
        if envelope is None:
            report.day(row.stored_at_ms).dropped += 1
            return
        self.testimony.check(report, row, envelope)
        report.day(row.stored_at_ms).envelopes += 1
        if envelope.position.last is not None:
            held.lasts.append(envelope.position.last)
        tombstone = envelope.tombstone
        if tombstone is not None:
            day = day_of(row.stored_at_ms)
            add_tombstone(held, Note(row.seq, tombstone.count, tombstone.reason, day, tombstone.gone))


def _link(held: Chain, link: Link, spoiled: set[int]) -> None:
    before = held.head
    expected = 0 if before is None else before.seq + 1
    if link.seq > expected:
        within = frozenset(seq for seq in spoiled if seq >= expected)
        held.gaps.append(Gap(expected, link.seq - 1, within, link))
    elif before is not None and link.prev != before.digest:
        detail = f"its prev is not {before.digest.hex()[:16]}, which stands before it"
        held.report.add(Finding(FindingKind.REORDERED, link.seq, link.seq, detail))


__all__ = ["ChainReport", "Finding", "FindingKind", "Walk", "finding_lines", "verify_store"]

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
from agent.receiver.intake.gaps import Chain, Gap, Link, Named, settle_gaps, take_off_what_is_held
from agent.receiver.intake.reports import ChainReport, Finding, FindingKind, finding_lines
from agent.receiver.intake.runs import Runs
from agent.receiver.intake.testimony import Testimony
from agent.receiver.ports import StoredRow, WholeStore
from agent.wire.envelope import Envelope, parse_envelope, verify_envelope


def verify_store(store: WholeStore, devices: DeviceBook) -> list[ChainReport]:
    """Check every envelope in a store, chain by chain.

    Raises:
        ReceiverError: The store or the folder of devices cannot be read.
    """
    walk = _Walk(store, devices)
    for (device, chain), rows in groupby(store.chain_rows(), key=lambda row: (row.device, row.chain)):
        walk.chain(device, chain, rows)
    return walk.settle()


_Key = tuple[str, bytes]
"""A device's name and a chain's id: a new signing key goes on where the old one ended, so chains refer by device."""


class _Walk:
    """One pass over a store; gaps are settled at the end, when all tombstones are known."""

    def __init__(self, store: WholeStore, devices: DeviceBook) -> None:
        self._devices = devices
        self._testimony = Testimony(store, devices.receipt_keys())
        self._runs = Runs(store)
        self._known: dict[bytes, Device | str] = {}
        self._reports: dict[tuple[bytes, bytes], ChainReport] = {}
        self._chains: dict[_Key, Chain] = {}
        self._gone: defaultdict[_Key, list[Named]] = defaultdict(list)
        self._ends: set[tuple[str, bytes]] = set()
        self._begins: list[tuple[ChainReport, bytes]] = []

    def chain(self, device_kid: bytes, chain: bytes, rows: Iterable[StoredRow]) -> None:
        """Check one chain; rows come in order of their sequence number."""
        device = self._signer(device_kid)
        name = device.name if isinstance(device, Device) else device_kid.hex()[:16]
        report = self._reports[device_kid, chain] = ChainReport(name, device_kid, chain)
        held = Chain(report)
        before: Link | None = None
        spoiled: set[int] = set()
        for row in rows:
            envelope = None if row.body is None else self._check(row, row.body, report)
            if envelope is None and (row.body is not None or not self._check_dropped(row, report)):
                spoiled.add(row.seq)
            elif before is not None and row.seq == before.seq:
                report.add(Finding(FindingKind.REPLAYED, row.seq, row.seq, f"envelope {row.id.hex()[:16]}"))
            else:
                link = Link(row.seq, row.id, row.prev if envelope is None else envelope.position.prev)
                self._link(held, before, link, spoiled)
                self._note(held, envelope, row)
                before = link
        if before is not None:
            self._chains[report.device, chain] = held
            self._ends.add((report.device, before.digest))
            if isinstance(device, Device):
                self._runs.end(report, before.digest, device, self._devices.followers(device))

    def settle(self) -> list[ChainReport]:
        """Tell what can be told once all chains are known, and return the reports, those of a device together."""
        for key, chain in self._chains.items():
            settle_gaps(chain, [gone for gone, _, _ in self._gone[key]])
            take_off_what_is_held(chain, self._gone[key])
        gone = {(device, each.digest): chain for (device, chain), rows in self._gone.items() for each, _, _ in rows}
        for report, last in self._begins:
            if (report.device, last) not in self._ends and (report.device, last) not in gone:
                self._tell_missing(report, last)
        self._runs.settle({digest: chain for (_, digest), chain in gone.items()})
        self._testimony.settle(self._reports)
        return list(self._reports.values())

    def _tell_missing(self, report: ChainReport, last: bytes) -> None:
        detail = f"the chain before it ended with {last.hex()[:16]}, which is not the end of any chain here"
        report.add(Finding(FindingKind.MISSING, 0, 0, detail))

    def _signer(self, kid: bytes) -> Device | str:
        """Return the device that signs with a key, or why there is none."""
        if kid not in self._known:
            try:
                self._known[kid] = self._devices.by_key_id(kid) or "its device key is not enrolled"
            except ReceiverError as error:
                self._known[kid] = str(error)
        return self._known[kid]

    def _check(self, row: StoredRow, body: bytes, report: ChainReport) -> Envelope | None:
        """Return the envelope of a row if it is what it claims to be, where it claims to be."""
        try:
            envelope = parse_envelope(body)
            signer = self._signer(envelope.device_kid)
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
            row, self._testimony.log_of(row, envelope), signer, report
        ):
            return None
        return envelope

    def _check_dropped(self, row: StoredRow, report: ChainReport) -> bool:
        """Whether the entry of an envelope that was dropped is what its receipt says, and its key's device is known."""
        signer = self._signer(row.device)
        log = self._testimony.check_dropped(report, row)
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

    def _link(self, held: Chain, before: Link | None, link: Link, spoiled: set[int]) -> None:
        expected = 0 if before is None else before.seq + 1
        if link.seq > expected:
            within = frozenset(seq for seq in spoiled if seq >= expected)
            held.gaps.append(Gap(expected, link.seq - 1, within, link))
        elif before is not None and link.prev != before.digest:
            detail = f"its prev is not {before.digest.hex()[:16]}, which stands before it"
            held.report.add(Finding(FindingKind.REORDERED, link.seq, link.seq, detail))

    def _note(self, held: Chain, envelope: Envelope | None, row: StoredRow) -> None:
        report = held.report
        self._runs.note(report, row, envelope)
        report.last_seq = row.seq
        if envelope is None:
            report.day(row.stored_at_ms).dropped += 1
            return
        self._testimony.check(report, row, envelope)
        day = report.day(row.stored_at_ms)
        day.envelopes += 1
        if envelope.position.last is not None:
            self._begins.append((report, envelope.position.last))
        tombstone = envelope.tombstone
        if tombstone is not None:
            held.tombstones.append((envelope.position.seq, tombstone.count))
            day.lost[tombstone.reason] += tombstone.count
            for gone in tombstone.gone:
                self._gone[report.device, gone.chain].append((gone, tombstone.reason, day))


__all__ = ["ChainReport", "Finding", "FindingKind", "finding_lines", "verify_store"]

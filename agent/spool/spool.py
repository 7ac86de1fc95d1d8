"""The spool on disk: one file per envelope, named by its digest.

States. An envelope is in the state whose directory has its name; where two have it, the upper row counts.

| state | directory | means |
|---|---|---|
| leaving | `shredding/` | proven delivered, or named by an accepted tombstone: to be erased, whatever else is true |
| accepted | `pending/` | survives a power cut; to be delivered |
| set aside | `quarantine/`, with `ID.reason` | kept for a person |
| none | `incoming/`, or nowhere | being written; never accepted |

Transitions. A file's content is durable when `create` or `overwrite` returns, a name when the sync of its directory
does. Until then a crash may leave any part of the content, and of the names added and removed any selection: the two
names of a rename are two such changes. The steps stand in their order; S marks the one that decides.

| transition | file operations | by |
|---|---|---|
| put: none to accepted | create incoming/ID; rename to pending/ID; sync pending **S** | capture |
| send | sync pending, for a put that has not returned | upload |
| shred: accepted to leaving to none | rename to shredding/ID, but link the newest and its mark; sync shredding; \
unlink its name in pending and the older mark; sync pending **S**; overwrite; unlink; sync shredding | upload |
| the same, where no link can be made | create the mark; sync shredding; unlink the older mark; rename the newest; and \
on as above | upload |
| expire: as shred, behind an accepted tombstone | rename to shredding/ID; unlink pending/ID, which a shred may have \
linked; and on as shred | capture |
| quarantine: accepted to set aside | create ID.reason; link to quarantine/ID; sync quarantine; unlink pending/ID; \
sync pending **S** | upload |
| release: set aside to accepted | link to pending/ID; sync pending **S**; unlink quarantine/ID and ID.reason; \
sync quarantine | a person, while upload is stopped |
| either of them, where no link can be made | the same with a rename in the place of the link | as above |

A crash between any two operations, or while the disk reorders them, leaves one of these; so does a kill.

| found | how | recovery |
|---|---|---|
| anything in incoming/ | put before **S**, or the old name of an accepted one that came back | unlink: an accepted \
one has its own name |
| ID in pending/ only | put around **S**; shred, expire or quarantine that left no trace | it is accepted; to send and \
shred it twice is as once |
| ID in shredding/, in part overwritten or not | shred after its rename | overwrite again, unlink |
| two marks in shredding/ | shred after it linked a mark | unlink the older, once the newer is durable |
| ID in shredding/ and pending/ | shred before **S**: one file with two names | as leaving: unlink pending/ID durably, \
then overwrite |
| ID in quarantine/ and pending/ | quarantine before **S**, or release after it | as accepted: sync pending, unlink \
name and reason in quarantine |
| ID.reason alone | quarantine before its link was durable | unlink |
| another name in pending/, or no regular file | no operation of ours | moved to quarantine/ as a quarantine does, \
under a name of ours; never erased |
| another name in shredding/; what cannot be removed from incoming/ or moved out of pending/ | no operation of ours | \
left alone, told of in one line |
| ID nowhere | put before **S**; shred after its rename | nothing: never accepted, or delivered |
| ID nowhere | quarantine or release by a rename, before both syncs, on a file system that does not journal the two \
names together (vfat, exFAT) | none: the only way in which what was accepted can be lost |

Why a shred syncs shredding before pending: otherwise the old name could go for good before the new one is there, and
the content would lie on the disk unerased with no name to find it by. Why it syncs pending before it overwrites:
otherwise a crash could bring back, as pending, a file that is in part overwritten. Why a quarantine links where it
can: it may lose neither name, for the receiver does not have it.

One file that the system keeps from a step (another user's, immutable, a directory) stops no other. What cannot be moved
stays where it is and is reported; what cannot be overwritten stays in shredding/ until a start can.

A mark (`agent.spool.newest`) is durable before its envelope's name in pending goes, which is why that one is linked and
not renamed. An expired envelope needs none: its tombstone is newer.

Two processes share a spool, and each part of it has one owner (`agent.disk.lock`): capture puts, expires and owns
incoming; upload shreds, sets aside and owns the rest. An envelope that expires in the very moment in which it is set
aside ends as a file of zeros in quarantine; its tombstone tells of it.

Files that are erased together may be overwritten and unlinked side by side, between the syncs that stand before and
after them: no step of one rests on a step of another, and recovery looks at each alone.

On a full disk an envelope is set aside without its reason, and erased without its mark, not left in the others' way.

Owns: these tables, and the limits of bytes and count. Leaves to others: looking (`agent.spool.reader`), and what an
envelope means.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.errors import (
    EnvelopeVerificationError,
    FormatError,
    SpoolError,
    SpoolFileError,
    SpoolFullError,
    SpoolMissingError,
)
from agent.ports import Disk
from agent.records import Link, Shredded, VerifiedReceipt
from agent.spool.aside import Aside, LeftAlone, name_again, remove_all
from agent.spool.erasing import Eraser
from agent.spool.newest import Mark, find_newest, parse_mark
from agent.spool.reader import INCOMING, SHREDDING, SpoolReader, is_id
from agent.spool.room import Room
from agent.wire.envelope import Envelope
from agent.wire.tombstone import Tombstone

_log = logging.getLogger(__name__)

PROBE: Final = "probe"
PROBE_BYTES: Final = 1 << 16
"""What `recover_puts` writes to see whether the disk takes a read: about the size of one with its crop."""


class FileSpool(SpoolReader):
    """`Spool` and `SpoolIntake` over a directory."""

    def __init__(
        self, directory: Path, *, max_bytes: int, max_count: int | None = None, files: Disk, erasers: int = 1
    ) -> None:
        """Make the directories if they are missing, and check that they can be used.

        Args:
            directory: The spool; its parent must exist.
            max_bytes: Pending and quarantined envelopes never take more together; reads leave `reserve_bytes` of it
                to tombstones.
            max_count: As many of them may be there, likewise; None sets no limit.
            files: The file system; every access goes through it.
            erasers: Threads that erase files side by side, so that the waits for the disk overlap; with more than one
                `files` must be safe for threads.

        Raises:
            SpoolError: The directory cannot be made, read or written.
        """
        super().__init__(directory, files)
        self._files: Disk = files
        self._incoming = directory / INCOMING
        self._shredding = directory / SHREDDING
        self._room = Room(self, directory, max_bytes=max_bytes, max_count=max_count)
        self._tombstone_id: str | None = None
        self._mark = Mark(directory, files)
        self._aside = Aside(directory, files)
        self._eraser = Eraser(self._shredding, files, threads=erasers)
        files.prepare([directory, self._incoming, self._pending, self._shredding, self._quarantine])

    def put(self, envelope: Envelope) -> None:
        """Accept an envelope: on return it survives a power cut. Putting it twice is the same as once.

        Raises:
            SpoolFullError: No room; nothing changed.
            SpoolError: The disk refused; the envelope is not accepted, yet may be there, whole.
        """
        target = self._in_pending(envelope.envelope_id)
        is_new = not self._is_there(target)
        if is_new:
            self._room.require(envelope)
        self._write(envelope)
        if is_new:
            self._room.count(1, len(envelope.data))
        try:
            self._files.sync_dir(self._pending)
        except SpoolError as error:  # never a `SpoolFullError`: something did change
            raise SpoolError(f"spool: whether {target} survives a power cut is not known: {error}") from error
        if envelope.tombstone is not None:
            self._tombstone_id = envelope.envelope_id

    def keep_pending(self) -> None:
        """Make durable that what is pending is there: the put of the newest may not have returned yet.

        Before an envelope is sent: the receiver would have one that no start after a power cut knows of.

        Raises:
            SpoolError: The disk refused.
        """
        self._files.sync_dir(self._pending)

    def shred(self, *receipts: VerifiedReceipt) -> Shredded:
        """Erase pending envelopes that their receiver holds. Erasing one twice is the same as once.

        A file that the system keeps from it does not stop the others.

        Raises:
            SpoolError: The disk refused; envelopes may still be there. Call it again, or `recover_shreds` later.
        """
        ids = [receipt.envelope_id for receipt in receipts]
        _, shredded = self._take_away(ids, newest=self._mark.newer(receipts))
        return shredded

    def expire(self, tombstone: Envelope, envelope_ids: Sequence[str]) -> None:
        """Erase pending envelopes, each only if the accepted tombstone covers its place in its chain.

        Raises:
            SpoolError: It is no tombstone, or was not accepted; or the disk refused.
        """
        if tombstone.tombstone is None:
            raise SpoolError(f"spool: {tombstone.envelope_id[:16]} is no tombstone; nothing is erased on it")
        self._require_accepted(tombstone)
        sizes = {key: size for key in envelope_ids if (size := self._covered_bytes(key, tombstone.tombstone))}
        try:
            taken, shredded = self._take_away(sizes)
        except SpoolError:
            self._room.forget()  # some may be gone: measured anew by the next put
            raise
        _tell_of_kept(self._pending, shredded.kept)
        _tell_of_unerased(self._shredding, shredded.unerased)
        self._room.count(-len(taken), -sum(sizes[envelope_id] for envelope_id in taken))

    def quarantine(self, envelope_id: str, *, reason: str) -> None:
        """Set a pending envelope aside, with a reason for a person. It is kept.

        Raises:
            SpoolMissingError: It is not pending.
            SpoolError: The disk refused, or the system keeps this file from it; it stays pending.
        """
        source = self._in_pending(envelope_id)
        self._files.status(source)
        self._aside.take(source, self._in_quarantine(envelope_id), reason)

    def release(self, envelope_id: str) -> None:
        """Bring an envelope back from quarantine, after checking that it is whole; only while nothing uploads.

        Raises:
            SpoolMissingError: It is not in quarantine.
            SpoolError: The disk refused.
            FormatError: Its bytes are no envelope.
            EnvelopeVerificationError: Its bytes are not those that were put. It stays in quarantine.
        """
        source = self._in_quarantine(envelope_id)
        target = self._in_pending(envelope_id)
        self._read(source)
        if not self._is_there(target):
            name_again(source, target, self._files)
        self._aside.forget(source)

    def recover_puts(self) -> int:
        """Remove what an interrupted `put` left, and see whether the disk takes a read. For the process that puts.

        Returns:
            How many it removed.

        Raises:
            SpoolFullError: The disk is full.
            SpoolError: The disk refused.
        """
        removed = sum(1 for _ in remove_all(self._incoming, self._files.names(self._incoming), self._files))
        try:
            self._files.create(self._incoming / PROBE, bytes(PROBE_BYTES))
        finally:
            with suppress(SpoolError):  # the disk is failing; the next start removes it
                self._files.unlink(self._incoming / PROBE)
        self._files.sync_dir(self._incoming)
        return removed

    def newest(self) -> Link | None:
        """Return the newest envelope of version 2 that was accepted, erased or not, and make it durable.

        Raises:
            SpoolError: The disk refused.
        """
        self.keep_pending()
        return find_newest(self._root, self._files)

    def recover_shreds(self) -> int:
        """Finish or undo what was interrupted on the way out, as the module's table says, and set odd names aside.

        For the process that shreds, before anything else.

        Returns:
            How many names it dealt with.

        Raises:
            SpoolError: The disk refused.
        """
        return self._mark.recover() + self._finish_shreds() + self._aside.take_odd() + self._aside.settle()

    def _finish_shreds(self) -> int:
        doomed: list[str] = []
        strange = LeftAlone()
        for name in self._files.names(self._shredding):
            if is_id(name):
                doomed.append(name)
            elif parse_mark(name) is None:
                strange.note(name)
        strange.tell(self._shredding, "is none of the spool's")
        if doomed:
            out_of_pending = list(remove_all(self._pending, doomed, self._files))
            self._files.sync_dir(self._pending)
            _tell_of_unerased(self._shredding, self._eraser.erase(out_of_pending))
        return len(doomed)

    def _write(self, envelope: Envelope) -> None:
        """Give a new file its name in pending, not yet durably."""
        incoming = self._incoming / envelope.envelope_id
        try:
            self._files.create(incoming, envelope.data)
            self._files.rename(incoming, self._in_pending(envelope.envelope_id))
        except SpoolError:
            with suppress(SpoolError):  # the disk is failing; the next start removes it
                self._files.unlink(incoming)
            raise

    def _take_away(self, envelope_ids: Collection[str], *, newest: Link | None = None) -> tuple[list[str], Shredded]:
        """Erase what is pending of these, and mark `newest`, which is one of them, as erased.

        Returns:
            The ids of what was pending and is no more; and what could not be moved or erased.
        """
        kept_link = None if newest is None else newest.digest.hex()
        taken: list[str] = []
        kept: dict[str, str] = {}
        refused: SpoolError | None = None
        for envelope_id in envelope_ids:
            try:
                self._name_doomed(envelope_id, newest if envelope_id == kept_link else None)
            except SpoolMissingError:
                continue  # taken away before, by this process or the other
            except SpoolFullError as error:
                refused = error  # it may have no room for a name; what was taken before is still finished
                break
            except SpoolError as error:
                kept[envelope_id] = str(error)
                refused = None if isinstance(error, SpoolFileError) else error
                continue
            taken.append(envelope_id)
        unerased = self._erase(taken, None if kept_link in kept else newest) if taken else {}
        if isinstance(refused, SpoolFullError) or (refused is not None and not taken):
            raise refused  # the disk is to blame, and not one file
        return taken, Shredded(kept, unerased)

    def _name_doomed(self, envelope_id: str, newest: Link | None) -> None:
        source, target = self._in_pending(envelope_id), self._shredding / envelope_id
        if newest is None or self._is_there(target):
            self._files.rename(source, target)  # which does nothing where both are names of one file
            return
        try:
            self._files.link(source, target)
        except SpoolFileError:
            self._mark_durably(newest)
            self._files.rename(source, target)

    def _mark_durably(self, newest: Link) -> None:
        older = self._mark.set(newest)
        self._files.sync_dir(self._shredding)
        if older is not None:
            self._mark.remove(older)

    def _erase(self, taken: Sequence[str], newest: Link | None) -> dict[str, str]:
        """Erase what has its name in shredding; return what could not be, with the reasons."""
        kept = None if newest is None else newest.digest.hex()
        older = None if newest is None else self._mark.set(newest)
        self._files.sync_dir(self._shredding)
        for envelope_id in taken:
            if newest is None or envelope_id == kept:  # a name that a shred, this or another, has kept so far
                self._files.unlink(self._pending / envelope_id)
        if older is not None:
            self._mark.remove(older)
        self._files.sync_dir(self._pending)
        return self._eraser.erase(taken)

    def _require_accepted(self, tombstone: Envelope) -> None:
        """Pass if this object accepted it, even if it is delivered by now, or if it is pending, durably."""
        if tombstone.envelope_id == self._tombstone_id:
            return
        path = self._in_pending(tombstone.envelope_id)
        if not self._is_there(path):
            raise SpoolError(f"spool: the tombstone {path} was not accepted; nothing is erased on it")
        self._files.sync_dir(path.parent)

    def _covered_bytes(self, envelope_id: str, tombstone: Tombstone) -> int | None:
        try:
            envelope = self.get(envelope_id)
        except (SpoolMissingError, SpoolFileError, FormatError, EnvelopeVerificationError):
            return None  # delivered meanwhile, or damaged: the uploading process sets it aside
        return len(envelope.data) if tombstone.covers(envelope.position.chain, envelope.position.seq) else None


def _tell_of_kept(pending: Path, kept: Mapping[str, str]) -> None:
    for envelope_id, why in kept.items():
        _log.error("%s/%s is forced out and cannot be moved: %s", pending, envelope_id[:16], why)


def _tell_of_unerased(shredding: Path, unerased: Mapping[str, str]) -> None:
    for envelope_id, why in unerased.items():
        _log.error("%s/%s cannot be erased, and stays until a start can: %s", shredding, envelope_id[:16], why)

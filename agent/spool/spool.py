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
| expire: as shred, behind an accepted tombstone | rename to shredding/ID; unlink pending/ID, which a shred may have \
linked; and on as shred | capture |
| quarantine: accepted to set aside | create ID.reason; link to quarantine/ID; sync quarantine; unlink pending/ID; \
sync pending **S** | upload |
| release: set aside to accepted | link to pending/ID; sync pending **S**; unlink quarantine/ID and ID.reason; \
sync quarantine | a person, while upload is stopped |

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
| ID nowhere | put before **S**; shred after its rename | nothing: never accepted, or delivered |

Why a shred syncs shredding before pending: otherwise the old name could go for good before the new one is there, and
the content would lie on the disk unerased with no name to find it by. Why it syncs pending before it overwrites:
otherwise a crash could bring back, as pending, a file that is in part overwritten. Why a quarantine links and does not
rename: it may lose neither name, for the receiver does not have it.

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

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.errors import EnvelopeVerificationError, FormatError, SpoolError, SpoolFullError, SpoolMissingError
from agent.ports import Disk
from agent.records import Link, VerifiedReceipt
from agent.spool.eraser import Eraser
from agent.spool.newest import Mark, find_newest, parse_mark
from agent.spool.reader import INCOMING, MAX_REASON_BYTES, REASON_SUFFIX, SHREDDING, SpoolReader, is_id, reason_of
from agent.spool.room import Room
from agent.wire.envelope import Envelope
from agent.wire.tombstone import Tombstone

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
        self._eraser = Eraser(files, side_by_side=erasers)
        self._incoming = directory / INCOMING
        self._shredding = directory / SHREDDING
        self._room = Room(self, directory, max_bytes=max_bytes, max_count=max_count)
        self._tombstone_id: str | None = None
        self._mark = Mark(directory, files)
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
        incoming = self._incoming / envelope.envelope_id
        try:
            self._files.create(incoming, envelope.data)
            self._files.rename(incoming, target)
        except SpoolError:
            self._discard(incoming)
            raise
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

    def shred(self, *receipts: VerifiedReceipt) -> None:
        """Erase pending envelopes that their receiver holds. Erasing one twice is the same as once.

        Raises:
            SpoolError: The disk refused; envelopes may still be there. Call it again, or `recover_shreds` later.
        """
        ids = [receipt.envelope_id for receipt in receipts]
        self._take_away(ids, newest=self._mark.newer(receipts))

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
            taken = self._take_away(sizes)
        except SpoolError:
            self._room.forget()  # some may be gone: measured anew by the next put
            raise
        self._room.count(-len(taken), -sum(sizes[envelope_id] for envelope_id in taken))

    def quarantine(self, envelope_id: str, *, reason: str) -> None:
        """Set a pending envelope aside, with a reason for a person. It is kept.

        Raises:
            SpoolMissingError: It is not pending.
            SpoolError: The disk refused.
        """
        source = self._in_pending(envelope_id)
        target = self._in_quarantine(envelope_id)
        self._files.status(source)
        self._note_reason(target, reason)
        self._files.unlink(target)  # of an attempt that failed halfway; the pending one is the one that counts
        self._files.link(source, target)
        self._files.sync_dir(target.parent)
        self._files.unlink(source)
        self._files.sync_dir(source.parent)

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
            self._files.link(source, target)
        self._return_to_pending(envelope_id)

    def recover_puts(self) -> int:
        """Remove what an interrupted `put` left, and see whether the disk takes a read. For the process that puts.

        Returns:
            How many it removed.

        Raises:
            SpoolFullError: The disk is full.
            SpoolError: The disk refused.
        """
        removed = 0
        for name in self._files.names(self._incoming):
            self._files.unlink(self._incoming / name)
            removed += 1
        try:
            self._files.create(self._incoming / PROBE, bytes(PROBE_BYTES))
        finally:
            self._discard(self._incoming / PROBE)
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
        return self._mark.recover() + self._finish_shreds() + self._set_odd_names_aside() + self._settle_quarantine()

    def _doomed(self) -> Iterator[str]:
        return (name for name in self._files.names(self._shredding) if parse_mark(name) is None)

    def _finish_shreds(self) -> int:
        left = 0
        for name in self._doomed():
            self._files.unlink(self._pending / name)
            left += 1
        if left:
            self._files.sync_dir(self._pending)
            self._erase(self._shredding / name for name in self._doomed())
        return left

    def _settle_quarantine(self) -> int:
        settled = 0
        for name in self._files.names(self._quarantine):
            if is_id(name) and self._is_there(self._pending / name):
                self._return_to_pending(name)
                settled += 1
            elif name.endswith(REASON_SUFFIX) and not self._is_there(
                self._quarantine / name.removesuffix(REASON_SUFFIX)
            ):
                self._files.unlink(self._quarantine / name)
                settled += 1
        if settled:
            self._files.sync_dir(self._quarantine)
        return settled

    def _return_to_pending(self, envelope_id: str) -> None:
        """Take an envelope's name in quarantine away, which it has in pending as well."""
        target = self._in_quarantine(envelope_id)
        self._files.sync_dir(self._pending)
        self._files.unlink(target)
        self._files.unlink(reason_of(target))
        self._files.sync_dir(target.parent)

    def _set_odd_names_aside(self) -> int:
        moved = 0
        for name in self._files.names(self._pending):
            if not is_id(name):
                self._set_odd_name_aside(name)
                moved += 1
        return moved

    def _set_odd_name_aside(self, name: str) -> None:
        source = self._pending / name
        target, is_linked = self._place_for_odd_name(name)
        self._note_reason(target, f"found in pending/, and can be no envelope: {name!r}")
        if not is_linked:
            try:
                self._files.link(source, target)
            except SpoolError:
                self._files.rename(source, target)  # a directory cannot be linked
        self._files.sync_dir(self._quarantine)
        self._files.unlink(source)
        self._files.sync_dir(self._pending)

    def _place_for_odd_name(self, name: str) -> tuple[Path, bool]:
        """Return a free name in quarantine; or the one that it was given before a crash, and True."""
        stem = f"odd-{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}"
        inode = self._files.status(self._pending / name).inode
        n = 0
        while self._is_there(path := self._quarantine / f"{stem}-{n}"):
            if self._files.status(path).inode == inode:
                return path, True
            n += 1
        return path, False

    def _take_away(self, envelope_ids: Collection[str], *, newest: Link | None = None) -> list[str]:
        """Erase what is pending of these, and mark `newest`, which is one of them, as erased.

        Returns:
            The ids of what was pending.
        """
        kept = None if newest is None else newest.digest.hex()
        taken: list[str] = []
        refused: SpoolError | None = None
        for envelope_id in envelope_ids:
            try:
                self._name_doomed(envelope_id, keep=envelope_id == kept)
            except SpoolMissingError:
                continue  # taken away before, by this process or the other
            except SpoolError as error:
                refused = error  # a full disk may have no room for a name; what was taken before is still finished
                break
            taken.append(envelope_id)
        if taken:
            older = None if newest is None else self._mark.set(newest)
            self._files.sync_dir(self._shredding)
            for envelope_id in taken:
                if newest is None or envelope_id == kept:  # a name that a shred, this or another, has kept so far
                    self._files.unlink(self._pending / envelope_id)
            if older is not None:
                self._mark.remove(older)
            self._files.sync_dir(self._pending)
            self._erase(self._shredding / envelope_id for envelope_id in taken)
        if refused is not None:
            raise refused
        return taken

    def _name_doomed(self, envelope_id: str, *, keep: bool) -> None:
        source, target = self._in_pending(envelope_id), self._shredding / envelope_id
        if keep and not self._is_there(target):
            self._files.link(source, target)
        else:
            self._files.rename(source, target)  # which does nothing where both are names of one file

    def _erase(self, doomed: Iterable[Path]) -> None:
        self._eraser.erase(doomed)
        self._files.sync_dir(self._shredding)

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
        except (SpoolMissingError, FormatError, EnvelopeVerificationError):
            return None  # delivered meanwhile, or damaged: the uploading process sets it aside
        return len(envelope.data) if tombstone.covers(envelope.position.chain, envelope.position.seq) else None

    def _note_reason(self, target: Path, reason: str) -> None:
        note = reason_of(target)
        self._files.unlink(note)
        try:
            self._files.create(note, reason.encode(errors="backslashreplace")[:MAX_REASON_BYTES])
        except SpoolFullError:
            self._discard(note)  # on a full disk it is set aside without: left pending, it would block the way out

    def _discard(self, path: Path) -> None:
        with suppress(SpoolError):  # the disk is failing; the next start removes it
            self._files.unlink(path)

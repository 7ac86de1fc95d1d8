"""What is left to do of an act that was entered and cut off: seen from the audit log and the folder, and told.

Owns: the lines that every command says which unlocks the folder, and the commands that they name. Leaves to others:
doing it (`destroy`, `closing`). No note says that an act is under way: what was entered as destroyed and is still there
is left over, whether a crash left it or somebody put a copy back.
"""

from __future__ import annotations

import shlex

from agent.custody.audit_entry import AuditEntry
from agent.custody.layout import OwnerLayout
from agent.custody.next_keyring import KeyHistory, gone_keys, keyring_missing
from agent.custody.owner import private_files
from agent.wire.keyring import Keyring


def unfinished(layout: OwnerLayout, keyring: Keyring | None, history: KeyHistory) -> list[str]:
    """Return what is left to do of destroyed keys and closed cases that were entered, and what is missing; a line each.

    Args:
        layout: The owner's files; a folder without `private`, as an auditor has it, is not looked at.
        keyring: The owner's keyring; None where it is not at hand.
        history: From the audit log.

    Raises:
        KeyFileError: The folder of private keys cannot be read.
    """
    there = {kid for kid, _ in private_files(layout)} if layout.private.is_dir() else set()
    left: dict[int, int] = {}
    for kid in there & history.destroyed.keys():
        seq = history.destroyed[kid].seq
        left[seq] = left.get(seq, 0) + 1
    entries = {entry.seq: entry for entry in history.destroyed.values()}
    lines = _missing(layout, history) if layout.private.is_dir() else []
    lines += [_tell_left(layout, entries[seq], left[seq]) for seq in sorted(left)]
    lines += [_tell_case(layout, entry) for case, entry in sorted(history.closed.items()) if is_left(layout, case)]
    listed = () if keyring is None else gone_keys(keyring, history)
    if listed and not lines:
        again = max(history.destroyed[kid].seq for kid in listed)
        lines.append(
            f"{layout.keyring} lists {len(listed)} destroyed keys (entry {again}), and units go on sealing to them: "
            f"{destroy_command(layout, entries[again])}, then bring the keyring to every unit"
        )
    return lines


def _missing(layout: OwnerLayout, history: KeyHistory) -> list[str]:
    """Return what must be in the folder and is not."""
    keyring = keyring_missing(layout, history)
    lost = [
        f"{layout.case_key(case)}: is missing, though reads were held for the case {case} (entry {entry.seq}): half a "
        "copy of the folder, or a hold that was cut off. Bring it back from a whole copy, or hold the reads again"
        for case, entry in sorted(history.held.items())
        if not layout.case_key(case).exists()
    ]
    return lost if keyring is None else [keyring, *lost]


def _tell_left(layout: OwnerLayout, entry: AuditEntry, left: int) -> str:
    return (
        f"entry {entry.seq} destroyed {entry.count} keys, and {left} of them are still in {layout.private}: it was cut "
        f"off, or a copy of them was put back. They open nothing; to erase them: {destroy_command(layout, entry)}"
    )


def is_left(layout: OwnerLayout, case: str) -> bool:
    """Whether something of a case is in the folder: its key, a held read, or where they were."""
    return layout.case_key(case).parent.exists()


def _tell_case(layout: OwnerLayout, entry: AuditEntry) -> str:
    return (
        f"entry {entry.seq} closed the case {entry.case}, and its key or held reads are still in {layout.cases}: it "
        f"was cut off, or a copy was put back. They open nothing; to erase them: {close_command(layout, entry.case)}"
    )


def close_command(layout: OwnerLayout, case: str) -> str:
    """Return the command that closes a case, or finishes that."""
    return (
        f"plateseal custody close --dir {shlex.quote(str(layout.directory))} --case {shlex.quote(case)} --reason TEXT"
    )


def destroy_command(layout: OwnerLayout, entry: AuditEntry) -> str:
    """Return the command that goes on with a destruction."""
    before = entry.scope.before
    when = "30d" if before is None else f"{before:%Y-%m-%dT%H:%M:%S}"
    return f"plateseal custody destroy --dir {shlex.quote(str(layout.directory))} --before {when} --reason TEXT"

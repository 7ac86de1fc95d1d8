"""What a receiver may drop: the keys that are destroyed, and the reads that are held all the same.

Owns: gathering it. Leaves to others: the list's form and what is done with it (`agent.receiver.retention`). Only public
parts of the owner's folder are read; no passphrase is needed.
"""

from __future__ import annotations

from agent.custody.cases import held_reads
from agent.custody.layout import OwnerLayout
from agent.custody.next_keyring import key_history
from agent.custody.owner import owner_public, private_files
from agent.receiver.retention import LIST_VERSION, DestroyedList


def destroyed_list(layout: OwnerLayout) -> tuple[DestroyedList, int]:
    """Return the list, and how many keys are left out of it because their files are here although they were destroyed.

    Raises:
        KeyFileError: A file or folder cannot be read, or a held read is not what the owner held.
        CustodyError: The audit log cannot be read.
    """
    history = key_history(layout, owner_public(layout))
    here = {kid for kid, _ in private_files(layout)}
    held = frozenset[str]().union(*held_reads(layout, closed=history.closed).values())
    gone = sorted(kid.hex() for kid in history.destroyed.keys() - here)
    return DestroyedList(v=LIST_VERSION, destroyed=gone, held=sorted(held)), len(here & history.destroyed.keys())

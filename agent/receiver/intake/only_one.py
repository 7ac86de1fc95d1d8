"""One running receiver for each folder.

Owns: that rule. Leaves to others: the lock (`agent.disk.lock`). Commands that enrol, renew, verify and back up work
beside a receiver that runs, and do not ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from agent.disk.lock import FolderLock
from agent.errors import ReceiverError


@contextmanager
def only_receiver(directory: Path) -> Iterator[None]:
    """Hold a receiver's folder for the block. One that cannot be opened is told by whatever needs its files.

    Raises:
        ReceiverError: Another receiver runs with it.
    """
    with ExitStack() as held:
        try:
            held.enter_context(FolderLock(directory))
        except BlockingIOError:
            words = "a receiver runs with this folder already; only one may, so end that one first"
            raise ReceiverError(f"{directory}: {words}") from None
        except OSError:
            pass
        yield

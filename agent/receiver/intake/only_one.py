"""One running receiver for each folder.

Owns: that rule. Leaves to others: the lock (`agent.disk.lock`). Commands that enrol, renew, verify and back up work
beside a receiver that runs, and do not ask for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.disk.lock import FolderLock
from agent.errors import ReceiverError


@contextmanager
def only_receiver(directory: Path) -> Iterator[None]:
    """Hold a receiver's folder for the block.

    Raises:
        ReceiverError: Another receiver runs with it, or it cannot be opened.
    """
    try:
        lock = FolderLock(directory)
    except BlockingIOError:
        raise ReceiverError(
            f"{directory}: a receiver runs with this folder already; only one may, so end that one first"
        ) from None
    except OSError as error:
        raise ReceiverError(f"{directory}: {error.strerror or error}") from None
    with lock:
        yield

"""A receiver's folder that lacks a part: what is said then, by whichever command meets it first.

Owns: these words. Leaves to others: the parts (`layout`), and what is wrong with one that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import KeyFileError, ReceiverError
from agent.receiver.layout import ReceiverLayout


@contextmanager
def missing_parts_named(directory: Path) -> Iterator[None]:
    """Say of a missing part how to get it, where something in the block needs it.

    Raises:
        KeyFileError, ReceiverError: Whatever of these the block raises.
    """
    try:
        yield
    except (KeyFileError, ReceiverError) as error:
        parts = ReceiverLayout(directory).everything
        gone = [path for path in parts if not path.exists()]
        part = next((path for path in gone if str(error).startswith(f"{path}:")), None)
        if part is None:
            raise
        if gone == list(parts):
            raise type(error)(
                f"{directory}: holds no receiver; to make one: plateseal receiver init {directory}"
            ) from None
        cut_off = ", which a backup that was cut off lacks" if part == ReceiverLayout(directory).store else ""
        raise type(error)(
            f"{part}: is missing, a part of the receiver's folder{cut_off}; put it back from a backup (docs/BACKUP.md, "
            "Restore)"
        ) from None

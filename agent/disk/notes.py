"""Notes in the state directory: small files that are replaced whole.

Owns: the steps of a replacement through the `Files` port, for which tests have a disk that loses power. Without a port
that is `durable.replace_file`. Leaves to others: what a note says, and how it is read.
"""

from __future__ import annotations

from pathlib import Path

from agent.ports import Files


def replace_note(files: Files, path: Path, note: bytes) -> None:
    """Replace a note: whoever looks, also after a power cut, finds the old one or the new one, whole.

    Raises:
        SpoolError: The disk refused. The note is the old one or the new one.
    """
    temporary = path.with_name(f".{path.name}.new")
    files.unlink(temporary)
    files.create(temporary, note)
    files.rename(temporary, path)
    files.sync_dir(path.parent)

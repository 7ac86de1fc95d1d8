"""The system calls that make files durable: create, replace, rename, overwrite, erase, sync.

Owns: every `fsync` and every rename of the package, and their order. `LocalFiles` (the spool and the daemons' notes),
key files, the audit log and downloads all use these functions. Leaves to others: what the files hold, and how an
error is told: every function raises the `OSError` that it met, and its caller translates it.

"Survives a power cut" means here: the kernel has told the disk to store it, and the disk has said that it did.

Invariants: a descriptor is synced once, whatever comes of it, for a second `fsync` may claim success after a first one
failed; every descriptor is closed; no symbolic link is followed at the last part of a path.
"""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Final

OVERWRITE_CHUNK_BYTES: Final = 1 << 16
"""Zeros written at a time."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def create_file(path: Path, data: bytes, *, mode: int) -> None:
    """Write a file that was not there. After the return, its content and its name survive a power cut.

    A power cut before the return may leave no file, an empty one, or a part of it.

    Args:
        path: The new file.
        data: All of its content.
        mode: Permission bits, whatever the umask is.

    Raises:
        FileExistsError: A file is there; it is left as it is.
        OSError: The disk refused. No new file is left.
    """
    descriptor = open_new(path, mode=mode)
    try:
        write_whole(descriptor, data, mode=mode)
        sync_directory(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def replace_file(path: Path, data: bytes, *, mode: int) -> None:
    """Put a file in the place of the one that may be there. After the return, the new file survives a power cut.

    Whoever looks, also after a power cut at any moment, finds the old file or the new one, whole.

    Raises:
        OSError: The disk refused. The old file is there, or the new one.
    """
    temporary = _draft_of(path)
    temporary.unlink(missing_ok=True)  # of an earlier process that had this id and was cut off
    create_file(temporary, data, mode=mode)
    try:
        rename_durably(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def replace_unsynced(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file that may be lost. Whoever looks finds the old file or the new one, whole, as long as power lasts.

    Nothing is promised after a power cut: the old file, the new one, an empty one or none. For what is written often
    and is worth nothing after a restart.

    Args:
        path: The file.
        data: All of its content.
        mode: Permission bits, whatever the umask is.

    Raises:
        OSError: The disk refused. The old file is as it was.
    """
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        _set_mode(descriptor, mode)
        _write_all(descriptor, data)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def rename_durably(source: Path, target: Path) -> None:
    """Rename within one file system, over what is there. After the return, the new name survives a power cut.

    Whoever looks, also after a power cut at any moment, finds what was at `target` before, or `source`. Sync the
    content of `source` first: a durable name says nothing of what it leads to.

    Raises:
        OSError: The disk refused. The file has one of the two names.
    """
    rename(source, target)
    sync_directory(target.parent)


def rename(source: Path, target: Path) -> None:
    """Rename within one file system, over what is there. After a power cut either name may be the one that is found.

    Sync the directories (`sync_directory`) to make the new name survive.

    Raises:
        OSError: The disk refused.
    """
    os.rename(source, target)  # noqa: PTH104  the hot path of the spool: pathlib's own takes twice as long


def link(source: Path, target: Path) -> None:
    """Give a file a second name. It survives a power cut when the directory of `target` has been synced.

    Raises:
        FileExistsError: Something has that name.
        OSError: The disk refused.
    """
    os.link(source, target, follow_symlinks=False)


def remove_file(path: Path) -> None:
    """Remove a name. After the return, that it is gone survives a power cut. The content may stay on the disk.

    Raises:
        FileNotFoundError: No file is there.
        OSError: The disk refused. The name may be gone, or be there again after a power cut.
    """
    path.unlink()
    sync_directory(path.parent)


def erase_file(path: Path) -> None:
    """Write zeros over a secret, then remove it. After the return, both survive a power cut.

    The zeros are on the disk before the name goes, so a power cut leaves no name that leads to a part of the secret,
    and no secret without a name. On flash the old cells may keep their charge (docs/THREAT-MODEL.md).

    Raises:
        FileNotFoundError: No file is there.
        OSError: The disk refused. The file may be there, as it was or overwritten.
    """
    overwrite_file(path)
    remove_file(path)


def overwrite_file(path: Path) -> None:
    """Write zeros over all of a file. After the return, they survive a power cut; the file's times need not.

    Raises:
        OSError: The disk refused. A part of the file may be overwritten.
    """
    descriptor = _open_to_overwrite(path)
    try:
        _overwrite(descriptor)
    finally:
        os.close(descriptor)


def replace_secret(source: Path, target: Path) -> None:
    """Rename `source` over a secret at `target`, then write zeros over the old secret, which has no name any more.

    After the return, the new file and the zeros survive a power cut. After one in between, the old bytes may stay in
    blocks that no name leads to.

    Raises:
        OSError: The disk refused. `target` is the old file or the new one, whole.
    """
    descriptor = _open_to_overwrite(target)  # before the rename: afterwards nothing leads to the old file
    try:
        rename_durably(source, target)
        _overwrite(descriptor)
    finally:
        os.close(descriptor)


def make_directory(directory: Path, *, mode: int) -> None:
    """Make a directory if it is missing. After the return, its name survives a power cut.

    The directory above is synced also if this one is there: an earlier start may have been cut off in between.

    Raises:
        OSError: The disk refused, or something else has the name.
    """
    directory.mkdir(mode=mode, exist_ok=True)
    sync_directory(directory.parent)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory survive a power cut: those that came, and that others are gone.

    Raises:
        OSError: The disk refused.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_content(descriptor)
    finally:
        os.close(descriptor)


def sync_content(descriptor: int) -> None:
    """Make what was written to a file survive a power cut, and its length. The file's name is its directory's matter.

    Call it once for each descriptor and change. After an error nobody knows what is on the disk: give the file up.

    Raises:
        OSError: The disk refused.
    """
    os.fsync(descriptor)


def open_new(path: Path, *, mode: int) -> int:
    """Open a file that was not there, to write. Nothing of it survives a power cut yet.

    Returns:
        The descriptor, which the caller closes; `write_whole` does.

    Raises:
        FileExistsError: Something has that name.
        OSError: The disk refused.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)


def write_whole(descriptor: int, data: bytes, *, mode: int) -> None:
    """Write all of a new file and close it. After the return its content survives a power cut; its name may not yet.

    Args:
        descriptor: From `open_new`; closed in any case.
        data: All of the content.
        mode: Permission bits, whatever the umask is. A file system that has one mode for all files (vfat) keeps it, if
            that is no more open to others.

    Raises:
        OSError: The disk refused. The file may be there in part.
    """
    try:
        _set_mode(descriptor, mode)
        _write_all(descriptor, data)
        now_ns = time.time_ns()  # the kernel's own stamp moves in steps of milliseconds, too coarse to order by
        os.utime(descriptor, ns=(now_ns, now_ns))
        sync_content(descriptor)
    finally:
        os.close(descriptor)


def _set_mode(descriptor: int, mode: int) -> None:
    try:
        os.fchmod(descriptor, mode)
    except PermissionError:
        if stat.S_IMODE(os.fstat(descriptor).st_mode) & _OTHERS & ~mode:
            raise


def _draft_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.new")


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _open_to_overwrite(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


def _overwrite(descriptor: int) -> None:
    """Write zeros over all of a file that has just been opened."""
    remaining = os.fstat(descriptor).st_size
    while remaining > 0:
        remaining -= os.write(descriptor, bytes(min(remaining, OVERWRITE_CHUNK_BYTES)))
    os.fdatasync(descriptor)

"""A second copy of an owner's folder, byte for byte, that was read back and opened.

Owns: which files belong to the folder, their order in the copy, and what a good copy is. Leaves to others: where copies
are kept. `owner.key` is written last: a copy that was cut off says that it is half a copy, whoever opens it.

Invariant: nothing is overwritten, and no other act is entered while files are copied.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agent.custody.audit import AuditLog, read_audit
from agent.custody.audit_entry import Action, Mandate
from agent.custody.audit_head import head_fault
from agent.custody.layout import SUFFIX, OwnerLayout
from agent.custody.locked import KeyUse
from agent.custody.next_keyring import key_history, require_keyring
from agent.custody.owner import Owner, make_folder, private_files, unlock_owner
from agent.errors import CustodyError, KeyFileError, UsageError
from agent.keys.keyfiles import PRIVATE_MODE, PUBLIC_MODE, replace_file, write_new_file


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy holds.

    Attributes:
        files: How many files.
        keys: Private keys among them: the owner's, epochs' and cases'.
        left_out: Names in the folder that are no part of it, such as half entries that were set aside. The
            index is not named: it can be made anew.
    """

    files: int
    keys: int
    left_out: tuple[str, ...]


def copy_folder(
    owner: Owner, passphrase: bytes | None, out: Path, mandate: Mandate, *, watch: Callable[[int, int], None]
) -> Copied:
    """Copy an owner's folder into a new one, read it back, and open every key in the copy.

    Args:
        owner: The owner whose folder it is.
        passphrase: That of the folder, to open the copy with; None where it is under none.
        out: A new or empty folder; its parent must exist.
        mandate: Who copies.
        watch: Told how many files are copied, of how many.

    Raises:
        UsageError: `out` holds something, cannot be made, or lies in the folder itself.
        KeyFileError: A file cannot be read or written, or a key in the copy does not open.
        AuditVerificationError: The audit log does not verify; nothing was copied.
        CustodyError: The disk refused, or the folder changed while it was copied.
    """
    layout, copied = owner.layout, OwnerLayout(out)
    require_keyring(layout, key_history(layout, owner.public_key))
    _claim(out, layout.directory)
    log = AuditLog(owner)
    keys = len(_keys(layout))
    log.append(Action.COPY, mandate, count=keys)
    with log.standing_still():
        names = [path.relative_to(layout.directory) for path in _files(layout)]
        for folder in sorted({parent for name in names for parent in name.parents} | {Path("private"), Path()}):
            make_folder(out / folder)
        for number, name in enumerate(names):
            watch(number, len(names))
            _write(out / name, _read(layout.directory / name), layout)
        changed = [str(name) for name in names if _read(layout.directory / name) != _read(out / name)]
        if changed or names != [path.relative_to(layout.directory) for path in _files(layout)]:
            raise CustodyError(f"{layout.directory}: changed while it was copied, or the copy is another: {changed}")
    _open(copied, passphrase)
    every = {path.relative_to(layout.directory) for path in layout.directory.rglob("*") if not path.is_dir()}
    every -= {path.relative_to(layout.directory) for path in layout.index.glob("*")}
    return Copied(len(names), keys, tuple(sorted(str(name) for name in every - set(names))))


def _claim(out: Path, directory: Path) -> None:
    if out.resolve().is_relative_to(directory.resolve()):
        raise UsageError(f"--out {out}: lies in the folder that is copied")
    try:
        out.mkdir(mode=0o700, exist_ok=True)
        occupied = any(out.iterdir())
    except OSError as error:
        raise UsageError(f"--out {out}: cannot be made or listed: {error.strerror}") from None
    if occupied:
        raise UsageError(f"--out {out}: not empty; a copy wants a new or empty folder, so that nothing is overwritten")


def _keys(layout: OwnerLayout) -> list[Path]:
    return [*(path for _, path in private_files(layout)), *layout.case_keys, layout.owner_key]


def _files(layout: OwnerLayout) -> list[Path]:
    """Return the folder's files that are there, `owner.key` last."""
    first = (layout.owner_public, layout.keyring, layout.audit, layout.audit_head)
    held = sorted(layout.cases.glob(f"*/held/*{SUFFIX}"))
    return [*(path for path in first if path.exists()), *held, *_keys(layout)]


def _read(path: Path) -> bytes:
    try:
        if path.is_symlink():
            raise CustodyError(f"{path}: is a link; a folder with links cannot be copied whole")
        return path.read_bytes()
    except OSError as error:
        raise CustodyError(f"{path}: {error.strerror or error}") from None


def _write(path: Path, data: bytes, layout: OwnerLayout) -> None:
    if path.name == layout.owner_key.name:  # whole or not there: it says that the copy is complete
        replace_file(path, data, PRIVATE_MODE)
        return
    is_public = path.name in (layout.owner_public.name, layout.keyring.name)
    write_new_file(path, data, PUBLIC_MODE if is_public else PRIVATE_MODE)


def _open(layout: OwnerLayout, passphrase: bytes | None) -> None:
    """Open every key in the copy, and verify its log."""
    owner = unlock_owner(layout.directory, passphrase)
    history = key_history(layout, owner.public_key)
    owner.private_keys(but=history.destroyed)
    for path in layout.case_keys:
        if not history.is_closed(path.parent.name):
            owner.load_key(path, use=KeyUse.CASE)
    owner.keyring()
    report = read_audit(layout.audit, owner.public_key)
    faults = [*report.findings]
    fault = head_fault(layout, owner.public_key, report.entries, report.digests)
    if fault is not None:
        faults.append(fault)
    if faults:
        raise KeyFileError(f"{layout.audit}: {faults[0]}")


__all__ = ["Copied", "copy_folder"]

"""Putting an owner's key files under another passphrase, also where a crash cuts it off.

Owns: the order of it. First everything is opened, so that nothing is begun which cannot be finished; then the act is
entered, `passphrase.change` is written, and one file after the other is replaced by one under the new passphrase,
`owner.key` last; then `passphrase.change` goes. Leaves to others: the form of a key file (`locked`).

Invariants: each key file is under the old passphrase or under the new one, whole, at any moment. While
`passphrase.change` is there nothing else is done with the folder (`unlock_owner`), and the same command finishes it.
A replaced file is overwritten with zeros; copies of the folder stay under the old passphrase.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.custody.audit import AuditLog
from agent.custody.audit_entry import Action, Mandate
from agent.custody.layout import OwnerLayout
from agent.custody.locked import DEFAULT_SCRYPT, SALT_BYTES, KeyLock, KeyUse, ScryptParameters, is_locked, parse_locked
from agent.custody.next_keyring import key_history
from agent.custody.owner import (
    Owner,
    closed_key,
    is_under_passphrase,
    opened_key,
    owner_public,
    parse_owner_key,
    private_files,
)
from agent.disk import durable
from agent.errors import CustodyError, FormatError, KeyFileError
from agent.keys.keyfiles import PRIVATE_MODE, read_private_file, replace_file
from agent.wire import cbor, cose

_WHAT: Final = "passphrase.change"
_KEYS: Final = frozenset({"v", "salt", "scrypt"})
_MAX_BYTES: Final = 1 << 10


@dataclass(frozen=True, slots=True)
class Changed:
    """What a change did.

    Attributes:
        files: Key files that were replaced.
        before: Key files that an earlier change, which was cut off, had replaced already.
    """

    files: int
    before: int


@dataclass(frozen=True, slots=True)
class _Passphrases:
    """The two, as locks.

    Attributes:
        old: Opens what is not changed yet; None where that is under no passphrase.
        new: Closes what is changed; its salt tells which files those are.
    """

    old: KeyLock | None
    new: KeyLock


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """A key file, opened.

    Attributes:
        path, use, kid: Which it is.
        cose_key: What is in it.
        is_changed: Whether it is under the new passphrase.
    """

    path: Path
    use: KeyUse
    kid: bytes
    cose_key: bytes = field(repr=False)
    is_changed: bool


def change_passphrase(
    directory: Path, old: bytes | None, new: bytes, mandate: Mandate, *, watch: Callable[[int, int], None]
) -> Changed:
    """Put every key file of an owner under a new passphrase, or finish what was cut off.

    Args:
        directory: The owner's.
        old: The passphrase that the files are under; None where they are under none.
        new: The other one.
        mandate: Who does it.
        watch: Told how many files are done, of how many.

    Raises:
        KeyFileError: A file opens with neither passphrase, or cannot be used; nothing was changed.
        AuditVerificationError: The audit log does not verify; nothing was changed.
        CustodyError: The disk refused; run it again, with the same two passphrases.
    """
    layout = OwnerLayout(directory)
    is_under_passphrase(directory)  # says what is wrong with a folder that is none
    is_begun = layout.passphrase_change.exists()
    new_lock = _load_change(layout.passphrase_change, new) if is_begun else KeyLock(new, scrypt=_cost(layout))
    both = _Passphrases(None if old is None else KeyLock(old), new_lock)
    files = [_read(path, use, kid, both) for path, use, kid in _paths(layout)]
    todo = [file for file in files if not file.is_changed]
    if todo:
        owner = Owner(layout=layout, signing_key=parse_owner_key(files[-1].cose_key), lock=new_lock)
        AuditLog(owner).append(Action.PASSPHRASE, mandate, count=len(todo))
        if not is_begun:
            replace_file(layout.passphrase_change, _encode_change(new_lock), PRIVATE_MODE)
    for number, file in enumerate(todo):
        watch(number, len(todo))
        _replace(file, new_lock)
    _end(layout.passphrase_change)
    return Changed(files=len(todo), before=len(files) - len(todo))


def _paths(layout: OwnerLayout) -> list[tuple[Path, KeyUse, bytes | None]]:
    """Return the key files, `owner.key` last; those whose destruction was entered are left as they are."""
    history = key_history(layout, owner_public(layout))
    return [
        *((path, KeyUse.EPOCH, kid) for kid, path in private_files(layout) if kid not in history.destroyed),
        *((path, KeyUse.CASE, None) for path in layout.case_keys if not history.is_closed(path.parent.name)),
        (layout.owner_key, KeyUse.OWNER, None),
    ]


def _read(path: Path, use: KeyUse, kid: bytes | None, both: _Passphrases) -> _KeyFile:
    """Open a key file with the passphrase that it is under."""
    data = read_private_file(path)
    try:
        is_changed = is_locked(data) and parse_locked(data).salt == both.new.salt
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None
    if is_locked(data) and not is_changed and both.old is None:
        raise KeyFileError(f"{path}: is under a passphrase, and the old one was not given")
    lock = both.new if is_changed else both.old if is_locked(data) else None
    try:
        cose_key, named = opened_key(data, path, use=use, kid=kid, lock=lock)
    except KeyFileError as error:
        raise KeyFileError(f"{error}. It is under the {'new' if is_changed else 'old'} passphrase") from None
    found = _kid_in(cose_key, path)
    if named is not None and named != found:
        raise KeyFileError(
            f"{path}: holds another key than its name says; bring it back from a whole copy of the folder"
        )
    return _KeyFile(path, use, found, cose_key, is_changed)


def _kid_in(cose_key: bytes, path: Path) -> bytes:
    try:
        value = cbor.as_map(cbor.decode(cose_key, max_bytes=len(cose_key), what="private key"), "private key")
        return cbor.as_bytes(value.get(cose.KEY_KID), cose.KID_BYTES, "private key")
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None


def _replace(file: _KeyFile, lock: KeyLock) -> None:
    """Put a file under the new passphrase in the place of the old one, whose content is overwritten."""
    data = closed_key(file.cose_key, use=file.use, kid=file.kid, lock=lock)
    draft = file.path.with_name(f"{file.path.name}.new")
    try:
        draft.unlink(missing_ok=True)  # of a change that was cut off
        durable.create_file(draft, data, mode=PRIVATE_MODE)
        durable.replace_secret(draft, file.path)
    except OSError as error:
        raise CustodyError(f"{file.path}: cannot be replaced: {error.strerror or error}; run it again") from None


def _end(path: Path) -> None:
    try:
        if path.exists():
            durable.remove_file(path)
    except OSError as error:
        raise CustodyError(f"{path}: cannot be removed: {error.strerror or error}; run it again") from None


def _cost(layout: OwnerLayout) -> ScryptParameters:
    """Return the cost of one guess at the passphrase that the owner's files have now."""
    data = read_private_file(layout.owner_key)
    try:
        return parse_locked(data).scrypt if is_locked(data) else DEFAULT_SCRYPT
    except FormatError as error:
        raise KeyFileError(f"{layout.owner_key}: {error}") from None


def _encode_change(lock: KeyLock) -> bytes:
    cost = lock.scrypt
    return cbor.encode({"v": 1, "salt": lock.salt, "scrypt": [cost.n, cost.r, cost.p]})


def _load_change(path: Path, new: bytes) -> KeyLock:
    """Return the lock of a change that was cut off: with its salt, which tells the files that it had reached."""
    try:
        data = read_private_file(path, what=_WHAT)
        value = cbor.as_map(cbor.decode(data, max_bytes=_MAX_BYTES, what=_WHAT), _WHAT)
        cbor.exact_keys(value, _KEYS, _WHAT)
        n, r, p = (cbor.as_uint(part, 1 << 20, _WHAT) for part in cbor.as_list(value["scrypt"], 3, _WHAT))
        return KeyLock(
            new, salt=cbor.as_bytes(value["salt"], SALT_BYTES, _WHAT), scrypt=ScryptParameters(n=n, r=r, p=p)
        )
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}. If no key file was changed yet, remove it") from None


__all__ = ["Changed", "change_passphrase"]

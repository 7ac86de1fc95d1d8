"""The doctor's look at files that can be judged at once, without a camera, a model or the network.

Owns: folders, private keys, keyring, and whether the spool's disk takes writes. `plateseal status` looks here too, so
it says of the same fault the same words. Nothing is written.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from agent.config.models import UnitConfig
from agent.disk.files import LocalFiles
from agent.errors import KeyFileError, PlatesealError
from agent.health.assess import assess_keyring
from agent.keys.keyfiles import load_ed25519_private, load_ed25519_public, read_private_file
from agent.keys.keyring import keyring_end, read_keyring
from agent.keys.keyring_serial import SerialNote
from agent.unit.doctor.confinement import service_uid
from agent.unit.doctor.finding import Finding, Outcome, of_health
from agent.unit.doctor.mends import try_disk
from agent.unit.process.unit_files import new_identity, told


def permissions(unit: UnitConfig) -> Iterator[Finding]:
    """Whether the unit's folders and private keys are its own."""
    owner = service_uid(unit)
    for path in (unit.state_dir, unit.spool.directory):
        yield _folder(path, owner)
    for path, load in ((unit.seal.signing_key, load_ed25519_private), (unit.upload.key, read_private_file)):
        try:
            load(path)
        except KeyFileError as error:
            what, mend = told(unit, error, f"chmod 600 {path}" if "run: chmod" in str(error) else new_identity(unit))
            why = "without it the daemon does not start; open to others, the unit can be imitated"
            yield Finding("private keys", Outcome.FAULT, what, why, mend)
        else:
            yield Finding("private keys", Outcome.GOOD, f"{path.name} is closed to others")


def keyring(unit: UnitConfig) -> Finding:
    """Whether there is somebody to seal to."""
    try:
        found, data = read_keyring(unit.seal.keyring, load_ed25519_public(unit.seal.owner_key))
        SerialNote(unit.state_dir, LocalFiles()).check(found, data)
    except PlatesealError as error:
        both = f"bring the owner's newest keyring.cose and owner.pub to {unit.seal.keyring} and {unit.seal.owner_key}"
        why = "reads are sealed to the keys that the pinned owner has signed, and to no others"
        what, mend = told(unit, error, both)
        return Finding("keyring", Outcome.FAULT, what, why, mend)
    left = keyring_end(found) - datetime.now(UTC)
    short = assess_keyring(int(left.total_seconds()))
    if short is None:
        return Finding("keyring", Outcome.GOOD, f"serial {found.serial}, {left / timedelta(days=1):.0f} days left")
    return of_health(short, more=f" (serial {found.serial})")


def read_only(unit: UnitConfig) -> Finding | None:
    """Whether the spool's disk has become read-only, as a memory card does before it dies; None where it has not."""
    directory = unit.spool.directory
    try:
        is_read_only = bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except OSError:
        return None  # another check says what is wrong with the folder
    if not is_read_only:
        return None
    what = f"{directory} is on a read-only file system"
    why = "no read can be accepted; a memory card that dies turns read-only first"
    return Finding("spool", Outcome.FAULT, what, why, try_disk(directory))


def _folder(path: Path, owner: int) -> Finding:
    check, why = "permissions", "whoever may write there can take reads away; whoever may read there sees the counts"
    try:
        status = path.stat()
    except FileNotFoundError:
        return Finding(
            check, Outcome.WARNING, f"{path} is not there yet", "the first start makes it", "start the services"
        )
    except OSError as error:
        return Finding(check, Outcome.FAULT, f"{path}: {error.strerror}", why, f"sudo ls -ld {path}")
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISDIR(status.st_mode):
        what = f"{path}: is no directory"
        return Finding(check, Outcome.FAULT, what, "the daemons cannot use it", f"rm {path}; mkdir -m 700 {path}")
    if mode & 0o077:
        return Finding(check, Outcome.FAULT, f"{path}: mode {mode:04o} lets others in", why, f"chmod 700 {path}")
    if status.st_uid != owner:
        name = _user_name(owner)
        what = f"{path} belongs to {_user_name(status.st_uid)}, the daemons run as {name}"
        return Finding(check, Outcome.FAULT, what, "they cannot use it", f"chown -R {name}: {path}")
    return Finding(check, Outcome.GOOD, f"{path} is the daemons' own")


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

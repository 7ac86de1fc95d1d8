"""The files that a unit is given or makes, what each is, and how to get one that is missing.

Owns: these words, for the daemons and the doctor. Leaves to others: reading the files, and what is wrong with their
content.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.config.models import UnitConfig
from agent.errors import KeyFileError, PlatesealError
from agent.keys.identity import ENROLMENT_NAME

_ENROL: Final = "plateseal receiver enrol RECEIVER enrolment.json"


@dataclass(frozen=True, slots=True)
class UnitFile:
    """One file.

    Attributes:
        path: Where the configuration has it.
        what: What it is.
        mend: How to get it.
    """

    path: Path
    what: str
    mend: str

    @property
    def missing(self) -> str:
        """What is said where it is not there."""
        return f"{self.path}: is missing; it is {self.what}"


def enrol(unit: UnitConfig) -> str:
    """Say how the unit gets its certificate, or another one."""
    return f"at the receiver: {_ENROL}; then bring tls.pem to {unit.upload.certificate}"


def new_identity(unit: UnitConfig) -> str:
    """Say how the unit gets its keys: for the first time, or new ones where they are lost, with the old folder kept."""
    folder = unit.seal.signing_key.parent
    init = f"plateseal device init --name {unit.camera_id} --dir {folder}"
    if not (folder / ENROLMENT_NAME).exists():
        return f"on this unit: {init}; {enrol(unit)} (docs/ENROL.md)"
    return (
        f"bring the right file back; if it is lost, make new keys: mv {folder} {folder}.lost; {init}; at the receiver: "
        f"{_ENROL} --another-key; then bring tls.pem to {unit.upload.certificate}"
    )


def unit_files(unit: UnitConfig) -> Iterator[UnitFile]:
    """Yield the files that a unit does not work without."""
    seal, upload = unit.seal, unit.upload
    yield UnitFile(seal.signing_key, "this unit's private signing key", new_identity(unit))
    yield UnitFile(upload.key, "this unit's private TLS key", new_identity(unit))
    certificate = "this unit's TLS certificate, which the receiver issues"
    yield UnitFile(upload.certificate, certificate, enrol(unit))
    ca = "the certificate of the CA that the receiver's own is by"
    yield UnitFile(upload.ca, ca, f"bring ca.pem from the receiver to {upload.ca}")
    receipts = "the receiver's public receipt key"
    yield UnitFile(upload.receiver_key, receipts, f"bring receipt.pub from the receiver to {upload.receiver_key}")
    yield UnitFile(seal.owner_key, "the owner's public key", f"bring owner.pub from the owner to {seal.owner_key}")
    yield UnitFile(seal.keyring, "the owner's signed keyring", f"bring keyring.cose from the owner to {seal.keyring}")
    for camera in unit.cameras:
        login = camera.source.credential
        if login is not None:
            mend = f"write USER:PASSWORD into {login}, then: chmod 600 {login}"
            yield UnitFile(login, f"the login of camera {camera.camera_id}", mend)


def missing_file(unit: UnitConfig, error: PlatesealError) -> UnitFile | None:
    """Return the file that an error tells of where that file is not there; else None."""
    return next(
        (
            each
            for each in unit_files(unit)
            if str(error).startswith(f"{each.path}:") and not os.path.lexists(each.path)
        ),
        None,
    )


def told(unit: UnitConfig, error: PlatesealError, mend: str) -> tuple[str, str]:
    """Return what an error says, and what mends it: `mend`, unless a file is missing, which has words of its own."""
    missing = missing_file(unit, error)
    return (str(error), mend) if missing is None else (missing.missing, missing.mend)


@contextmanager
def missing_files_named(unit: UnitConfig) -> Iterator[None]:
    """Say of a missing file what it is and how to get it, where something in the block needs it.

    Raises:
        KeyFileError: Whatever the block raises.
    """
    try:
        yield
    except KeyFileError as error:
        missing = missing_file(unit, error)
        if missing is None:
            raise
        raise KeyFileError(f"{missing.missing}; {missing.mend}") from None

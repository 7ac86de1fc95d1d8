"""Where an owner keeps what: the one place that knows the names in the owner's directory.

```
DIR/owner.key                 the owner's signing key: signs keyrings and the audit log
DIR/owner.pub                 its public half (PEM), pinned on every device
DIR/keyring.cose              recipient public keys and their epochs, signed: copied to every device
DIR/audit.cose                what was done with the keys, signed and chained
DIR/audit.head                where that log ends, signed
DIR/private/KID.cose          one private key per epoch: destroy the file, and the epoch is unreadable
DIR/passphrase.change         while the passphrase is changed: the salt of the new one
DIR/index/LOG-ID.index        which reads a part of a store has, closed with the keys of the reads; can be made anew
DIR/cases/CASE/case.key       the private key of a case
DIR/cases/CASE/held/ID.cose   the content key of one held read, sealed to the case's key
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from agent.errors import UsageError

SUFFIX: Final = ".cose"
MAX_CASE_CHARS: Final = 64
MAX_FOLDER_CHARS: Final = 200
"""Longest folder name of a case, after quoting; file systems stop at 255 bytes."""


@dataclass(frozen=True, slots=True)
class OwnerLayout:
    """The files of one owner.

    Attributes:
        directory: All of them are in it.
    """

    directory: Path

    @property
    def owner_key(self) -> Path:
        """The owner's signing key."""
        return self.directory / "owner.key"

    @property
    def owner_public(self) -> Path:
        """Its public half (PEM)."""
        return self.directory / "owner.pub"

    @property
    def keyring(self) -> Path:
        """The signed keyring."""
        return self.directory / "keyring.cose"

    @property
    def audit(self) -> Path:
        """The audit log."""
        return self.directory / "audit.cose"

    @property
    def audit_head(self) -> Path:
        """Where the audit log ends."""
        return self.directory / "audit.head"

    @property
    def passphrase_change(self) -> Path:
        """Is there while the passphrase is changed."""
        return self.directory / "passphrase.change"

    @property
    def private(self) -> Path:
        """Folder of the epochs' private keys."""
        return self.directory / "private"

    @property
    def index(self) -> Path:
        """Folder of the index of a store; it may be missing."""
        return self.directory / "index"

    @property
    def cases(self) -> Path:
        """Folder of the cases."""
        return self.directory / "cases"

    @property
    def case_keys(self) -> list[Path]:
        """Files of the cases' private keys that are there, in order."""
        return sorted(self.cases.glob("*/case.key"))

    def private_key(self, kid: bytes) -> Path:
        """File of one epoch's private key."""
        return self.private / (kid.hex() + SUFFIX)

    def case_key(self, case: str) -> Path:
        """File of a case's private key."""
        return self.cases / case_folder(case) / "case.key"

    def held(self, case: str) -> Path:
        """Folder of the reads held for a case."""
        return self.cases / case_folder(case) / "held"

    def held_read(self, case: str, envelope_id: str) -> Path:
        """File of one read held for a case."""
        return self.held(case) / (envelope_id + SUFFIX)


def check_case(case: str) -> str:
    """Return `case` if it can name a case.

    Raises:
        UsageError: Empty, too long, or with control characters.
    """
    if not 1 <= len(case) <= MAX_CASE_CHARS or not case.isprintable() or case != case.strip():
        raise UsageError(f"--case: 1 to {MAX_CASE_CHARS} printable characters are allowed, no spaces at the ends")
    if len(case_folder(case)) > MAX_FOLDER_CHARS:
        raise UsageError(f"--case {case}: too long once written as a folder's name")
    return case


def case_folder(case: str) -> str:
    """Return the folder name of a case: itself, with other characters than A-Z a-z 0-9 _ - . ~ quoted as in URLs."""
    quoted = quote(case, safe="")
    return f"%2E{quoted[1:]}" if quoted.startswith(".") else quoted

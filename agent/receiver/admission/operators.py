"""Who may see the fleet: one file per certificate, looked up for every request.

Owns: `operators/NAME.FINGERPRINT.json`. A certificate makes an operator only through its file, whatever its subject
says: a unit's certificate never does, and an operator's opens no way to send, because no device's file names it.
Removing the file ends the certificate at once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from agent.errors import FormatError, ReceiverError
from agent.keys.keyfiles import PUBLIC_MODE, replace_file
from agent.receiver.admission import strictjson

OPERATOR_VERSION: Final = 1


class _OperatorFile(strictjson.Document):
    v: Annotated[int, strictjson.version(OPERATOR_VERSION)]
    name: str
    certificate_sha256: str
    issued_at: strictjson.Moment


@dataclass(frozen=True, slots=True)
class Operator:
    """A person who may see the fleet.

    Attributes:
        name: As the certificate was asked for.
        fingerprint: SHA-256 of the certificate (DER), lower-case hex.
        issued_at: Aware UTC time.
    """

    name: str
    fingerprint: str
    issued_at: datetime


class OperatorBook:
    """The operators of one receiver. Holds no state but the folder's path; safe for threads."""

    def __init__(self, directory: Path) -> None:
        """Look into `directory`, the `operators` folder, from now on; it need not be there."""
        self._directory = directory

    def by_certificate(self, certificate_der: bytes) -> Operator | None:
        """Return whose certificate this is, or None.

        Args:
            certificate_der: As the TLS layer has verified it against the CA.

        Raises:
            ReceiverError: The file is there but cannot be read or is damaged.
        """
        fingerprint = hashlib.sha256(certificate_der).hexdigest()
        path = next(self._directory.glob(f"*.{fingerprint}.json"), None)
        if path is None:
            return None
        return strictjson.look_up(
            path,
            lambda: _operator(strictjson.load_document(path, _OperatorFile, what=path.name), fingerprint, path.name),
        )

    def save(self, operator: Operator) -> Path:
        """Write an operator's file, durably, and return it.

        Raises:
            KeyFileError: The disk refused.
            ReceiverError: The folder cannot be made.
        """
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ReceiverError(f"{self._directory}: cannot be made: {error.strerror}") from None
        path = self._directory / f"{operator.name}.{operator.fingerprint}.json"
        value = {
            "v": OPERATOR_VERSION,
            "name": operator.name,
            "certificate_sha256": operator.fingerprint,
            "issued_at": operator.issued_at.isoformat(timespec="seconds"),
        }
        replace_file(path, json.dumps(value, indent=1).encode("ascii") + b"\n", PUBLIC_MODE)
        return path


def _operator(file: _OperatorFile, fingerprint: str, what: str) -> Operator:
    if file.certificate_sha256 != fingerprint:
        raise FormatError(f"{what}: holds another certificate than its name says")
    return Operator(file.name, fingerprint, file.issued_at)

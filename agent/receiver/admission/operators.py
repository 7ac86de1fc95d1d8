"""Who may see the fleet: one record per certificate, looked up for every request.

Owns: `operators/NAME.FINGERPRINT.json`. A certificate makes an operator only through its record, whatever its subject
says: a unit's certificate never does, and an operator's opens no way to send, because no device's file names it.
Removing the record ends the certificate at once.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

from agent.errors import FormatError
from agent.receiver.admission import strictjson
from agent.receiver.admission.shelf import parsed, shelf_of

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
    """The operators of one receiver. Remembers none of them; safe for threads."""

    def __init__(self, directory: Path) -> None:
        """Look into `directory`, the `operators` folder, from now on; it need not be there."""
        self._shelf = shelf_of(directory, may_be_missing=True)

    def by_certificate(self, certificate_der: bytes) -> Operator | None:
        """Return whose certificate this is, or None.

        Args:
            certificate_der: As the TLS layer has verified it against the CA.

        Raises:
            ReceiverError: The file is there but cannot be read or is damaged.
        """
        fingerprint = hashlib.sha256(certificate_der).hexdigest()
        suffix = f".{fingerprint}.json"
        name = next((each for each in self._shelf.names() if each.endswith(suffix)), None)
        if name is None:
            return None

        def parse(data: bytes) -> Operator:
            return _operator(strictjson.parse_document(data, _OperatorFile, what=name), fingerprint, name)

        return parsed(self._shelf, name, parse, max_bytes=strictjson.MAX_DOCUMENT_BYTES)

    def save(self, operator: Operator) -> str:
        """Write an operator's record, durably, and return what messages call it.

        Raises:
            KeyFileError: The disk refused.
            ReceiverError: The folder cannot be made, or the database refused.
        """
        value = {
            "v": OPERATOR_VERSION,
            "name": operator.name,
            "certificate_sha256": operator.fingerprint,
            "issued_at": operator.issued_at.isoformat(timespec="seconds"),
        }
        data = json.dumps(value, indent=1).encode("ascii") + b"\n"
        return self._shelf.write(f"{operator.name}.{operator.fingerprint}.json", data)


def _operator(file: _OperatorFile, fingerprint: str, what: str) -> Operator:
    if file.certificate_sha256 != fingerprint:
        raise FormatError(f"{what}: holds another certificate than its name says")
    return Operator(file.name, fingerprint, file.issued_at)

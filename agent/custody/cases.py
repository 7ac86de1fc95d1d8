"""Cases: a key of their own, and reads held for them beyond the life of their epoch's key.

```
held-read = COSE_recipient: [protected {1: alg, 4: case key id}, {-4: encapsulated key}, sealed content key]
```

The same structure, and the same HPKE info, as a recipient in the envelope itself: put into the envelope's list of
recipients, any COSE library with HPKE would use it. Envelope, held read and case key open together; any two do not.
"""

from __future__ import annotations

from typing import Final

from agent.custody.layout import SUFFIX, OwnerLayout
from agent.custody.locked import KeyUse
from agent.custody.opener import OpenedRead, PrivateKey, seal_content_key
from agent.custody.owner import Owner, make_folder, make_private_key
from agent.errors import FormatError, KeyFileError
from agent.keys.keyfiles import PRIVATE_MODE, read_private_file, replace_file
from agent.wire import cbor, suites
from agent.wire.envelope import RecipientSlot, parse_recipient, recipient_value

CASE_KEY_TYPE: Final = suites.KeyType.HYBRID
MAX_HELD_BYTES: Final = 4 << 10
"""A hybrid recipient has about 1.3 kB."""


def load_case_key(owner: Owner, case: str) -> PrivateKey | None:
    """Load a case's private key; None if the case has none.

    Raises:
        KeyFileError: It cannot be read, or is no case key.
    """
    path = owner.layout.case_key(case)
    return owner.load_key(path, use=KeyUse.CASE) if path.exists() else None


def make_case_key(owner: Owner, case: str) -> PrivateKey:
    """Make a case's key and its folder, durably.

    Raises:
        KeyFileError: It has one already, or the disk refused.
    """
    key = make_private_key(suites.SUITES[CASE_KEY_TYPE])
    make_folder(owner.layout.held(case), parents=True)
    owner.write_key(owner.layout.case_key(case), key, use=KeyUse.CASE)
    return key


def hold(owner: Owner, case: str, opened: OpenedRead, key: PrivateKey) -> None:
    """Seal an opened read's content key to the case's key, durably. Holding it again replaces the file.

    Raises:
        KeyFileError: The disk refused.
    """
    path = owner.layout.held_read(case, opened.envelope.envelope_id)
    replace_file(path, encode_held(seal_content_key(opened, key)), PRIVATE_MODE)


def load_held(layout: OwnerLayout, case: str, envelope_id: str) -> RecipientSlot | None:
    """Load what is held of one read for a case; None if nothing is.

    Raises:
        KeyFileError: The file cannot be read, or is no held read.
    """
    path = layout.held_read(case, envelope_id)
    if not path.exists():
        return None
    try:
        return parse_held(read_private_file(path))
    except FormatError as error:
        raise KeyFileError(f"{path}: {error}") from None


def held_reads(layout: OwnerLayout) -> dict[str, frozenset[str]]:
    """Return the ids of held reads by case folder, of cases whose key is there.

    Raises:
        KeyFileError: A folder cannot be read.
    """
    try:
        folders = [path.parent for path in sorted(layout.cases.glob("*/case.key"))]
        return {
            folder.name: frozenset(path.stem for path in (folder / "held").glob(f"*{SUFFIX}")) for folder in folders
        }
    except OSError as error:
        raise KeyFileError(f"{layout.cases}: {error.strerror or error}") from None


def encode_held(slot: RecipientSlot) -> bytes:
    """Encode the COSE_recipient of a held read."""
    return cbor.encode(recipient_value(slot))


def parse_held(data: bytes) -> RecipientSlot:
    """Parse the COSE_recipient of a held read.

    Raises:
        FormatError: Anything but the one layout.
    """
    what = "held read"
    return parse_recipient(cbor.decode(data, max_bytes=MAX_HELD_BYTES, what=what), what=what)

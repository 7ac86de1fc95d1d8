"""Cases: a key of their own, and reads held for them beyond the life of their epoch's key.

```
held-read = COSE_Sign1 (tag 18), EdDSA/Ed25519, by the owner's signing key
  protected: {1: -8, 3: "application/plateseal-held+cbor", 4: owner's key id}
  payload:   {"v": 2, "id": envelope id (32 bytes), "case": name, "slot": COSE_recipient}
COSE_recipient = [protected {1: alg, 4: case key id}, {-4: encapsulated key}, sealed content key]
```

The recipient has the same structure, and the same HPKE info, as one in the envelope itself: put into the envelope's
list of recipients, any COSE library with HPKE would use it. Envelope, held read and case key open together; any two do
not. The signature says that the owner held this read for this case, and nobody else did.

Version 1 was the recipient alone, without a signature. Such files still open their reads, which are of version 1.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.custody.layout import SUFFIX, OwnerLayout, case_folder
from agent.custody.locked import KeyUse
from agent.custody.opener import OpenedRead, PrivateKey, seal_content_key
from agent.custody.owner import Owner, make_folder, make_private_key
from agent.errors import FormatError, KeyFileError, VerificationError
from agent.keys.keyfiles import PRIVATE_MODE, load_ed25519_public, read_private_file, replace_file
from agent.wire import cbor, cose, suites
from agent.wire.envelope import Envelope, RecipientSlot, parse_recipient, recipient_value
from agent.wire.header import DIGEST_BYTES, FORMAT_VERSION, VERSION_1
from agent.wire.plaintext import MAX_NAME_CHARS

CASE_KEY_TYPE: Final = suites.KeyType.HYBRID
MAX_HELD_BYTES: Final = 4 << 10
"""A held read of version 2 with a hybrid recipient has about 1.6 kB."""
CONTENT_TYPE: Final = "application/plateseal-held+cbor"

_WHAT: Final = "held read"
_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID})
_KEYS: Final = frozenset({"v", "id", "case", "slot"})
_SIGN1_HEAD: Final = bytes([0xC0 | cose.TAG_SIGN1])
"""First byte of a tagged COSE_Sign1; a COSE_recipient, which is an array, has another."""


@dataclass(frozen=True, slots=True)
class HeldRead:
    """What a file of a held read says.

    Attributes:
        slot: The content key, sealed to the case's key.
        envelope_id: The envelope's id, lower-case hex; None in version 1.
        case: The case; None in version 1.
    """

    slot: RecipientSlot
    envelope_id: str | None
    case: str | None


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
    data = encode_held(seal_content_key(opened, key), opened.envelope.digest, case, owner.signing_key)
    replace_file(path, data, PRIVATE_MODE)


def load_held(owner: Owner, case: str, envelope: Envelope) -> RecipientSlot | None:
    """Load what is held of one read for a case; None if nothing is.

    Raises:
        KeyFileError: The file cannot be read, is no held read, or is not what the owner held of this read for this
            case.
    """
    path = owner.layout.held_read(case, envelope.envelope_id)
    if not path.exists():
        return None
    held = _read_held(path, owner.signing_key.public_key())
    try:
        return slot_for(held, envelope, case)
    except (FormatError, VerificationError) as error:
        raise KeyFileError(f"{path}: {error}") from None


def slot_for(held: HeldRead, envelope: Envelope, case: str) -> RecipientSlot:
    """Return the recipient that a held read adds to an envelope's own, once envelope and case are the right ones.

    Raises:
        FormatError: Version 1, which is not signed, for an envelope of version 2.
        VerificationError: It is another envelope's or case's.
    """
    if held.envelope_id is None and envelope.position.version != VERSION_1:
        raise FormatError(f"{_WHAT}: version 1, which is not signed, is for envelopes of version 1 only")
    _check_name(held, envelope.envelope_id, case_folder(case))
    return held.slot


def held_for(layout: OwnerLayout, case: str) -> frozenset[bytes]:
    """Return the ids of the envelopes that are held for a case, 32 bytes each, by the names of files; none is opened.

    Raises:
        KeyFileError: The folder cannot be read, or a file's name is no envelope's id.
    """
    folder = layout.held(case)
    try:
        return frozenset(bytes.fromhex(path.stem) for path in folder.glob(f"*{SUFFIX}"))
    except ValueError:
        raise KeyFileError(f"{folder}: holds a file whose name is no envelope's id") from None
    except OSError as error:
        raise KeyFileError(f"{folder}: {error.strerror or error}") from None


def held_reads(layout: OwnerLayout, *, closed: Collection[str] = ()) -> dict[str, frozenset[str]]:
    """Return the ids of held reads by case folder, of cases whose key is there. Each is checked, none is opened.

    Args:
        layout: The owner's files.
        closed: Cases whose key's destruction was entered: what is left of them counts as nothing.

    Raises:
        KeyFileError: A folder or file cannot be read, or a file is not what the owner held under this name.
    """
    try:
        ended = {case_folder(case) for case in closed}
        folders = [path.parent for path in layout.case_keys if path.parent.name not in ended]
        files = {folder.name: sorted((folder / "held").glob(f"*{SUFFIX}")) for folder in folders}
    except OSError as error:
        raise KeyFileError(f"{layout.cases}: {error.strerror or error}") from None
    if not any(files.values()):
        return dict.fromkeys(files, frozenset())
    owner_key = load_ed25519_public(layout.owner_public)
    for path in (path for paths in files.values() for path in paths):
        try:
            _check_name(_read_held(path, owner_key), path.stem, path.parent.parent.name)
        except VerificationError as error:
            raise KeyFileError(f"{path}: {error}") from None
    return {folder: frozenset(path.stem for path in paths) for folder, paths in files.items()}


def _check_name(held: HeldRead, envelope_id: str, folder: str) -> None:
    if held.envelope_id not in (None, envelope_id):
        raise VerificationError(f"{_WHAT}: names another envelope, {held.envelope_id}")
    if held.case is not None and case_folder(held.case) != folder:
        raise VerificationError(f"{_WHAT}: names another case")


def _read_held(path: Path, owner_key: Ed25519PublicKey) -> HeldRead:
    try:
        return parse_held(read_private_file(path, what=f"a {_WHAT}"), owner_key)
    except (FormatError, VerificationError) as error:
        raise KeyFileError(f"{path}: {error}") from None


def encode_held(slot: RecipientSlot, digest: bytes, case: str, owner_key: Ed25519PrivateKey) -> bytes:
    """Sign what is held of the envelope with this digest (32 bytes) for a case."""
    payload = cbor.encode({"v": FORMAT_VERSION, "id": digest, "case": case, "slot": recipient_value(slot)})
    header = cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(owner_key.public_key()))
    return cose.sign1(cose.encode_protected(header), payload, owner_key)


def parse_held(data: bytes, owner_key: Ed25519PublicKey) -> HeldRead:
    """Parse a held read of version 2, which `owner_key` must have signed, or of version 1.

    Raises:
        FormatError: Neither version.
        VerificationError: Another key's id, or a wrong signature.
    """
    if not data.startswith(_SIGN1_HEAD):
        slot = parse_recipient(cbor.decode(data, max_bytes=MAX_HELD_BYTES, what=_WHAT), what=_WHAT)
        return HeldRead(slot, envelope_id=None, case=None)
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_HELD_BYTES, what=_WHAT)
    cbor.exact_keys(message.protected, _HEADER_KEYS, f"{_WHAT} header")
    cose.verify_sign1(message, owner_key, what=_WHAT)
    value = cbor.as_map(cbor.decode(message.payload, max_bytes=MAX_HELD_BYTES, what=_WHAT), _WHAT)
    if type(value.get("v")) is not int or value["v"] != FORMAT_VERSION:
        raise FormatError(f"{_WHAT}: version {value.get('v')!r:.20}, only {FORMAT_VERSION} is allowed")
    cbor.exact_keys(value, _KEYS, _WHAT)
    return HeldRead(
        slot=parse_recipient(value["slot"], what=_WHAT),
        envelope_id=cbor.as_bytes(value["id"], DIGEST_BYTES, f"{_WHAT}: id").hex(),
        case=cbor.as_text(value["case"], MAX_NAME_CHARS, f"{_WHAT}: case"),
    )

"""An owner's directory and a receiver's store, small and quick, for tests of the custody tools."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.custody.audit_entry import Mandate
from agent.custody.keys import MadeKeys, make_keys
from agent.custody.locked import ScryptParameters
from agent.custody.owner import Owner, unlock_owner
from agent.custody.search import Logged
from agent.custody.testimony import StoredEntry
from agent.errors import FormatError
from agent.keys.keyring import KeyringBook
from agent.seal.sealer import Sealer
from agent.wire import cbor, cose
from agent.wire.envelope import Envelope, parse_envelope
from agent.wire.header import ZERO_DIGEST, ChainPosition, SeenReceipt
from agent.wire.plaintext import Plaintext
from agent.wire.suites import ContentCipher, KeyType
from agent.wire.times import to_ms
from tests.fakes.envelopes import first_position, next_position
from tests.fakes.reads import NOON, make_plaintext
from tests.fakes.receipts import honest_receipt

PASSPHRASE = b"correct horse battery staple"
QUICK = ScryptParameters(n=16)
"""A cost that no owner should have: tests derive keys hundreds of times."""
MIDNIGHT = NOON - timedelta(hours=12)
DAY = timedelta(days=1)
MANDATE = Mandate(who="erika", case="2027-0815", reason="hit and run")
RECEIPT_KEY = Ed25519PrivateKey.generate()


def make_owner_keys(directory: Path, **changes: object) -> MadeKeys:
    """Make two days of X25519 keys for the agency under `PASSPHRASE`, or something else."""
    arguments = {
        "recipients": ["agency"],
        "key_type": KeyType.X25519,
        "start": MIDNIGHT,
        "epochs": 2,
        "epoch": DAY,
        "passphrase": PASSPHRASE,
        "scrypt": QUICK,
        "now": MIDNIGHT,
        **changes,
    }
    return make_keys(directory, **arguments)  # type: ignore[arg-type]


def make_owner(directory: Path, **changes: object) -> Owner:
    """Make an owner with two days of keys, unlocked."""
    make_owner_keys(directory, **changes)
    passphrase = changes.get("passphrase", PASSPHRASE)
    assert passphrase is None or isinstance(passphrase, bytes)
    return unlock_owner(directory, passphrase)


class Camera:
    """A device that seals reads to an owner, in one chain."""

    def __init__(self, owner: Owner, *, run: int | None = None) -> None:
        """Seal to the owner's keyring; with `run` in version 2, in the chain of that number."""
        self.key = Ed25519PrivateKey.generate()
        self.seen: SeenReceipt | None = None
        self._sealer = Sealer(
            signing_key=self.key,
            book=KeyringBook(owner.keyring()),
            cipher=ContentCipher.AES_256_GCM,
            seen=lambda: self.seen,
        )
        self.next_position: ChainPosition = first_position(run=run)
        """The position that the next envelope takes."""

    def seal(self, text: str, captured_at: datetime = NOON, **changes: object) -> Envelope:
        """Seal one read as the next of the chain."""
        read = make_plaintext(text, captured_at=captured_at, **changes)
        return self.seal_read(read)

    def seal_read(self, read: Plaintext) -> Envelope:
        """Seal one read as the next of the chain."""
        envelope = self._sealer.seal(read, self.next_position)
        self.next_position = next_position(envelope)
        return envelope


class MemoryReceiver:
    """`ReceiverView` of a list of envelopes."""

    def __init__(self, *cameras: Camera, stored: list[bytes], keeps_receipts: bool = True) -> None:
        """Have `cameras` enrolled and `stored` in the log."""
        self.devices = {cose.ed25519_kid(camera.key.public_key()): camera.key.public_key() for camera in cameras}
        self.stored = stored
        self.reads = 0
        self._keeps_receipts = keeps_receipts
        self.ends: dict[bytes, int] = {}
        self.stored_at = NOON + 30 * DAY

    def envelopes(self, kids: Collection[bytes] | None = None) -> Iterator[bytes]:
        """As the protocol."""
        for data in self.stored:
            if kids is None or _may_open(data, frozenset(kids)):
                self.reads += 1
                yield data

    def logged(self, after: int, kids: Collection[bytes] | None = None) -> Iterator[Logged]:
        """As the protocol."""
        for log in range(after + 1, len(self.stored) + 1):
            logged = self.logged_at(log)
            if logged is not None and (kids is None or _may_open(logged.data, frozenset(kids))):
                self.reads += 1
                yield logged

    def logged_at(self, log: int) -> Logged | None:
        """As the protocol."""
        if not 0 < log <= len(self.stored):
            return None
        data = self.stored[log - 1]
        return Logged(log, cbor.sha256(data), to_ms(self.stored_at), data)

    def envelope(self, digest: bytes) -> bytes | None:
        """As the protocol."""
        return next((data for data in self.stored if cbor.sha256(data) == digest), None)

    def count(self, kids: Collection[bytes] | None = None) -> int:
        """As the protocol."""
        return sum(kids is None or _may_open(data, frozenset(kids)) for data in self.stored)

    def device_key(self, key_id: bytes) -> Ed25519PublicKey | None:
        """As the protocol."""
        return self.devices.get(key_id)

    def revoked_after(self, key_id: bytes) -> int | None:
        """As the protocol."""
        return self.ends.get(key_id)

    @property
    def receipt_keys(self) -> dict[bytes, Ed25519PublicKey]:
        """As the protocol."""
        return {cose.ed25519_kid(RECEIPT_KEY.public_key()): RECEIPT_KEY.public_key()}

    def receipt_at(self, log: int) -> bytes | None:
        """As the protocol."""
        entry = self.entry_of(parse_envelope(self.stored[log - 1])) if 0 < log <= len(self.stored) else None
        return None if entry is None else entry.receipt

    def entry_of(self, envelope: Envelope) -> StoredEntry | None:
        """As the protocol."""
        before: bytes | None = None
        for index, data in enumerate(self.stored):
            try:
                other = parse_envelope(data)
            except FormatError:
                continue
            if other.device_kid != envelope.device_kid:
                continue
            prev = ZERO_DIGEST if before is None else cbor.sha256(before)
            receipt = honest_receipt(other, key=RECEIPT_KEY, log_index=index + 1, prev=prev, at=self.stored_at)
            if data == envelope.data:
                kept = receipt if self._keeps_receipts else None
                return StoredEntry(index + 1, to_ms(self.stored_at), None, kept, before)
            before = receipt if other.position.run is not None else before
        return None


def _may_open(data: bytes | None, kids: frozenset[bytes]) -> bool:
    try:
        return data is None or not kids.isdisjoint(parse_envelope(data).kids)
    except FormatError:
        return True

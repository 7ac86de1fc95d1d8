"""An owner and a receiver's folder with reads of two days in it, as the custody commands find them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent.custody.owner import Owner
from agent.keys.keyfiles import load_ed25519_private
from agent.receiver.admission.devices import Device, DeviceBook, Event, EventKind
from agent.receiver.admission.pki import init_receiver
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import open_store, store_of
from agent.wire import cose
from agent.wire.envelope import Envelope, sign_tombstone
from agent.wire.suites import KeyType
from agent.wire.tombstone import LossReason, Tombstone
from tests.fakes.owner import DAY, PASSPHRASE, Camera, make_owner
from tests.fakes.reads import NOON

READS = (("AB1123", NOON), ("XY2", NOON), ("AB3123C", NOON + DAY), ("XY4", NOON + DAY))


@dataclass(frozen=True)
class CustodyBench:
    """Folders, and what is in the store.

    Attributes:
        owner: The owner's folder is `owner.layout.directory`; its passphrase is in `passphrase_file`.
        receiver: The receiver's folder.
        envelopes: The reads of `READS`, in the store in this order, and a tombstone after them.
    """

    owner: Owner
    receiver: Path
    passphrase_file: Path
    envelopes: list[Envelope]

    @property
    def directory(self) -> Path:
        """The owner's folder."""
        return self.owner.layout.directory


def make_custody_bench(root: Path, *, store: str | None = None) -> CustodyBench:
    """Make everything in `root`, by the products' own code; `store` is the address of a database for the reads."""
    owner = make_owner(root / "owner", key_type=KeyType.HYBRID)
    camera = Camera(owner)
    envelopes = [camera.seal(text, at) for text, at in READS]
    note = Tombstone(reason=LossReason.OVERFLOW, count=1, first_at=NOON, last_at=NOON)
    envelopes.append(sign_tombstone(note, camera.key, camera.next_position))
    layout: ReceiverLayout = init_receiver(root / "receiver", store=store)
    public = camera.key.public_key()
    DeviceBook(layout.devices).save(
        Device(
            name="cam-1",
            key_id=cose.ed25519_kid(public),
            signing_key=public,
            fingerprints=("ab" * 32,),
            history=(Event(EventKind.ENROLLED, NOON, 0),),
        ),
        load_ed25519_private(layout.receipt_key),
    )
    with open_store(store_of(layout)) as opened:
        opened.store_batch(envelopes, NOON + 2 * DAY, load_ed25519_private(layout.receipt_key))
    passphrase_file = root / "passphrase"
    passphrase_file.write_bytes(PASSPHRASE + b"\n")
    passphrase_file.chmod(0o600)
    return CustodyBench(owner=owner, receiver=root / "receiver", passphrase_file=passphrase_file, envelopes=envelopes)

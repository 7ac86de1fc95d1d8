"""The receiver's next receipt key: prepared, brought to the units, taken into use; the one before stays believed.

```
receipt.key            signs receipts and the records of devices
receipt.pub            its public half
receipt.key.next       the key that is to follow, from `prepare_change` to `take_change`
receipt.pub.next       both public halves: what units pin in between
receipt-earlier.pub    public halves of the keys before, newest first: kept receipts are checked with them
```

Owns: the order of the steps. The receipts that units have erased reads against are kept, and stay what they are: the
public half of the key that signed them is never thrown away. Records of devices are signed anew.

Invariant: after a crash between any two steps, records and receipts verify, and the same command goes on.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.disk import durable
from agent.errors import KeyFileError, UsageError
from agent.keys import keyfiles
from agent.receiver.admission.devices import MAX_EARLIER_KEYS, DeviceBook
from agent.receiver.layout import ReceiverLayout
from agent.wire import cose


@dataclass(frozen=True, slots=True)
class ReceiptChange:
    """A change of the receipt key.

    Attributes:
        old_key_id: 32 bytes, id of the key that is, or was, in use.
        new_key_id: 32 bytes, id of the key that follows.
        file: What units are to pin now.
    """

    old_key_id: bytes
    new_key_id: bytes
    file: Path


def prepare_change(directory: Path) -> ReceiptChange:
    """Make the next receipt key, or name the one that is made already. Nothing signs with it yet.

    Raises:
        KeyFileError: A key cannot be read, or the disk refused.
    """
    layout = ReceiverLayout(directory)
    old = keyfiles.load_ed25519_public(layout.receipt_public)
    if not layout.receipt_next_key.exists():
        keyfiles.write_private_beside(layout.receipt_key, layout.receipt_next_key, Ed25519PrivateKey.generate())
    new = keyfiles.load_ed25519_private(layout.receipt_next_key).public_key()
    both = keyfiles.public_pem(old) + keyfiles.public_pem(new)
    keyfiles.replace_file(layout.receipt_next_public, both, keyfiles.PUBLIC_MODE)
    return ReceiptChange(cose.ed25519_kid(old), cose.ed25519_kid(new), layout.receipt_next_public)


def take_change(directory: Path) -> ReceiptChange:
    """Let the next receipt key follow the one in use.

    Raises:
        UsageError: None is prepared.
        KeyFileError: A key cannot be read, or the disk refused. The same command goes on.
        ReceiverError: A device's record cannot be read.
    """
    layout = ReceiverLayout(directory)
    if not layout.receipt_next_key.exists():
        raise UsageError(f"{directory}: no receipt key is prepared; first: plateseal receiver receipt-key {directory}")
    key = keyfiles.load_ed25519_private(layout.receipt_next_key)
    old = keyfiles.load_ed25519_private(layout.receipt_key).public_key()
    _keep_earlier(layout, old)
    keyfiles.replace_file(layout.receipt_public, keyfiles.public_pem(key.public_key()), keyfiles.PUBLIC_MODE)
    book = DeviceBook(layout.devices)
    for device in book.all():
        book.save(device, key)
    try:
        durable.replace_secret(layout.receipt_next_key, layout.receipt_key)
        with suppress(FileNotFoundError):
            durable.remove_file(layout.receipt_next_public)
    except OSError as error:
        raise KeyFileError(f"{layout.receipt_key}: cannot be replaced: {error.strerror}") from None
    return ReceiptChange(cose.ed25519_kid(old), cose.ed25519_kid(key.public_key()), layout.receipt_public)


def _keep_earlier(layout: ReceiverLayout, old: Ed25519PublicKey) -> None:
    """Put a key in front of those before it, unless a run that was cut off has done so."""
    path = layout.receipt_earlier
    earlier = keyfiles.load_ed25519_publics(path, most=MAX_EARLIER_KEYS) if path.exists() else ()
    if old in earlier:
        return
    if len(earlier) == MAX_EARLIER_KEYS:
        raise KeyFileError(f"{path}: holds {MAX_EARLIER_KEYS} keys, which is as many as there may be")
    pems = b"".join(map(keyfiles.public_pem, (old, *earlier)))
    keyfiles.replace_file(path, pems, keyfiles.PUBLIC_MODE)

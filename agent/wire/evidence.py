"""What a kept receipt proves of an entry of the receiver's log, and where the two differ.

Owns: the comparison of a receipt with the row it lies beside. Leaves to others: where rows come from (the receiver's
store, and custody, which sees a copy of it), and the order of the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import FormatError, ReceiptVerificationError, VerificationError
from agent.wire.envelope import Envelope
from agent.wire.header import VERSION_1
from agent.wire.receipt import Receipt, verify_alone, verify_receipt
from agent.wire.times import FIRST_DAY, MAX_TIME_MS, from_ms, to_ms


def check_kept(kept: bytes | None, envelope: Envelope, keys: Mapping[bytes, Ed25519PublicKey]) -> Receipt | None:
    """Check the receipt that is kept with an envelope, and return what it says.

    For an envelope of version 1 there may be none, as earlier programs kept none: then this returns None.

    Args:
        kept: The receipt's bytes; None if the store has none.
        envelope: The envelope that it is kept with.
        keys: The receiver's public receipt keys, by key id.

    Raises:
        ReceiptVerificationError: The receipt does not hold, no key is there to check it with, or there is no receipt
            although the envelope is of version 2.
    """
    if kept is None:
        if envelope.position.version == VERSION_1:
            return None
        raise ReceiptVerificationError("no receipt is kept, and one was signed when it was stored")
    if not keys:
        raise ReceiptVerificationError("a receipt is kept, and cannot be checked without the receiver's receipt.pub")
    try:
        return verify_receipt(kept, envelope, keys).receipt
    except (FormatError, VerificationError) as error:
        raise ReceiptVerificationError(f"the kept receipt does not hold: {error}") from None


@dataclass(frozen=True, slots=True)
class Place:
    """What a store says of an envelope that it has not any more.

    Attributes:
        digest: 32 bytes, its id.
        length: How many bytes it had.
        device, chain, seq: Where it stood.
        version: The version of its format.
    """

    digest: bytes
    length: int
    device: bytes
    chain: bytes
    seq: int
    version: int


def check_dropped(kept: bytes | None, place: Place, keys: Mapping[bytes, Ed25519PublicKey]) -> Receipt | None:
    """Check the receipt that is kept of an envelope whose bytes were dropped, and return what it says.

    Raises:
        ReceiptVerificationError: As for `check_kept`.
    """
    if kept is None and place.version != VERSION_1:
        raise ReceiptVerificationError("no receipt is kept, and one was signed when it was stored")
    if kept is None:
        return None
    try:
        receipt = verify_alone(kept, keys)
    except (FormatError, VerificationError) as error:
        raise ReceiptVerificationError(f"the kept receipt does not hold: {error}") from None
    said = bytes.fromhex(receipt.envelope_id), receipt.length, receipt.device_kid, receipt.chain, receipt.seq
    if (*said, receipt.version) != (place.digest, place.length, place.device, place.chain, place.seq, place.version):
        raise ReceiptVerificationError("the kept receipt is that of another envelope")
    return receipt


def check_row(receipt: Receipt | None, *, log: int, stored_at_ms: int) -> None:
    """Check that a row says the same as its receipt, and that its time is one at which a receiver can have existed.

    Args:
        receipt: What the kept receipt says; None if there is none.
        log: The row's index in the log.
        stored_at_ms: The row's time, milliseconds since 1970 UTC.

    Raises:
        ReceiptVerificationError: They differ, or the time lies before `FIRST_DAY`.
    """
    if receipt is not None and (receipt.log_index, to_ms(receipt.stored_at)) != (log, stored_at_ms):
        raise ReceiptVerificationError(
            f"the receiver signed log {receipt.log_index} at {receipt.stored_at:%Y-%m-%dT%H:%M:%SZ}, "
            f"the row says log {log} at {shown_ms(stored_at_ms)}"
        )
    if stored_at_ms < to_ms(FIRST_DAY):
        raise ReceiptVerificationError(f"stored at {shown_ms(stored_at_ms)}, before there was any receiver")


def shown_ms(milliseconds: int) -> str:
    """Return a time as text for a person. It comes from a database, so it may be any number."""
    if not 0 <= milliseconds <= MAX_TIME_MS:
        return f"{milliseconds} ms"
    return f"{from_ms(milliseconds):%Y-%m-%dT%H:%M:%SZ}"

"""What a kept receipt proves of an entry of the receiver's log, and what it does not agree with.

Owns: the comparison of a receipt with the row it lies beside. Leaves to others: where rows come from (the receiver's
store, and custody, which sees a copy of it), and the order of the log.
"""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import FormatError, ReceiptVerificationError, VerificationError
from agent.wire.envelope import Envelope
from agent.wire.header import VERSION_1
from agent.wire.receipt import Receipt, verify_receipt
from agent.wire.times import FIRST_DAY, MAX_TIME_MS, from_ms, to_ms


def check_kept(kept: bytes | None, envelope: Envelope, keys: Mapping[bytes, Ed25519PublicKey]) -> Receipt | None:
    """Return what the receipt that is kept with an envelope says; None where none is due.

    Args:
        kept: The receipt, if there is one.
        envelope: The envelope it lies beside.
        keys: The receiver's public receipt keys, by key id.

    Raises:
        ReceiptVerificationError: It does not hold, cannot be checked without a key, or is not there although the
            envelope is of version 2.
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


def check_row(receipt: Receipt | None, *, log: int, stored_at_ms: int) -> None:
    """Check that a row says what its receipt says, and a time that can be.

    Args:
        receipt: What the kept receipt says, if there is one.
        log: The row's index in the log.
        stored_at_ms: The row's time, milliseconds since 1970 UTC.

    Raises:
        ReceiptVerificationError: They differ, or the time lies before there was any receiver.
    """
    if receipt is not None and (receipt.log_index, to_ms(receipt.stored_at)) != (log, stored_at_ms):
        raise ReceiptVerificationError(
            f"the receiver signed log {receipt.log_index} at {receipt.stored_at:%Y-%m-%dT%H:%M:%SZ}, "
            f"the row says log {log} at {shown_ms(stored_at_ms)}"
        )
    if stored_at_ms < to_ms(FIRST_DAY):
        raise ReceiptVerificationError(f"stored at {shown_ms(stored_at_ms)}, before there was any receiver")


def shown_ms(milliseconds: int) -> str:
    """Write a time of a database, which may be any number, for a person."""
    if not 0 <= milliseconds <= MAX_TIME_MS:
        return f"{milliseconds} ms"
    return f"{from_ms(milliseconds):%Y-%m-%dT%H:%M:%SZ}"

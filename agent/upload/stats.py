"""What the delivery loop counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class UploadStats:
    """Counts since the start; written by the worker, read by reports.

    Attributes:
        acknowledged: Envelopes with a verified receipt.
        shredded: Envelopes erased.
        refused: Envelopes that the receiver refused for good.
        corrupt: Envelopes whose bytes on disk are not what was put.
        unsigned: Envelopes that none of the unit's own keys signed.
        unreadable: Times the disk could not read an envelope.
        bad_receipts: Receipts that failed a check.
        failed_batches: Requests without an agreed answer.
        sent_bytes: Request bodies, failed ones too.
        slowest_erasure_s: Longest time from an answer to the end of its reads' files, seconds.
        link_up: Whether the last request got an agreed answer; None before the first.
    """

    acknowledged: int = 0
    shredded: int = 0
    refused: int = 0
    corrupt: int = 0
    unsigned: int = 0
    unreadable: int = 0
    bad_receipts: int = 0
    failed_batches: int = 0
    sent_bytes: int = 0
    slowest_erasure_s: float = 0.0
    link_up: bool | None = None

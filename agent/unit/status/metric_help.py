"""What each metric is, in a line for whoever reads a dashboard: the HELP lines of the text files.

Owns: the words. A metric that is not here is written without help, which a test does not allow.
"""

from __future__ import annotations

from typing import Final

HELP: Final = {
    "acknowledged": "Envelopes with a verified receipt.",
    "bad_receipts": "Receipts that failed a check; nothing was erased on them.",
    "camera_frames": "Frames that the camera delivered.",
    "camera_frames_dropped": "Frames of the camera that were too old or gave way to a newer one.",
    "camera_frozen": "Times the camera showed no new picture for too long.",
    "camera_lag_seconds": "How much later than the fastest the newest frame came.",
    "camera_reconnects": "Times the camera was connected again.",
    "camera_up": "Whether the camera delivers: 1 or 0.",
    "certificate_left_seconds": "Time until the unit's TLS certificate ends; below 0 when it has.",
    "chain_sequence": "Place of the next envelope in its chain; 0 at the beginning of a new one.",
    "clock_synchronized": "Whether the kernel holds its clock to be synchronised: 1 or 0.",
    "config_on_trial": "Whether the configuration in use has yet to work: 1 or 0.",
    "config_rejected": "Whether the last configuration was refused: 1 or 0.",
    "config_serial": "Serial of the configuration in use; 0 for the unit's own file.",
    "corrupt": "Envelopes that were damaged on the disk and set aside.",
    "crops_left_out": "Reads accepted without their crop.",
    "detections": "Plates found in frames.",
    "disk_free_bytes": "Free for the daemons on the spool's file system.",
    "dropped": "Reads that the full spool refused.",
    "evicted": "Accepted reads that newer ones forced out of a full spool.",
    "expired": "Accepted reads that were erased because they waited too long.",
    "failed_batches": "Requests without an agreed answer.",
    "frames": "Frames that were looked at.",
    "frames_expected": "Frames of the recording; 0 for a camera.",
    "frames_moving": "Frames on which something moved.",
    "frames_searched": "Frames on which the detector ran.",
    "keyring_expired": "Whether reads are sealed to keys of past epochs: 1 or 0.",
    "keyring_left_seconds": "Time until the first recipient runs out of keys.",
    "keyring_serial": "Serial of the keyring in use.",
    "link_up": "Whether the last request was answered: 1 or 0.",
    "looks": "Times a plate's text was read.",
    "passages": "Vehicles whose looks agreed.",
    "pending": "Sealed reads that wait in the spool.",
    "pending_bytes": "Size of what waits in the spool.",
    "pending_oldest_seconds": "For how long the oldest read has waited; 0 while none waits.",
    "quarantine_alarm": "Whether anything is set aside: 1 or 0.",
    "quarantined": "Envelopes that are set aside.",
    "refused": "Envelopes that the receiver refused for good.",
    "rejected_passages": "Vehicles whose looks did not agree enough, by reason.",
    "sealed": "Reads accepted by the spool.",
    "sent_bytes": "Size of request bodies, failed ones too.",
    "shredded": "Envelopes erased against a receipt.",
    "slowest_erasure_seconds": "Longest time from an answer to the end of its files.",
    "temperature_celsius": "The hottest sensor of the board.",
    "unreadable": "Times the disk could not read an envelope.",
    "unsigned": "Envelopes that none of the unit's own keys had signed.",
    "unvoted_looks": "Looks that were read and did not vote, by reason.",
}

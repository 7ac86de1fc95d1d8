"""Every error that plateseal raises on purpose, in one tree.

```
PlatesealError                     exit
├── UsageError                        2
├── ConfigError                       3
├── SourceError                       4
│   ├── SourceDamagedError            4
│   └── SourceLostError               4
│       └── SourceRefusedError        4
├── ModelError                        5
│   ├── ModelMissingError             5
│   ├── ModelMismatchError            5
│   └── InferenceError                5
├── FormatError                       6
├── VerificationError                 7
│   ├── EnvelopeVerificationError     7
│   ├── ReceiptVerificationError      7
│   ├── KeyringVerificationError      7
│   ├── OpenError                     7
│   ├── AuditVerificationError        7
│   └── BundleVerificationError       7
├── KeyFileError                      8
│   └── KeyringEndedError             8
├── SpoolError                        9
│   ├── SpoolFullError               16
│   ├── SpoolFileError                9
│   ├── SpoolHeldError                9
│   └── SpoolMissingError             9
├── TransportError                   10
│   ├── RejectedError                10
│   ├── BatchTooLargeError           10
│   ├── BrokenTransferError          10
│   └── UndeliveredError             10
├── ReceiverError                    11
├── DaemonError                      12
├── DemoError                        13
├── BenchError                       17
├── UnitFaultError                   18
├── SelfTestError                    14
└── CustodyError                     15
```

`exit_code` is the status of the process that dies of the error; 1 is left to Python itself, so a 1 means a
defect in plateseal. Messages carry ids, sizes and paths, never plate text, keys or image bytes.
"""

from __future__ import annotations

from typing import ClassVar, Final

INTERRUPTED: Final = 130
"""The exit code of a program that Ctrl-C ended, as shells have it."""


class PlatesealError(Exception):
    """Root of the tree. Never raised itself."""

    exit_code: ClassVar[int] = 1


class UsageError(PlatesealError):
    """A command was given an argument it cannot use. Nothing was started or changed."""

    exit_code = 2


class ConfigError(PlatesealError):
    """A configuration file is missing, unreadable or wrong. Nothing was started."""

    exit_code = 3


class SourceError(PlatesealError):
    """A frame source cannot be opened or decoded. Frames delivered before it stay valid."""

    exit_code = 4


class SourceDamagedError(SourceError):
    """A recording is damaged or cut off. Every frame that can be decoded was delivered; the others are counted."""


class SourceLostError(SourceError):
    """A live source stopped delivering. Opening it again may work."""


class SourceRefusedError(SourceLostError):
    """A camera refuses the login. Cameras lock accounts: it is tried again after minutes, and not after seconds."""


class ModelError(PlatesealError):
    """A model cannot be used. No frame was looked at with it."""

    exit_code = 5


class ModelMissingError(ModelError):
    """A model's file or manifest entry is not there."""


class ModelMismatchError(ModelError):
    """A model's file is not the one that the manifest names: wrong digest, size or contract."""


class InferenceError(ModelError):
    """A loaded model failed on a frame or returned something outside its contract."""


class FormatError(PlatesealError):
    """Bytes are not a well-formed envelope, receipt, keyring or reply. Nothing was taken from them."""

    exit_code = 6


class VerificationError(PlatesealError):
    """Well-formed bytes failed a check of signature, key, digest or length. Nothing was acted on."""

    exit_code = 7


class EnvelopeVerificationError(VerificationError):
    """An envelope's signature, device or digest does not hold."""


class ReceiptVerificationError(VerificationError):
    """A receipt does not prove that this envelope was stored. The local copy stays."""


class KeyringVerificationError(VerificationError):
    """A keyring is not signed by the pinned owner key, or is older than one used before. It was not used."""


class OpenError(VerificationError):
    """An envelope cannot be decrypted with the keys at hand."""


class AuditVerificationError(VerificationError):
    """The owner's audit log is altered, incomplete or another owner's. Nothing was added to it, shown or destroyed."""


class BundleVerificationError(VerificationError):
    """A configuration bundle is not the pinned owner's, another unit's, or not newer. The configuration stays."""


class KeyFileError(PlatesealError):
    """A key or certificate file is missing, unreadable, unsafe or of another kind."""

    exit_code = 8


class KeyringEndedError(KeyFileError):
    """No epoch of the keyring holds the time that a read is sealed at, and the unit is configured to stop then.

    The read was not sealed. Every read accepted before it is kept.
    """


class SpoolError(PlatesealError):
    """The spool's disk refused an operation. What was durable before is still durable."""

    exit_code = 9


class SpoolFullError(SpoolError):
    """The spool's limits, or the disk, leave no room for this envelope. It was not accepted; the spool is unchanged.

    Its exit status is its own, so that a service manager can tell a unit that was told to stop when its spool is full.
    """

    exit_code = 16


class SpoolFileError(SpoolError):
    """The system keeps one file from a step: it is another user's, immutable, no file at all, or its disk has no links.

    That file is as it was. Others may be fine, so whoever meets this goes on with them.
    """


class SpoolHeldError(SpoolError):
    """Another process does the same with this spool already. Nothing was started or changed; that one goes on."""


class SpoolMissingError(SpoolError):
    """An envelope is not, or no longer, where it was looked for: delivered, set aside or expired meanwhile."""


class TransportError(PlatesealError):
    """The receiver could not be reached or did not answer in the agreed form. Nothing was erased."""

    exit_code = 10

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        """Keep the wait the receiver asked for (`Retry-After`), seconds, where it did."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class RejectedError(TransportError):
    """The receiver refuses this unit (401, 403) or its requests (other 4xx). Every envelope stays in the spool."""


class BatchTooLargeError(TransportError):
    """The receiver refuses the batch's size (413). The same envelopes fit in smaller batches."""


class BrokenTransferError(TransportError):
    """The connection broke, or the time was up, in the middle of a batch. A smaller one may get through."""

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        sent_bytes: int | None = None,
        timed_out: bool = False,
    ) -> None:
        """Keep how much of the request had gone out, where that is known, and whether the time was up."""
        super().__init__(message, retry_after_s=retry_after_s)
        self.sent_bytes = sent_bytes
        self.timed_out = timed_out


class UndeliveredError(TransportError):
    """A drain has ended and envelopes are left: the receiver puts them off, or the drain was stopped. They stay."""


class ReceiverError(PlatesealError):
    """The reference receiver cannot start or store."""

    exit_code = 11


class DemoError(PlatesealError):
    """The demo's counts do not agree, or one of its processes failed."""

    exit_code = 13


class BenchError(PlatesealError):
    """A bench could not be finished. Nothing but its report is missing."""

    exit_code = 17


class UnitFaultError(PlatesealError):
    """The doctor found something wrong with the unit. Nothing was changed."""

    exit_code = 18


class SelfTestError(PlatesealError):
    """A cryptographic primitive of this machine gives a wrong answer. The daemon did not start; nothing was touched."""

    exit_code = 14


class DaemonError(PlatesealError):
    """A daemon that this process started ended with an error of its own. What it had accepted is kept."""

    exit_code = 12


class CustodyError(PlatesealError):
    """The disk refused one of the owner's files. What is not yet in the audit log was not shown or destroyed."""

    exit_code = 15

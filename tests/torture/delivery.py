"""The real worker over the real spool, with a function in the place of network and receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.models import UploadConfig
from agent.disk.files import LocalFiles
from agent.spool.spool import FileSpool
from agent.unit.process.clock import SystemClock
from agent.upload.worker import UploadWorker
from agent.wire.cose import ed25519_kid
from agent.wire.envelope import Envelope, parse_envelope
from agent.wire.protocol import Answer
from tests.fakes.receipts import PINNED
from tests.torture.places import quick_folder

KEY: Final = Ed25519PrivateKey.generate()
"""Signs what is delivered."""


class Answering:
    """A `Transport` that answers each envelope by a function, and remembers what it was sent."""

    def __init__(self, answer: Callable[[Envelope], Answer]) -> None:
        """Take the function; it may be replaced later."""
        self.answer = answer
        self.sent: set[str] = set()

    def send(self, envelopes: Sequence[bytes]) -> list[Answer]:
        """As the port."""
        batch = [parse_envelope(data) for data in envelopes]
        self.sent.update(envelope.envelope_id for envelope in batch)
        return [self.answer(envelope) for envelope in batch]

    def close(self) -> None:
        """As the port."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A worker with everything around it."""

    spool: FileSpool
    worker: UploadWorker
    transport: Answering
    directory: Path

    def names(self, state: str) -> set[str]:
        """Return the names of the files in one of the spool's directories."""
        return {path.name for path in (self.directory / state).iterdir()}


@contextmanager
def delivery(answer: Callable[[Envelope], Answer]) -> Iterator[Delivery]:
    """Make a spool in memory if this machine has such a disk, and a worker that delivers it to `answer`."""
    with quick_folder("delivery") as folder:
        directory = Path(folder) / "spool"
        spool, transport = FileSpool(directory, max_bytes=1 << 30, files=LocalFiles()), Answering(answer)
        worker = UploadWorker(
            spool=spool,
            transport=transport,
            receiver_keys=PINNED,
            device_key={ed25519_kid(KEY.public_key()): KEY.public_key()}.get,
            settings=_settings(),
            clock=SystemClock(),
            stop=threading.Event(),
        )
        yield Delivery(spool, worker, transport, directory)


def _settings() -> UploadConfig:
    paths = dict.fromkeys(("ca", "certificate", "key", "receiver_key"), Path("unused"))
    return UploadConfig.model_validate({"url": "https://localhost:1", **paths})

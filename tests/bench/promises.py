"""Promises about time, kept here because no test asserts a time: erasure, a limited line, a fleet that is checked."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.config.fleet import load_fleet
from agent.config.load import load_config
from agent.config.models import UploadConfig
from agent.config.provenance import settings_of
from agent.disk.files import LocalFiles
from agent.errors import TransportError
from agent.keys.keyfiles import load_ed25519_private, load_ed25519_public
from agent.ports import Spool, Transport
from agent.records import Shredded, VerifiedReceipt
from agent.spool.spool import FileSpool
from agent.unit.process.clock import SystemClock
from agent.upload.pace import ERASE_WITHIN_S
from agent.upload.tls import HttpsTransport, client_context
from agent.upload.worker import UploadWorker
from agent.wire.cose import ed25519_kid
from agent.wire.protocol import Answer
from tests.fakes.bench import LiveBench
from tests.fakes.envelopes import make_chain
from tests.fakes.fleet import FLEET, write_fleet
from tests.fakes.receipts import PINNED
from tests.fakes.receiver import ReceiverSimulator
from tests.fakes.spool import MemorySpool
from tests.torture.campaign import Say
from tests.torture.places import disk_folder
from tests.torture.report import Result

ERASED_READS: Final = 640
REDUCED_ERASED_READS: Final = 150
CROP_BYTES: Final = 12_000
LINE_BYTES_PER_S: Final = 20_000
LINE_READS: Final = 60
REDUCED_LINE_READS: Final = 12
LINE_BODY_BYTES: Final = 2000
CAMERAS: Final = 300
REDUCED_CAMERAS: Final = 20
FLEET_WITHIN_S: Final = 30.0
"""An operator waits for it. A check that grows with the square of the cameras takes minutes."""


class TimedSpool(FileSpool):
    """The real spool; notes when the reads of each batch were durably gone."""

    gone_at_s: list[float]

    def shred(self, *receipts: VerifiedReceipt) -> Shredded:
        """As the port."""
        shredded = super().shred(*receipts)
        self.gone_at_s.append(time.monotonic())
        return shredded


class TimedTransport:
    """A transport that notes when a request went out, how long it was, and when its answers were here."""

    def __init__(self, transport: Transport) -> None:
        """Pass everything on to `transport`."""
        self._transport = transport
        self.sent: list[tuple[float, int]] = []
        self.answered_at_s: list[float] = []

    def send(self, envelopes: Sequence[bytes]) -> list[Answer]:
        """As the port."""
        self.sent.append((time.monotonic(), sum(map(len, envelopes))))
        answers = self._transport.send(envelopes)
        self.answered_at_s.append(time.monotonic())
        return answers

    def close(self) -> None:
        """As the port."""
        self._transport.close()


def run_erasure(*, full: bool, say: Say) -> Result:
    """Deliver full batches over TLS onto a disk; reduced, only that everything is erased is judged."""
    began_s = time.monotonic()
    with disk_folder("erasure") as folder:
        bench = LiveBench(root=Path(folder) / "bench", clip=Path("no-clip.mp4"), models=Path("no-models"))
        try:
            bench.set_up()
            waits_s, slowest_s = _deliver(bench, ERASED_READS if full else REDUCED_ERASED_READS)
            left = sum(path.is_file() for path in bench.spool.rglob("*"))
        finally:
            bench.stop()
    figures = (
        f"{len(waits_s)} batches: {max(waits_s):.2f} s from a receipt to the durable end of its read at the longest, "
        f"{slowest_s:.2f} s by the worker's own count; {left} files left"
    )
    say(figures)
    holds = left == 0 and slowest_s > 0 and (not full or max(*waits_s, slowest_s) <= ERASE_WITHIN_S)
    target = f"a read is erased within {ERASE_WITHIN_S:g} s of its receipt"
    return Result("erasure", target, figures, holds, time.monotonic() - began_s)


def _deliver(bench: LiveBench, reads: int) -> tuple[list[float], float]:
    """Deliver reads as long as a crop; return each batch's seconds to its end, and the most by the worker's count."""
    unit = load_config(bench.config)
    settings, key = unit.upload, load_ed25519_private(unit.seal.signing_key)
    receiver_key = load_ed25519_public(settings.receiver_key)
    spool = TimedSpool(bench.spool, max_bytes=1 << 28, files=LocalFiles())
    spool.gone_at_s = []
    for envelope in make_chain(key, reads, body=bytes(CROP_BYTES)):
        spool.put(envelope)
    transport = TimedTransport(
        HttpsTransport(
            settings.url,
            context=client_context(ca=settings.ca, certificate=settings.certificate, key=settings.key),
            clock=SystemClock(),
            connect_timeout_s=60,
            reply_timeout_s=60,
        )
    )
    worker = UploadWorker(
        spool=spool,
        transport=transport,
        receiver_keys={ed25519_kid(receiver_key): receiver_key},
        device_key={ed25519_kid(key.public_key()): key.public_key()}.get,
        settings=settings,
        clock=SystemClock(),
        stop=threading.Event(),
    )
    worker.run(drain=True)
    transport.close()
    waits_s = [gone - at for gone, at in zip(spool.gone_at_s, transport.answered_at_s, strict=True)]
    return waits_s, worker.stats.slowest_erasure_s


def run_line(*, full: bool, say: Say) -> Result:
    """Drain over a limited line, by the real clock; one request fails, and counts too."""
    reads = LINE_READS if full else REDUCED_LINE_READS
    spool, receiver, key = MemorySpool(max_bytes=1 << 24), ReceiverSimulator(), Ed25519PrivateKey.generate()
    for envelope in make_chain(key, reads, body=bytes(LINE_BODY_BYTES)):
        spool.put(envelope)
    receiver.script.extend([receiver.store, TransportError("reset")])
    transport = TimedTransport(receiver)
    began_s = time.monotonic()
    _limited(spool, transport, key).run(drain=True)
    took_s = time.monotonic() - began_s
    sizes = [size_bytes for _, size_bytes in transport.sent]
    over_bytes = [
        sum(sizes[:number]) - sizes[number] - LINE_BYTES_PER_S * (at_s - began_s)
        for number, (at_s, _) in enumerate(transport.sent)
    ]
    figures = (
        f"{sum(sizes)} bytes in {len(sizes)} requests, the last after {transport.sent[-1][0] - began_s:.1f} s: "
        f"{sum(over > 0 for over in over_bytes)} went out too early; {len(receiver.stored)} of {reads} reads arrived"
    )
    say(figures)
    holds = len(receiver.stored) == reads and len(sizes) > 2 and max(over_bytes) <= 0
    target = f"at {LINE_BYTES_PER_S:,} bytes/s never more than that and one batch in any time from the start"
    return Result("limited line", target, figures, holds, took_s)


def _limited(spool: Spool, transport: Transport, key: Ed25519PrivateKey) -> UploadWorker:
    paths = dict.fromkeys(("ca", "certificate", "key", "receiver_key"), Path("unused"))
    waits = {"retry_first_s": 0.001, "retry_most_s": 0.002, "poll_s": 0.001}
    limits = {"max_bytes_per_s": LINE_BYTES_PER_S, "batch_envelopes": 2}
    return UploadWorker(
        spool=spool,
        transport=transport,
        receiver_keys=PINNED,
        device_key={ed25519_kid(key.public_key()): key.public_key()}.get,
        settings=UploadConfig.model_validate({"url": "https://localhost:1", **paths, **waits, **limits}),
        clock=SystemClock(),
        stop=threading.Event(),
    )


def run_fleet(*, full: bool, say: Say) -> Result:
    """Check a fleet as `plateseal config check` does, and find every setting's origin; reduced, only that it passes."""
    count = CAMERAS if full else REDUCED_CAMERAS
    with TemporaryDirectory(prefix="plateseal-fleet-") as folder:
        directory = write_fleet(Path(folder) / "fleet", sites=count // 15, cameras=count, fleet=FLEET + "# 300\n" * 50)
        began_s = time.monotonic()
        fleet = load_fleet(directory)
        settings = sum(len(settings_of(unit, unit.config)) for unit in fleet.units if unit.config is not None)
        took_s = time.monotonic() - began_s
    figures = f"{len(fleet.units)} cameras, {settings} settings, {len(fleet.problems)} problems in {took_s:.1f} s"
    say(figures)
    whole = len(fleet.units) == count and not fleet.problems and settings > count
    holds = whole and (not full or took_s <= FLEET_WITHIN_S)
    return Result("fleet", f"{CAMERAS} cameras are checked in {FLEET_WITHIN_S:g} s", figures, holds, took_s)

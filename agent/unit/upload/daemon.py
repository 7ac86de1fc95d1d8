"""The upload daemon: sealed bytes out, receipts in, erasure. It has the network and sees no pixel."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import ExitStack, nullcontext
from datetime import datetime, timedelta
from typing import Final

from agent.config.models import UnitConfig
from agent.disk.files import LocalFiles
from agent.disk.lock import SpoolLock, SpoolPart
from agent.errors import KeyFileError, TransportError
from agent.keys.certificate import CertificateWatch, certificate_words
from agent.keys.known_keys import KnownKeys
from agent.keys.renewal import RENEWED_NAME, newest_certificate
from agent.ports import Clock, SpoolView
from agent.records import ClockState, SpoolState, Usage
from agent.seal.selftest import UPLOAD_CHECKS, run_self_test
from agent.spool.spool import FileSpool
from agent.unit.process.clock import SystemClock
from agent.unit.process.clock_trust import ReceiptTime
from agent.unit.process.lifecycle import Lifecycle
from agent.unit.process.prepare import prepare_daemon
from agent.unit.process.state import make_state_dir
from agent.unit.reload.trial import Reload
from agent.unit.reload.upload import UploadChange, UploadReload
from agent.unit.status.metrics import MetricsFiles
from agent.unit.status.report import THERMAL, HealthReporter, disk_space, read_health, read_temperature
from agent.unit.status.samples import Sample
from agent.unit.upload.receipt_keys import PinnedKeys
from agent.unit.upload.renewal import CertificateRenewal
from agent.unit.upload.tls_files import TlsFiles
from agent.upload.tls import HttpsTransport
from agent.upload.worker import UploadStats, UploadWorker

_log = logging.getLogger(__name__)

ERASERS: Final = 4
"""Files erased side by side: each waits for the disk twice, and a disk answers four such waits in the time of one."""
COUNTING_SHARE: Final = 1 / 30
"""Counting what waits reads two directories: at once while they are small, every half minute or so at 100,000 files."""
FIRST_COUNT_AFTER_S: Final = 3.0
"""The first count leaves the start to the first listing, which a large backlog makes long enough."""
LOOK_EVERY_S: Final = 0.5
"""How often the record of signing keys is looked at before it has one."""


class SpoolGauges:
    """What waits in the spool, counted again only after `1 / COUNTING_SHARE` times what the last count took."""

    def __init__(self, spool: SpoolView, clock: Clock) -> None:
        """Prepare; the first count comes in `FIRST_COUNT_AFTER_S`."""
        self._spool = spool
        self._clock = clock
        self._count_at_s = clock.monotonic_s() + FIRST_COUNT_AFTER_S
        self._counted: tuple[Usage, Usage] | None = None
        self._oldest_at: datetime | None = None

    def count_now(self) -> None:
        """Let the next samples be counted anew."""
        self._count_at_s = self._clock.monotonic_s()

    def samples(self) -> Iterator[Sample]:
        """Yield the gauges as last counted; none before the first count.

        Raises:
            SpoolError: The disk refused.
        """
        began_s = self._clock.monotonic_s()
        if began_s >= self._count_at_s:
            self._counted = self._spool.usage(SpoolState.PENDING), self._spool.usage(SpoolState.QUARANTINE)
            oldest = self._spool.entries(SpoolState.PENDING, limit=1)
            self._oldest_at = oldest[0].spooled_at if oldest else None
            ended_s = self._clock.monotonic_s()
            self._count_at_s = ended_s + (ended_s - began_s) / COUNTING_SHARE
        if self._counted is None:
            return
        pending, set_aside = self._counted
        waits = self._clock.now() - self._oldest_at if self._oldest_at is not None else timedelta(0)
        yield Sample("pending", pending.count)
        yield Sample("pending_bytes", pending.bytes)
        yield Sample("pending_oldest_seconds", max(round(waits.total_seconds(), 3), 0.0))
        yield Sample("quarantined", set_aside.count)
        yield Sample("quarantine_alarm", float(set_aside.count > 0))


def run_upload(config: UnitConfig, *, drain: bool = False) -> None:
    """Build every adapter, then deliver until a signal says stop.

    Args:
        config: The unit's configuration.
        drain: End as soon as nothing is left; or fail, as soon as all that is left may not be sent now.

    Raises:
        PlatesealError: Anything that keeps the daemon from running, in one line.
    """
    stop = prepare_daemon()
    run_self_test(UPLOAD_CHECKS)
    make_state_dir(config.state_dir)
    bounds, files = config.spool, LocalFiles()
    spool = FileSpool(
        bounds.directory, max_bytes=bounds.max_bytes, max_count=bounds.max_count, files=files, erasers=ERASERS
    )
    with SpoolLock(bounds.directory, SpoolPart.UPLOAD):  # before anything of the unit's is changed
        reload: Reload[UploadChange] = Reload(config, "upload", files=files, clock=SystemClock())
        spool.recover_shreds()
        _Delivery(reload, spool, files, stop).run(drain=drain)


class _Delivery:
    """One worker after the other, each with the configuration of its time; the counts go on."""

    def __init__(self, reload: Reload[UploadChange], spool: FileSpool, files: LocalFiles, stop: Lifecycle) -> None:
        self._reload = reload
        self._spool = spool
        self._stop = stop
        self._clock = SystemClock()
        self._stats = UploadStats()
        self._state_dir = reload.config.state_dir
        self._known_keys = KnownKeys(self._state_dir)
        self._receipt_time = ReceiptTime(self._state_dir, files, self._clock)
        self._gauges = SpoolGauges(spool, self._clock)
        self._certificate = self._watch_certificate()
        self._transport: HttpsTransport | None = None
        self._changes = UploadReload(reload, self._stats, ask=self._ask, clock=self._clock, stop=stop)

    def run(self, *, drain: bool) -> None:
        """Deliver until told to stop, or until nothing is left that may be sent now.

        Raises:
            PlatesealError: As `run_upload`.
        """
        with MetricsFiles(self._reload.config.metrics_dir, "upload", self._samples):
            if not drain:
                self._changes.watch()
            worker = self._connect()
            self._stop.ready(self._status)
            try:
                with nullcontext() if drain else self._beside():
                    if _await_first_key(self._known_keys, self._spool, self._stop, drain=drain):
                        self._deliver(worker, drain=drain)
                        while not drain and self._changes.take_up():
                            self._deliver(self._connect(), drain=drain)
            finally:
                self._disconnect()
                self._receipt_time.write_note()
            self._gauges.count_now()
        _log.info("upload ended: %d acknowledged, %d erased", self._stats.acknowledged, self._stats.shredded)

    def _connect(self) -> UploadWorker | None:
        """Make the worker of the configuration in use; None if that was on trial and is taken back.

        Raises:
            KeyFileError: A file that it names is missing or wrong.
        """
        settings = self._reload.config.upload
        try:
            receiver_keys = PinnedKeys(settings.receiver_key, self._clock)
            tls_files = TlsFiles(settings, self._clock, state_dir=self._state_dir)
            self._certificate = self._watch_certificate()
        except KeyFileError as error:
            if not self._reload.on_trial:
                raise
            self._reload.reject(str(error))
            return None
        self._transport = transport = HttpsTransport(
            settings.url,
            context=tls_files.context,
            clock=self._clock,
            connect_timeout_s=settings.connect_timeout_s,
            reply_timeout_s=settings.reply_timeout_s,
            renewed=tls_files.renewed,
            own=lambda: certificate_words(
                newest_certificate(settings.certificate, self._state_dir), settings.ca, self._clock.now()
            ),
            is_stopped=self._changes.halt.is_set,
        )
        return UploadWorker(
            spool=self._spool,
            transport=transport,
            receiver_keys=receiver_keys,
            device_key=self._known_keys.find,
            settings=settings,
            clock=self._clock,
            stop=self._changes.halt,
            note_receipt=self._receipt_time.note_receipt,
            stats=self._stats,
        )

    def _deliver(self, worker: UploadWorker | None, *, drain: bool) -> None:
        """Let a worker deliver until it is told to end."""
        if worker is None:
            return
        _log.info("delivering to %s", self._reload.config.upload.url)
        try:
            worker.run(drain=drain)
        finally:
            self._disconnect()

    def _disconnect(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _watch_certificate(self) -> CertificateWatch:
        configured = self._reload.config.upload.certificate
        return CertificateWatch(configured, self._clock, renewed=self._state_dir / RENEWED_NAME)

    def _beside(self) -> ExitStack:
        """Return what works beside the deliveries: health reports, and the renewal of the certificate."""
        stack = ExitStack()
        stack.enter_context(HealthReporter(lambda: read_health(self._reload.config), self._report))
        stack.enter_context(CertificateRenewal(lambda: self._reload.config, self._renew, self._clock))
        return stack

    def _renew(self, request: bytes) -> bytes | None:
        return self._connected().renew(request)

    def _report(self, body: bytes) -> None:
        self._connected().report(body)

    def _ask(self) -> int:
        return self._connected().ask()

    def _connected(self) -> HttpsTransport:
        if self._transport is None:
            raise TransportError("nothing has been connected yet")
        return self._transport

    def _status(self) -> str:
        link = {True: "delivering", False: "the receiver is not reached", None: "nothing sent yet"}[self._stats.link_up]
        return f"{link}; {self._stats.acknowledged} reads delivered"

    def _system(self) -> Iterator[Sample]:
        left_s = self._certificate.left_s()
        free_bytes, _ = disk_space(self._reload.config.spool.directory)
        temperature_mc = read_temperature(THERMAL)
        yield Sample("disk_free_bytes", free_bytes)
        yield Sample("clock_synchronized", float(self._clock.state() is ClockState.SYNCHRONIZED))
        if left_s is not None:
            yield Sample("certificate_left_seconds", round(left_s))
        if temperature_mc is not None:
            yield Sample("temperature_celsius", temperature_mc / 1000)

    def _samples(self) -> tuple[Sample, ...]:
        return *_counts(self._stats), *self._gauges.samples(), *self._system(), *self._reload.samples()


def _await_first_key(known: KnownKeys, spool: SpoolView, stop: threading.Event, *, drain: bool) -> bool:
    """Wait until capture has recorded a signing key: without any, every envelope would look like a stranger's.

    Returns:
        Whether there is one; else it was told to stop, or to drain a spool that is empty.

    Raises:
        KeyFileError: Envelopes wait that cannot be checked, and no one would be waited for.
    """
    if not known.is_empty():
        return True
    if spool.entries(SpoolState.PENDING, limit=1):
        what = f"{known.directory}: no signing key is recorded, so the reads that wait cannot be checked"
        if drain:
            raise KeyFileError(f"{what}; start capture once with this configuration")
        _log.warning("%s; they are sent once capture has started", what)
    while not drain and known.is_empty():
        if stop.wait(LOOK_EVERY_S):
            return False
    return not drain


def _counts(stats: UploadStats) -> Iterator[Sample]:
    yield Sample("acknowledged", stats.acknowledged)
    yield Sample("shredded", stats.shredded)
    yield Sample("refused", stats.refused)
    yield Sample("corrupt", stats.corrupt)
    yield Sample("unsigned", stats.unsigned)
    yield Sample("unreadable", stats.unreadable)
    yield Sample("bad_receipts", stats.bad_receipts)
    yield Sample("failed_batches", stats.failed_batches)
    yield Sample("sent_bytes", stats.sent_bytes)
    yield Sample("slowest_erasure_seconds", round(stats.slowest_erasure_s, 3))
    yield Sample("link_up", float(bool(stats.link_up)))

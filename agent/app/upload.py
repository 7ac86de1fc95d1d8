"""The upload daemon: sealed bytes out, receipts in, erasure. It has the network and sees no pixel."""

from __future__ import annotations

import logging
import threading
from typing import Final

from agent.app.clock import SystemClock
from agent.app.clock_trust import ReceiptTime
from agent.app.metrics import UPLOAD_FILE, MetricsFile, Samples
from agent.app.process import prepare_daemon
from agent.app.state import make_state_dir
from agent.app.tls_files import TlsFiles
from agent.config.models import UnitConfig
from agent.envelope.cose import ed25519_kid
from agent.errors import KeyFileError
from agent.ports import Clock, SpoolView
from agent.records import SpoolState, Usage
from agent.seal.keyfiles import load_ed25519_public
from agent.seal.known_keys import KnownKeys
from agent.seal.selftest import UPLOAD_CHECKS, run_self_test
from agent.spool.files import LocalFiles
from agent.spool.lock import SpoolLock, SpoolPart
from agent.spool.spool import FileSpool
from agent.upload.tls import HttpsTransport
from agent.upload.worker import UploadStats, UploadWorker

_log = logging.getLogger(__name__)

UPLOAD_COUNTERS: Final = frozenset(
    {
        "acknowledged",
        "shredded",
        "refused",
        "corrupt",
        "unsigned",
        "bad_receipts",
        "failed_batches",
        "sent_bytes",
    }
)
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

    def count_now(self) -> None:
        """Let the next samples be counted anew."""
        self._count_at_s = self._clock.monotonic_s()

    def samples(self) -> Samples:
        """Return the gauges as last counted; none before the first count.

        Raises:
            SpoolError: The disk refused.
        """
        began_s = self._clock.monotonic_s()
        if began_s >= self._count_at_s:
            self._counted = self._spool.usage(SpoolState.PENDING), self._spool.usage(SpoolState.QUARANTINE)
            ended_s = self._clock.monotonic_s()
            self._count_at_s = ended_s + (ended_s - began_s) / COUNTING_SHARE
        if self._counted is None:
            return {}
        pending, set_aside = self._counted
        return {
            "pending": pending.count,
            "pending_bytes": pending.bytes,
            "quarantined": set_aside.count,
            "quarantine_alarm": float(set_aside.count > 0),
        }


def run_upload(config: UnitConfig, *, drain: bool = False) -> None:
    """Build every adapter, then deliver until a signal says stop.

    Args:
        config: The unit's configuration.
        drain: End as soon as nothing is left that may be sent now.

    Raises:
        PlatesealError: Anything that keeps the daemon from running, in one line.
    """
    stop = prepare_daemon()
    run_self_test(UPLOAD_CHECKS)
    make_state_dir(config.state_dir)
    bounds, files = config.spool, LocalFiles()
    spool = FileSpool(bounds.directory, max_bytes=bounds.max_bytes, max_count=bounds.max_count, files=files)
    with SpoolLock(bounds.directory, SpoolPart.UPLOAD):
        spool.recover_shreds()
        _deliver(config, spool, files, stop, drain=drain)


def _deliver(config: UnitConfig, spool: FileSpool, files: LocalFiles, stop: threading.Event, *, drain: bool) -> None:
    settings, clock = config.upload, SystemClock()
    receiver_key = load_ed25519_public(settings.receiver_key)
    known_keys = KnownKeys(config.state_dir)
    tls_files = TlsFiles(settings, clock)
    transport = HttpsTransport(
        settings.url,
        context=tls_files.context,
        clock=clock,
        connect_timeout_s=settings.connect_timeout_s,
        reply_timeout_s=settings.reply_timeout_s,
        renewed=tls_files.renewed,
    )
    worker = UploadWorker(
        spool=spool,
        transport=transport,
        receiver_keys={ed25519_kid(receiver_key): receiver_key},
        device_key=known_keys.find,
        settings=settings,
        clock=clock,
        stop=stop,
        note_receipt=ReceiptTime(config.state_dir, files, clock).note_receipt,
    )
    gauges = SpoolGauges(spool, clock)

    def samples() -> Samples:
        return {**_counts(worker.stats), **gauges.samples()}

    _log.info("delivering to %s", settings.url)
    try:
        with MetricsFile(config.state_dir / UPLOAD_FILE, samples, counters=UPLOAD_COUNTERS):
            if _await_first_key(known_keys, spool, stop, drain=drain):
                worker.run(drain=drain)
            gauges.count_now()
    finally:
        transport.close()
    _log.info("upload ended: %d acknowledged, %d erased", worker.stats.acknowledged, worker.stats.shredded)


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


def _counts(stats: UploadStats) -> Samples:
    return {
        "acknowledged": stats.acknowledged,
        "shredded": stats.shredded,
        "refused": stats.refused,
        "corrupt": stats.corrupt,
        "unsigned": stats.unsigned,
        "bad_receipts": stats.bad_receipts,
        "failed_batches": stats.failed_batches,
        "sent_bytes": stats.sent_bytes,
        "slowest_erasure_seconds": round(stats.slowest_erasure_s, 3),
        "link_up": float(bool(stats.link_up)),
    }

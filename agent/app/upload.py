"""The upload daemon: sealed bytes out, receipts in, erasure. It has the network and sees no pixel."""

from __future__ import annotations

import logging

from agent.app.clock import SystemClock
from agent.app.metrics import UPLOAD_FILE, MetricsFile, Samples
from agent.app.process import prepare_daemon
from agent.app.state import make_state_dir
from agent.app.tls_files import TlsFiles
from agent.config.models import UnitConfig
from agent.envelope.cose import ed25519_kid
from agent.records import SpoolState
from agent.seal.keyfiles import load_ed25519_public
from agent.seal.selftest import UPLOAD_CHECKS, run_self_test
from agent.spool.files import LocalFiles
from agent.spool.spool import FileSpool
from agent.upload.tls import HttpsTransport
from agent.upload.worker import UploadStats, UploadWorker

_log = logging.getLogger(__name__)

UPLOAD_COUNTERS = frozenset({"acknowledged", "shredded", "refused", "corrupt", "bad_receipts", "failed_batches"})


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
    settings, clock = config.upload, SystemClock()
    receiver_key = load_ed25519_public(settings.receiver_key)
    tls_files = TlsFiles(settings, clock)
    spool = FileSpool(config.spool.directory, max_bytes=config.spool.max_bytes, files=LocalFiles())
    spool.recover_shreds()
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
        settings=settings,
        clock=clock,
        stop=stop,
    )

    def samples() -> Samples:
        waiting = spool.entries(SpoolState.PENDING)
        set_aside = spool.entries(SpoolState.QUARANTINE)
        return {
            **_counts(worker.stats),
            "pending": len(waiting),
            "pending_bytes": sum(entry.size_bytes for entry in waiting),
            "quarantined": len(set_aside),
        }

    _log.info("delivering to %s", settings.url)
    try:
        with MetricsFile(config.state_dir / UPLOAD_FILE, samples, counters=UPLOAD_COUNTERS):
            worker.run(drain=drain)
    finally:
        transport.close()
    _log.info("upload ended: %d acknowledged, %d erased", worker.stats.acknowledged, worker.stats.shredded)


def _counts(stats: UploadStats) -> Samples:
    return {
        "acknowledged": stats.acknowledged,
        "shredded": stats.shredded,
        "refused": stats.refused,
        "corrupt": stats.corrupt,
        "bad_receipts": stats.bad_receipts,
        "failed_batches": stats.failed_batches,
        "link_up": float(bool(stats.link_up)),
    }

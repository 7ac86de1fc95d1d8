"""The files in which a daemon shows its metrics: a text file for Prometheus, and a snapshot for `plateseal status`.

Owns: both files. Leaves to others: what is measured (`agent.unit.status.samples`). They lie in the runtime directory,
which is in memory on a unit (`/run/plateseal`): they are written once a second, and nothing is lost with them. Nothing
of ours reads the Prometheus text; no port is opened. The text is open to everybody on the machine, for it is meant for
the exporter of another user, which reads it where it lies; the snapshot is the daemons' own.

Beside them lies a file that the daemon holds locked for as long as it writes: `status` sees its end at once, whether it
was stopped, was killed, or went with the power.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Self

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from agent.disk.durable import replace_unsynced
from agent.disk.lock import Presence, is_present
from agent.errors import SpoolError
from agent.unit.status.samples import METRICS, Kind, Sample, Snapshot

WRITE_EVERY_S: Final = 1.0
FRESH_WITHIN_S: Final = 10.0
"""A daemon writes once a second; a snapshot that is older is that of one that hangs."""
TEXT_MODE: Final = 0o644
"""node_exporter has a user of its own."""
MAX_SNAPSHOT_BYTES: Final = 1 << 20
"""One of sixteen cameras has about 20 kB."""
DAEMONS: Final = ("capture", "upload")

_FAMILIES: Final = {Kind.COUNTER: CounterMetricFamily, Kind.GAUGE: GaugeMetricFamily}
_log = logging.getLogger(__name__)


class _Collected(Collector):
    def __init__(self) -> None:
        self.samples: tuple[Sample, ...] = ()

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample in self.samples:
            metric = METRICS[sample.name]
            family = families.get(metric.name)
            if family is None:
                kind = _FAMILIES[metric.kind]
                family = families[metric.name] = kind(f"plateseal_{metric.name}", metric.help, labels=metric.labels)
            family.add_metric(sample.labels, sample.value)
        return families.values()


class MetricsFiles:
    """Writes a daemon's files once a second on a thread of its own, and once more at the end."""

    def __init__(self, directory: Path, daemon: str, read: Callable[[], Iterable[Sample]]) -> None:
        """Prepare; `read` is called on the writing thread.

        Args:
            directory: The runtime directory; made if it is missing.
            daemon: `capture`, `upload` or `receiver`, which the files are named after.
            read: Returns all samples now.
        """
        self._text = directory / f"{daemon}.prom"
        self._snapshot = snapshot_path(directory, daemon)
        self._read = read
        self._collected = _Collected()
        self._registry = CollectorRegistry()
        self._registry.register(self._collected)
        self._ended = threading.Event()
        self._failed = False
        self._presence: Presence | None = None
        self._is_shared = False
        self._presence_path = _presence_path(directory, daemon)
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        """Start writing."""
        self.write()
        self._show_presence()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write the last values and stop."""
        self._ended.set()
        self._thread.join()
        self.write()
        if self._presence is not None:
            self._presence.close()

    def write(self) -> None:
        """Write now, each file in one step, so that a reader never sees half of it.

        A disk that refuses is logged once, not raised: metrics never stop a daemon.
        """
        try:
            self._collected.samples = tuple(self._read())
            self._text.parent.mkdir(mode=0o700, exist_ok=True)
            replace_unsynced(self._text, generate_latest(self._registry), mode=TEXT_MODE)
            self._write_snapshot()
        except (OSError, SpoolError) as error:
            if not self._failed:
                reason = getattr(error, "strerror", None) or error
                _log.warning("metrics cannot be written to %s: %s", self._text.parent, reason)
            self._failed = True
        else:
            self._failed = False

    def _write_snapshot(self) -> None:
        rows = [[sample.name, sample.value, *sample.labels] for sample in self._collected.samples]
        replace_unsynced(self._snapshot, json.dumps(rows).encode())

    def _run(self) -> None:
        while not self._ended.wait(WRITE_EVERY_S):
            self.write()
            self._show_presence()

    def _show_presence(self) -> None:
        """Show from now on that this daemon is there; a folder that cannot be written to is told of by `write`."""
        if self._presence is not None or self._is_shared:
            return
        try:
            self._presence = Presence(self._presence_path)
        except BlockingIOError:
            self._is_shared = True
            directory = self._presence_path.parent
            _log.error(
                "%s: another daemon writes its metrics there; each unit needs a runtime_dir of its own", directory
            )
        except OSError:
            pass  # `write` tells of a folder that cannot be written to


def snapshot_path(directory: Path, daemon: str) -> Path:
    """Return where a daemon's snapshot is."""
    return directory / f"{daemon}.json"


def _presence_path(directory: Path, daemon: str) -> Path:
    """Return the file that a daemon holds while it runs."""
    return directory / f"{daemon}.lock"


def read_snapshot(directory: Path, daemon: str) -> tuple[Snapshot, bool]:
    """Read what a daemon measured last.

    Returns:
        The snapshot, empty while there is none or where it is damaged; and whether it is of a daemon that runs, and
        does not hang.
    """
    try:
        with snapshot_path(directory, daemon).open("rb") as file:
            age_s = time.time() - os.fstat(file.fileno()).st_mtime
            rows = json.loads(file.read(MAX_SNAPSHOT_BYTES))
        measured = Snapshot(Sample(name, float(value), tuple(labels)) for name, value, *labels in rows)
    except (OSError, ValueError, TypeError, RecursionError):
        return Snapshot(), False
    return measured, abs(age_s) < FRESH_WITHIN_S and is_present(_presence_path(directory, daemon))


def read_snapshots(directory: Path) -> Snapshot:
    """Read what both daemons measured last, together."""
    capture, upload = (read_snapshot(directory, daemon)[0] for daemon in DAEMONS)
    return capture | upload

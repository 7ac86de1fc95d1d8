"""Metrics as a Prometheus text file, for node_exporter, `plateseal status` and the demo. No port is opened.

Owns: the metric names and the file. The daemons keep plain counts; this module looks at them once a second.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Self

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import write_to_textfile
from prometheus_client.parser import text_fd_to_metric_families
from prometheus_client.registry import Collector

from agent.errors import SpoolError
from agent.unit.status.metric_help import HELP

CAPTURE_FILE: Final = "capture.prom"
UPLOAD_FILE: Final = "upload.prom"
WRITE_EVERY_S: Final = 1.0

_log = logging.getLogger(__name__)

Samples = dict[str, float]
"""Metric name without the prefix `plateseal_`, and its value now. It may have labels: `frames{camera="a"}`."""
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


def labelled(name: str, **labels: str) -> str:
    """Return a metric's name with labels, whose values hold no quotes."""
    pairs = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{pairs}}}"


class _Snapshot(Collector):
    def __init__(self, read: Callable[[], Samples], counters: frozenset[str]) -> None:
        self._read = read
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for sample, value in self._read().items():
            name, _, labels = sample.partition("{")
            pairs = dict(_LABEL.findall(labels))
            kind = CounterMetricFamily if name in self._counters else GaugeMetricFamily
            family = families.setdefault(name, kind(f"plateseal_{name}", HELP.get(name, ""), labels=list(pairs)))
            family.add_metric(list(pairs.values()), value)
        yield from families.values()


class MetricsFile:
    """Writes a text file once a second on a thread of its own, and once more at the end."""

    def __init__(self, path: Path, read: Callable[[], Samples], *, counters: frozenset[str]) -> None:
        """Prepare; `read` is called on the writing thread and returns all values.

        Args:
            path: The file; replaced in one step, so a reader never sees half of it.
            read: The values now.
            counters: Names that only grow; all others are gauges.
        """
        self._path = path
        self._registry = CollectorRegistry()
        self._registry.register(_Snapshot(read, counters))
        self._ended = threading.Event()
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

    def __enter__(self) -> Self:
        """Start writing."""
        self.write()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Write the last values and stop."""
        self._ended.set()
        self._thread.join()
        self.write()

    def write(self) -> None:
        """Write now. A disk that refuses is logged once, not raised: metrics never stop a daemon."""
        try:
            write_to_textfile(str(self._path), self._registry)
        except (OSError, SpoolError) as error:
            if not self._failed:
                reason = getattr(error, "strerror", None) or error
                _log.warning("metrics cannot be written to %s: %s", self._path, reason)
            self._failed = True
        else:
            self._failed = False

    def _run(self) -> None:
        while not self._ended.wait(WRITE_EVERY_S):
            self.write()


def read_metrics(path: Path) -> Samples:
    """Read a metrics file back; empty while there is none.

    Returns:
        Values by sample name without the prefix `plateseal_` (counters end in `_total`); of one with labels the sum,
        and each as written, as in `frames_total{camera="a"}`.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            families = list(text_fd_to_metric_families(stream))
    except (OSError, ValueError):
        return {}
    found: Samples = {}
    for sample in (sample for family in families for sample in family.samples):
        name = sample.name.removeprefix("plateseal_")
        found[name] = found.get(name, 0.0) + sample.value
        if sample.labels:
            found[labelled(name, **sample.labels)] = sample.value
    return found

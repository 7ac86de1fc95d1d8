"""What daemons and receiver measure: every metric with its kind and meaning, and samples of them with their types.

Owns: the table of metrics, and the questions that readers ask of a snapshot. Leaves to others: the values (the daemons'
parts), and the files (`agent.unit.status.metrics`). Labels are a camera's name, a daemon's, or a reason; never text
from a plate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """How the values of a metric go on."""

    COUNTER = "counter"
    GAUGE = "gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: Without the prefix `plateseal_` and the `_total` that Prometheus has at the end of a counter.
        kind: A counter only grows, from 0 at the start of the daemon; a gauge goes up and down.
        help: What it says, in a line for whoever reads a dashboard.
        labels: Names of the labels that each sample has.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


METRICS: Final = {
    metric.name: metric
    for metric in (
        Metric("acknowledged", Kind.COUNTER, "Envelopes with a verified receipt."),
        Metric("bad_receipts", Kind.COUNTER, "Receipts that failed a check; nothing was erased on them."),
        Metric("camera_clock_dates", Kind.GAUGE, "Whether the camera's clock dates its frames: 1 or 0.", ("camera",)),
        Metric(
            "camera_clock_drift_ratio",
            Kind.GAUGE,
            "By how many seconds the offset of the camera's clock grows in a second; there after an hour.",
            ("camera",),
        ),
        Metric(
            "camera_clock_offset_seconds",
            Kind.GAUGE,
            "How much more the camera's clock shows than the unit's did when the same frame came.",
            ("camera",),
        ),
        Metric(
            "camera_clock_watched_seconds",
            Kind.GAUGE,
            "For how long the camera's clock has been watched, since it last jumped.",
            ("camera",),
        ),
        Metric("camera_frames", Kind.COUNTER, "Frames that the camera delivered.", ("camera",)),
        Metric(
            "camera_frames_dropped",
            Kind.COUNTER,
            "Frames of the camera that were too old or gave way to a newer one.",
            ("camera",),
        ),
        Metric("camera_frozen", Kind.COUNTER, "Times the camera showed no new picture for too long.", ("camera",)),
        Metric("camera_lag_seconds", Kind.GAUGE, "How much later than the fastest the newest frame came.", ("camera",)),
        Metric(
            "camera_login_refused", Kind.GAUGE, "Whether the camera refuses the user or password: 1 or 0.", ("camera",)
        ),
        Metric("camera_reconnects", Kind.COUNTER, "Times the camera was connected again.", ("camera",)),
        Metric("camera_up", Kind.GAUGE, "Whether the camera delivers: 1 or 0.", ("camera",)),
        Metric(
            "certificate_left_seconds", Kind.GAUGE, "Time until the unit's TLS certificate ends; below 0 when it has."
        ),
        Metric(
            "chain_sequence", Kind.GAUGE, "Place of the next envelope in its chain; 0 at the beginning of a new one."
        ),
        Metric("clock_synchronized", Kind.GAUGE, "Whether the kernel holds its clock to be synchronised: 1 or 0."),
        Metric("config_on_trial", Kind.GAUGE, "Whether the configuration in use has yet to work: 1 or 0.", ("daemon",)),
        Metric("config_rejected", Kind.GAUGE, "Whether the last configuration was refused: 1 or 0.", ("daemon",)),
        Metric(
            "config_serial", Kind.GAUGE, "Serial of the configuration in use; 0 for the unit's own file.", ("daemon",)
        ),
        Metric("corrupt", Kind.COUNTER, "Envelopes that were damaged on the disk and set aside."),
        Metric("crops_left_out", Kind.COUNTER, "Reads accepted without their crop."),
        Metric("detections", Kind.COUNTER, "Plates found in frames.", ("camera",)),
        Metric("disk_free_bytes", Kind.GAUGE, "Free for the daemons on the spool's file system."),
        Metric("dropped", Kind.COUNTER, "Reads that the full spool refused."),
        Metric("evicted", Kind.COUNTER, "Accepted reads that newer ones forced out of a full spool."),
        Metric("expired", Kind.COUNTER, "Accepted reads that were erased because they waited too long."),
        Metric("failed_batches", Kind.COUNTER, "Requests without an agreed answer."),
        Metric("frames", Kind.COUNTER, "Frames that were looked at.", ("camera",)),
        Metric("frames_expected", Kind.GAUGE, "Frames of the recording; 0 for a camera.", ("camera",)),
        Metric("frames_lost", Kind.COUNTER, "Frames that came and could not be decoded.", ("camera",)),
        Metric("frames_moving", Kind.COUNTER, "Frames on which something moved.", ("camera",)),
        Metric("frames_searched", Kind.COUNTER, "Frames on which the detector ran.", ("camera",)),
        Metric("keyring_expired", Kind.GAUGE, "Whether reads are sealed to keys of past epochs: 1 or 0."),
        Metric("keyring_left_seconds", Kind.GAUGE, "Time until the first recipient runs out of keys."),
        Metric("keyring_serial", Kind.GAUGE, "Serial of the keyring in use."),
        Metric("link_up", Kind.GAUGE, "Whether the last request was answered: 1 or 0."),
        Metric("looks", Kind.COUNTER, "Times a plate's text was read.", ("camera",)),
        Metric("passages", Kind.COUNTER, "Vehicles whose looks agreed.", ("camera",)),
        Metric("pending", Kind.GAUGE, "Sealed reads that wait in the spool."),
        Metric("pending_bytes", Kind.GAUGE, "Size of what waits in the spool."),
        Metric("pending_oldest_seconds", Kind.GAUGE, "For how long the oldest read has waited; 0 while none waits."),
        Metric("quarantine_alarm", Kind.GAUGE, "Whether anything is set aside: 1 or 0."),
        Metric("quarantined", Kind.GAUGE, "Envelopes that are set aside."),
        Metric("receiver_bodies_bytes", Kind.GAUGE, "Receiver: room that bodies of requests take in memory."),
        Metric("receiver_connections", Kind.GAUGE, "Receiver: connections with a verified certificate."),
        Metric(
            "receiver_envelopes",
            Kind.COUNTER,
            "Receiver: envelopes by their answer: stored, refused, later.",
            ("answer",),
        ),
        Metric("receiver_forks", Kind.COUNTER, "Receiver: envelopes that show that two machines use one unit's key."),
        Metric(
            "receiver_handshakes_refused",
            Kind.COUNTER,
            "Receiver: connections that did not come in, by reason.",
            ("reason",),
        ),
        Metric(
            "receiver_requests_refused", Kind.COUNTER, "Receiver: requests refused as a whole, by status.", ("status",)
        ),
        Metric("refused", Kind.COUNTER, "Envelopes that the receiver refused for good."),
        Metric(
            "rejected_passages",
            Kind.COUNTER,
            "Vehicles whose looks did not agree enough, by reason.",
            ("camera", "reason"),
        ),
        Metric("sealed", Kind.COUNTER, "Reads accepted by the spool."),
        Metric("sent_bytes", Kind.COUNTER, "Size of request bodies, failed ones too."),
        Metric("shredded", Kind.COUNTER, "Envelopes erased against a receipt."),
        Metric("slowest_erasure_seconds", Kind.GAUGE, "Longest time from an answer to the end of its files."),
        Metric("temperature_celsius", Kind.GAUGE, "The hottest sensor of the board."),
        Metric("unreadable", Kind.COUNTER, "Times the disk could not read an envelope."),
        Metric("unsigned", Kind.COUNTER, "Envelopes that none of the unit's own keys had signed."),
        Metric(
            "unvoted_looks", Kind.COUNTER, "Looks that were read and did not vote, by reason.", ("camera", "reason")
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Sample:
    """The value of a metric at one moment.

    Attributes:
        name: Of the metric, as in `METRICS`.
        value: The number, in the metric's unit.
        labels: Values of the metric's labels, in their order.
    """

    name: str
    value: float
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what is not in the table.

        Raises:
            ValueError: The metric is not known, or has other labels.
        """
        metric = METRICS.get(self.name)
        if metric is None or len(metric.labels) != len(self.labels):
            raise ValueError(f"{self.name}: no metric with {len(self.labels)} labels has this name")


class Snapshot:
    """What was measured at one moment, by one daemon or several. Does not change."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        """Hold `samples`; of the same one twice, the last."""
        self._values = {(sample.name, sample.labels): sample.value for sample in samples}

    def get(self, name: str, *labels: str) -> float | None:
        """Return the value of one sample, or None where it was not measured."""
        return self._values.get((name, labels))

    def total(self, name: str) -> float:
        """Return the sum of a metric's samples over all labels; 0 where none was measured."""
        return sum(value for (of, _), value in self._values.items() if of == name)

    def __or__(self, other: Snapshot) -> Snapshot:
        """Return both together; where both have a sample, the other's."""
        both = Snapshot()
        both._values = self._values | other._values
        return both

    def __bool__(self) -> bool:
        """Whether anything was measured."""
        return bool(self._values)

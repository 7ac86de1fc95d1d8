"""From the units' health reports to what an operator has to do: which unit first, and why.

Owns: the words. Leaves to others: from which values on (`agent.health.limits`), the page (`fleet_page`).
Silence is judged by the receiver's clock and everything else by the report, whose unit may have a wrong clock; a unit
that was never heard of is told from one that fell silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from agent.health.limits import (
    CERTIFICATE_SHORT,
    CERTIFICATE_URGENT,
    DISK_SHORT_SHARE,
    DISK_URGENT_SHARE,
    FULL_SHARE,
    HOT_MC,
    KEYRING_SHORT,
    OLD_BACKLOG,
    SILENT_AFTER,
    SLOW_CAMERA_MS,
    VERY_OLD_BACKLOG,
)
from agent.receiver.fleet.store import Reported
from agent.wire.health import HealthReport
from agent.wire.plaintext import ClockState


class Level(IntEnum):
    """How a unit is, worst last."""

    FINE = 0
    LOOK = 1
    TROUBLE = 2


@dataclass(frozen=True, slots=True)
class Concern:
    """One thing that somebody should look at.

    Attributes:
        level: How much.
        text: In a few words.
    """

    level: Level
    text: str


@dataclass(frozen=True, slots=True)
class UnitState:
    """One unit as the page shows it.

    Attributes:
        name: The device.
        reported: Its newest report, if it has sent one.
        concerns: Worst first.
    """

    name: str
    reported: Reported | None
    concerns: tuple[Concern, ...]

    @property
    def level(self) -> Level:
        """The worst of its concerns."""
        return max((concern.level for concern in self.concerns), default=Level.FINE)


def assess_fleet(names: Sequence[str], newest: Mapping[str, Reported], now: datetime) -> list[UnitState]:
    """Return every enrolled unit, the one that needs attention first at the top.

    Args:
        names: The enrolled devices; one that is there twice, with two keys, is one unit.
        newest: Their reports; those of devices that are not enrolled any more are left out.
        now: Aware time.
    """
    states = [assess_unit(name, newest.get(name), now) for name in sorted(set(names))]
    return sorted(states, key=lambda state: (-state.level, -len(state.concerns), state.name))


def assess_unit(name: str, reported: Reported | None, now: datetime) -> UnitState:
    """Judge one unit."""
    if reported is None:
        return UnitState(name, None, (Concern(Level.LOOK, "has not reported yet"),))
    silent = now - reported.received_at
    concerns = [Concern(Level.TROUBLE, f"silent for {span(silent)}")] if silent > SILENT_AFTER else []
    concerns += _concerns(reported.report)
    return UnitState(name, reported, tuple(sorted(concerns, key=lambda concern: -concern.level)))


def _concerns(report: HealthReport) -> Iterator[Concern]:
    yield from _daemon_concerns(report)
    yield from _backlog_concerns(report)
    yield from _ending("keyring", report.keyring_s, short=KEYRING_SHORT, urgent=timedelta(0))
    yield from _ending("TLS certificate", report.certificate_s, short=CERTIFICATE_SHORT, urgent=CERTIFICATE_URGENT)
    yield from _machine_concerns(report)


def _daemon_concerns(report: HealthReport) -> Iterator[Concern]:
    if not report.capture_up:
        yield Concern(Level.TROUBLE, "capture does not run")
    for camera in report.cameras:
        if camera.is_up is False:
            yield Concern(Level.TROUBLE, f"camera {camera.name} gives no picture")
        elif camera.lag_ms >= SLOW_CAMERA_MS:
            yield Concern(Level.LOOK, f"camera {camera.name} is {camera.lag_ms / 1000:.1f} s behind")
    for config in report.configs:
        if config.rejected is not None:
            yield Concern(Level.LOOK, f"{config.daemon} refused a configuration and runs on serial {config.serial}")


def _backlog_concerns(report: HealthReport) -> Iterator[Concern]:
    backlog = report.backlog
    waits = timedelta(seconds=backlog.oldest_s or 0)
    if waits > OLD_BACKLOG:
        level = Level.TROUBLE if waits > VERY_OLD_BACKLOG else Level.LOOK
        yield Concern(level, f"the oldest read waits for {span(waits)}")
    if backlog.max_bytes and backlog.size_bytes / backlog.max_bytes >= FULL_SHARE:
        yield Concern(Level.TROUBLE, f"spool {backlog.size_bytes / backlog.max_bytes:.0%} full")
    if backlog.set_aside:
        yield Concern(Level.LOOK, f"{backlog.set_aside:,} set aside")
    if report.reads.lost:
        yield Concern(Level.LOOK, f"forced out by its own bounds since the start: {report.reads.lost:,}")


def _ending(what: str, left_s: int | None, *, short: timedelta, urgent: timedelta) -> Iterator[Concern]:
    if left_s is None:
        yield Concern(Level.TROUBLE, f"{what} cannot be read")
        return
    left = timedelta(seconds=left_s)
    if left <= timedelta(0):
        yield Concern(Level.TROUBLE, f"{what} ended {span(-left)} ago")
    elif left < short:
        yield Concern(Level.TROUBLE if left < urgent else Level.LOOK, f"{what} ends in {span(left)}")


def _machine_concerns(report: HealthReport) -> Iterator[Concern]:
    if report.disk_size_bytes:
        share = report.disk_free_bytes / report.disk_size_bytes
        if share < DISK_SHORT_SHARE:
            level = Level.TROUBLE if share < DISK_URGENT_SHARE else Level.LOOK
            yield Concern(level, f"{max(share, 0.01):.0%} of the disk free")
    if report.clock is ClockState.UNSYNCHRONIZED:
        yield Concern(Level.LOOK, "clock not synchronised")
    if report.temperature_mc is not None and report.temperature_mc >= HOT_MC:
        yield Concern(Level.LOOK, f"{report.temperature_mc / 1000:.0f} °C")


def span(length: timedelta) -> str:
    """Write a length of time as a person says it, in one or two units."""
    minutes, seconds = divmod(max(int(length.total_seconds()), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days >= 3:
        return f"{days} days"
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{seconds} s"

"""The one judgement of a unit's health: what somebody should look at, how urgently, and in which words.

Owns: the levels and the words, which `plateseal status`, `plateseal doctor` and the fleet page share. Leaves to others:
from which values on (`agent.health.limits`), and where the numbers come from (`agent.unit.status.report`). Pure: no
clock is read; whether a unit has fallen silent is judged where its reports arrive (`agent.receiver.fleet.overview`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
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
    SLOW_CAMERA_MS,
    VERY_OLD_BACKLOG,
)
from agent.wire.health import CameraHealth, ConfigHealth, HealthReport
from agent.wire.plaintext import ClockState


class Level(IntEnum):
    """How urgent a finding is, worst last."""

    FINE = 0
    LOOK = 1
    TROUBLE = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that somebody should look at.

    Attributes:
        level: How urgent it is.
        about: The part of the unit, as `camera north`.
        words: What is wrong with it, so that `about` and `words` make a sentence.
    """

    level: Level
    about: str
    words: str

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.about} {self.words}"


def assess(report: HealthReport) -> list[Finding]:
    """Return what somebody should look at, in the order of the parts; empty where nothing is wrong."""
    found = [
        None if report.capture_up else Finding(Level.TROUBLE, "capture", "does not run"),
        *map(assess_camera, report.cameras),
        None if report.upload_up else Finding(Level.TROUBLE, "upload", "does not run"),
        *_assess_spool(report),
        assess_disk(report.disk_free_bytes, report.disk_size_bytes),
        assess_clock(report.clock),
        assess_keyring(report.keyring_s),
        assess_certificate(report.certificate_s),
        _assess_temperature(report.temperature_mc),
        *map(_assess_config, report.configs),
    ]
    return [finding for finding in found if finding is not None]


def assess_camera(camera: CameraHealth) -> Finding | None:
    """Judge one camera; a recording is never late."""
    if camera.is_up is False:
        return Finding(Level.TROUBLE, f"camera {camera.name}", "gives no picture")
    if camera.is_up and camera.lag_ms >= SLOW_CAMERA_MS:
        return Finding(Level.LOOK, f"camera {camera.name}", f"is {camera.lag_ms / 1000:.1f} s behind")
    return None


def assess_disk(free_bytes: int, size_bytes: int) -> Finding | None:
    """Judge the free space of the spool's file system; a size of 0 is not known, and not judged."""
    share = free_bytes / size_bytes if size_bytes else 1.0
    if share >= DISK_SHORT_SHARE:
        return None
    return Finding(
        Level.TROUBLE if share < DISK_URGENT_SHARE else Level.LOOK, "disk", f"has {disk_words(free_bytes, size_bytes)}"
    )


def assess_clock(state: ClockState) -> Finding | None:
    """Judge what the clock rests on."""
    if state is ClockState.BEHIND:
        return Finding(Level.TROUBLE, "clock", "shows a time that is over; set it right")
    return None if state is ClockState.SYNCHRONIZED else Finding(Level.LOOK, "clock", "is not synchronised")


def assess_keyring(left_s: int | None) -> Finding | None:
    """Judge the keyring by the seconds until it ends, less than 0 after; None where it cannot be read."""
    return _assess_end("keyring", left_s, short=KEYRING_SHORT, urgent=timedelta(0))


def assess_certificate(left_s: int | None) -> Finding | None:
    """Judge the TLS certificate by the seconds until it ends, less than 0 after; None where it cannot be read."""
    return _assess_end("certificate", left_s, short=CERTIFICATE_SHORT, urgent=CERTIFICATE_URGENT)


def disk_words(free_bytes: int, size_bytes: int) -> str:
    """Say how much of a disk is free; `size_bytes` is more than 0."""
    return f"{free_bytes / 1e9:.1f} GB free ({free_bytes / size_bytes:.0%})"


def span(length: timedelta) -> str:
    """Write a length of time as a person says it, in one or two units; less than nothing is `0 s`."""
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


def _assess_spool(report: HealthReport) -> Iterator[Finding]:
    backlog = report.backlog
    waits = timedelta(seconds=backlog.oldest_s or 0)
    if waits > OLD_BACKLOG:
        level = Level.TROUBLE if waits > VERY_OLD_BACKLOG else Level.LOOK
        yield Finding(level, "oldest read", f"waits for {span(waits)}")
    share = backlog.size_bytes / backlog.max_bytes if backlog.max_bytes else 0.0
    if share >= FULL_SHARE:
        yield Finding(Level.TROUBLE, "spool", f"is {share:.0%} full")
    if backlog.set_aside:
        yield Finding(Level.LOOK, "spool", f"has set {backlog.set_aside:,} aside; plateseal spool list says why")
    if report.reads.lost:
        yield Finding(Level.LOOK, "spool", f"has forced out {report.reads.lost:,} reads; the chain says so")


def _assess_end(about: str, left_s: int | None, *, short: timedelta, urgent: timedelta) -> Finding | None:
    if left_s is None:
        return Finding(Level.TROUBLE, about, "cannot be read")
    left = timedelta(seconds=left_s)
    if left <= timedelta(0):
        return Finding(Level.TROUBLE, about, f"ended {span(-left)} ago")
    if left < short:
        return Finding(Level.TROUBLE if left < urgent else Level.LOOK, about, f"ends in {span(left)}")
    return None


def _assess_temperature(temperature_mc: int | None) -> Finding | None:
    if temperature_mc is None or temperature_mc < HOT_MC:
        return None
    return Finding(Level.LOOK, "temperature", f"is {temperature_mc / 1000:.1f} °C")


def _assess_config(config: ConfigHealth) -> Finding | None:
    if config.rejected is None:
        return None
    used = f"serial {config.serial}" if config.serial else "the unit's own file"
    return Finding(Level.LOOK, f"{config.daemon} config", f"was refused; {used} is in use")

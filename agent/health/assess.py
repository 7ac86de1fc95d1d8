"""The one judgement of a unit's health: what somebody should look at, how urgently, and in which words.

Owns: the levels and the words, which `plateseal status`, `plateseal doctor` and the fleet page share. Leaves to others:
from which values on (`agent.health.limits`), and where the numbers come from (`agent.unit.status.report`). Pure: no
clock is read; whether a unit has fallen silent is judged where its reports arrive (`agent.receiver.fleet.overview`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import IntEnum
from typing import Final

from agent.health.limits import (
    CAMERA_CLOCK_OFF_MS,
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
from agent.wire.health import CameraClockHealth, CameraHealth, ConfigHealth, HealthReport
from agent.wire.plaintext import ClockState

ENROL: Final = "at the receiver: plateseal receiver enrol RECEIVER enrolment.json; then bring tls.pem to the unit"
RENEWED: Final = "the unit fetches the new one itself"
UNDELIVERED: Final = "nothing is delivered without it; reads wait on the unit"
BRING_KEYRING: Final = "bring keyring.cose and owner.pub from the owner to the unit"
SET_CLOCK: Final = "timedatectl set-ntp true"
SIGN_ANOTHER: Final = (
    "at the owner: correct it, and sign it with a higher serial (docs/FLEET.md): "
    "plateseal config sign NAME --key OWNER/owner.key --serial N --out DIR"
)
LOGIN_REFUSED: Final = (
    "no read comes from it, and cameras lock an account that is refused too often",
    "write the right USER:PASSWORD into the file of source.credential, then: systemctl restart plateseal-capture",
)
NO_PICTURE: Final = ("no read comes from it", "look at its power, cable and address; plateseal doctor names the cause")
CAMERA_CLOCK: Final = (
    "what the camera draws into its picture shows another time than its reads, which this unit's clock dates",
    "set a time server (NTP) in the camera, and UTC for its clock (docs/CAMERAS.md)",
)
BACKLOG: Final = (
    "when the spool is full, its bounds force reads out",
    "plateseal doctor --config FILE tries the way to the receiver",
)
SET_ASIDE: Final = (
    "they are kept on the unit and not delivered",
    "plateseal spool list --config FILE says why each; to send one again: plateseal spool release ID --config FILE",
)
"""Why it matters and what mends it, where both tools and the page say the same."""


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
        why: Why that matters.
        mend: The command that mends it, or what a person has to do. FILE is the unit's configuration, OWNER and
            RECEIVER are the folders of those two.
    """

    level: Level
    about: str
    words: str
    why: str = ""
    mend: str = ""

    @property
    def text(self) -> str:
        """The whole sentence."""
        return f"{self.about} {self.words}"


def assess(report: HealthReport) -> list[Finding]:
    """Return what somebody should look at, in the order of the parts; empty where nothing is wrong."""
    found = [
        assess_capture(report),
        *map(assess_camera, report.cameras),
        *(assess_camera_clock(camera, report.clock) for camera in report.cameras),
        assess_upload(report),
        *assess_backlog(report),
        assess_set_aside(report.backlog.set_aside),
        assess_disk(report.disk_free_bytes, report.disk_size_bytes),
        assess_clock(report.clock),
        assess_keyring(report.keyring_s),
        assess_certificate(report.certificate_s),
        assess_temperature(report.temperature_mc),
        *map(assess_config, report.configs),
    ]
    return [finding for finding in found if finding is not None]


def assess_capture(report: HealthReport) -> Finding | None:
    """Judge whether reads are made."""
    return None if report.capture_up else _stopped("capture", "no read is made")


def assess_upload(report: HealthReport) -> Finding | None:
    """Judge whether reads are delivered."""
    return None if report.upload_up else _stopped("upload", "no read is delivered; they wait on the unit")


def assess_camera(camera: CameraHealth) -> Finding | None:
    """Judge one camera; a recording is never late."""
    if camera.refuses_login:
        return Finding(Level.TROUBLE, f"camera {camera.name}", "refuses the login", *LOGIN_REFUSED)
    if camera.is_up is False:
        return Finding(Level.TROUBLE, f"camera {camera.name}", "gives no picture", *NO_PICTURE)
    if camera.is_up and camera.lag_ms >= SLOW_CAMERA_MS:
        behind = f"is {camera.lag_ms / 1000:.1f} s behind"
        mend = "a lower rate or the second stream of the camera, or source.decode_threads (docs/CAMERAS.md)"
        return Finding(Level.LOOK, f"camera {camera.name}", behind, "the unit decodes it too slowly", mend)
    return None


def assess_camera_clock(camera: CameraHealth, unit_clock: ClockState) -> Finding | None:
    """Judge a camera's own clock by the unit's; not by one that is wrong itself, which is told already."""
    if camera.clock is None or unit_clock is not ClockState.SYNCHRONIZED:
        return None
    offset_ms = camera.clock.offset_ms
    if abs(offset_ms) < CAMERA_CLOCK_OFF_MS:
        return None
    words = f"has a clock {span(timedelta(milliseconds=abs(offset_ms)))} {'ahead of' if offset_ms > 0 else 'behind'}"
    return Finding(Level.LOOK, f"camera {camera.name}", f"{words} the unit's", *CAMERA_CLOCK)


def camera_clock_words(clock: CameraClockHealth) -> str:
    """Say how far a camera's clock is off, by how much that grows, and whether it dates frames."""
    drift_ms = clock.drift_ms_per_day
    drift = "" if drift_ms is None else f", {drift_ms / 1000:+.1f} s a day"
    return f"{clock.offset_ms / 1000:+.2f} s from the unit's{drift}{', dates its frames' if clock.dates else ''}"


def assess_disk(free_bytes: int, size_bytes: int) -> Finding | None:
    """Judge the free space of the spool's file system; a size of 0 is not known, and not judged."""
    share = free_bytes / size_bytes if size_bytes else 1.0
    if share >= DISK_SHORT_SHARE:
        return None
    return Finding(
        Level.TROUBLE if share < DISK_URGENT_SHARE else Level.LOOK,
        "disk",
        f"has {disk_words(free_bytes, size_bytes)}",
        "a full disk takes no read",
        "make room on the disk of the spool",
    )


def assess_clock(state: ClockState) -> Finding | None:
    """Judge what the clock rests on."""
    why = "reads say so, TLS may fail, and no read is erased by age until a receipt confirms the time"
    if state is ClockState.BEHIND:
        return Finding(Level.TROUBLE, "clock", "shows a time that is over; set it right", why, SET_CLOCK)
    if state is ClockState.SYNCHRONIZED:
        return None
    return Finding(Level.LOOK, "clock", "is not synchronised", why, SET_CLOCK)


def assess_keyring(left_s: int | None) -> Finding | None:
    """Judge the keyring by the seconds until it ends, less than 0 after; None where it cannot be read."""
    why = "when it has run out, reads are sealed to old keys, or capture stops (seal.on_keyring_end)"
    mend = "at the owner: plateseal custody keys --dir OWNER --from DATE; then bring keyring.cose to the unit"
    found = _assess_end("keyring", left_s, short=KEYRING_SHORT, urgent=timedelta(0))
    return None if found is None else replace(found, why=why, mend=mend if left_s is not None else BRING_KEYRING)


def assess_certificate(left_s: int | None) -> Finding | None:
    """Judge the TLS certificate by the seconds until it ends, less than 0 after; None where it cannot be read."""
    found = _assess_end("certificate", left_s, short=CERTIFICATE_SHORT, urgent=CERTIFICATE_URGENT)
    is_good_yet = left_s is not None and left_s > 0
    mend = f"at the receiver: plateseal receiver renew RECEIVER --units; {RENEWED}" if is_good_yet else ENROL
    return None if found is None else replace(found, why=UNDELIVERED, mend=mend)


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


def _stopped(daemon: str, why: str) -> Finding:
    mend = f"systemctl status plateseal-{daemon} says why; systemctl enable --now plateseal-{daemon} starts it"
    return Finding(Level.TROUBLE, daemon, "does not run", why, mend)


def assess_backlog(report: HealthReport) -> Iterator[Finding]:
    """Judge what waits, and what the bounds have forced out."""
    backlog = report.backlog
    waits = timedelta(seconds=backlog.oldest_s or 0)
    if waits > OLD_BACKLOG:
        level = Level.TROUBLE if waits > VERY_OLD_BACKLOG else Level.LOOK
        yield Finding(level, "oldest read", f"waits for {span(waits)}", *BACKLOG)
    share = backlog.size_bytes / backlog.max_bytes if backlog.max_bytes else 0.0
    if share >= FULL_SHARE:
        yield Finding(Level.TROUBLE, "spool", f"is {share:.0%} full", *BACKLOG)
    if report.reads.lost:
        words, why = f"has forced out {report.reads.lost:,} reads; the chain says so", "these reads are gone"
        yield Finding(Level.LOOK, "spool", words, why, f"{BACKLOG[1]}; raise spool.max_bytes")


def assess_set_aside(count: int) -> Finding | None:
    """Judge the number of reads that were set aside."""
    return Finding(Level.LOOK, "spool", f"has set {count:,} aside", *SET_ASIDE) if count else None


def _assess_end(about: str, left_s: int | None, *, short: timedelta, urgent: timedelta) -> Finding | None:
    if left_s is None:
        return Finding(Level.TROUBLE, about, "cannot be read")
    left = timedelta(seconds=left_s)
    if left <= timedelta(0):
        return Finding(Level.TROUBLE, about, f"ended {span(-left)} ago")
    if left < short:
        return Finding(Level.TROUBLE if left < urgent else Level.LOOK, about, f"ends in {span(left)}")
    return None


def assess_temperature(temperature_mc: int | None) -> Finding | None:
    """Judge the processor's temperature, thousandths of a degree Celsius; None without a sensor."""
    if temperature_mc is None or temperature_mc < HOT_MC:
        return None
    words = f"is {temperature_mc / 1000:.1f} °C"
    return Finding(Level.LOOK, "temperature", words, "the processor slows down", "shade and air for the unit")


def assess_config(config: ConfigHealth) -> Finding | None:
    """Judge what became of the last configuration that came."""
    if config.rejected is None:
        return None
    used = f"serial {config.serial}" if config.serial else "the unit's own file"
    words, why = f"was refused; {used} is in use", "what was to change has not changed"
    return Finding(Level.LOOK, f"{config.daemon} config", words, why, SIGN_ANOTHER)

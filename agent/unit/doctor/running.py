"""The doctor's look at what the daemons say of themselves: whether they run, what waits, and how warm the unit is.

Owns: nothing but the choice. The judgement and its words are those of `plateseal status` and the fleet page
(`agent.health.assess`); what a check of the doctor's looks at more closely is left to that check.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace

from agent.config.models import UnitConfig
from agent.health.assess import (
    assess_backlog,
    assess_camera,
    assess_camera_clock,
    assess_capture,
    assess_temperature,
    assess_upload,
)
from agent.unit.doctor.finding import Finding, Outcome, of_health
from agent.unit.status.last_error import ended_with
from agent.unit.status.metrics import snapshot_path
from agent.unit.status.report import read_health
from agent.wire.health import LastError
from agent.wire.times import to_ms


def running(unit: UnitConfig) -> Iterator[Finding]:
    """Whether the daemons run, what waits for them, and how warm it is: what `status` says, in its words."""
    report = read_health(unit)
    for daemon, found in (("capture", assess_capture(report)), ("upload", assess_upload(report))):
        if found is not None:
            yield _stopped(of_health(found), _ended_with(unit, daemon))
    for camera in report.cameras:
        judged = (assess_camera(camera), assess_camera_clock(camera, report.clock)) if camera.is_up else ()
        yield from (of_health(each) for each in judged if each is not None)
    yield from map(of_health, assess_backlog(report))
    warm = assess_temperature(report.temperature_mc)
    if warm is not None:
        yield of_health(warm)


def _ended_with(unit: UnitConfig, daemon: str) -> LastError | None:
    """Return the error that ended a daemon, unless it has run again since then: its measurements are newer then."""
    error = ended_with(unit.state_dir, daemon)
    with suppress(OSError):
        measured_ms = snapshot_path(unit.metrics_dir, daemon).stat().st_mtime_ns // 1_000_000
        if error is not None and to_ms(error.at) < measured_ms:
            return None
    return error


def _stopped(finding: Finding, error: LastError | None) -> Finding:
    """Say why a daemon does not run: one that was never started, or was stopped, is a warning only."""
    if error is None:
        return replace(finding, outcome=Outcome.WARNING)
    return replace(finding, what=f"{finding.what}; {error.line}")

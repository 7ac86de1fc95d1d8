"""What somebody should look at on a unit, for `plateseal status`: the judgement of its health report, and its files.

Owns: which of two findings about one part is told. Leaves to others: the judgement (`agent.health.assess`) and the look
at the files (`agent.unit.doctor`), whose words these are. Nothing is written, and nothing is asked over the network.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.config.models import UnitConfig
from agent.health.assess import Finding, assess
from agent.unit.doctor.delivery import certificates, identity, receipt_key, tls_files
from agent.unit.doctor.files import keyring, permissions, read_only
from agent.unit.doctor.finding import Finding as DoctorFinding
from agent.unit.doctor.finding import Outcome, as_health
from agent.wire.health import HealthReport


def status_findings(unit: UnitConfig, report: HealthReport) -> list[Finding]:
    """Return what somebody should look at: of the report's parts first, then of the files."""
    files = [as_health(each) for each in _files(unit) if each.outcome in (Outcome.WARNING, Outcome.FAULT)]
    seen_closer = {each.about for each in files if each.about != "spool"}
    return [*(each for each in assess(report) if each.about not in seen_closer), *files]


def _files(unit: UnitConfig) -> Iterator[DoctorFinding]:
    stuck = read_only(unit)
    if stuck is not None:
        yield stuck
    yield keyring(unit)
    yield from certificates(unit)
    yield tls_files(unit)
    yield identity(unit)
    yield receipt_key(unit)
    yield from permissions(unit)

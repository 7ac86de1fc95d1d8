"""What one check of a unit found: how it is, why that matters, and the command that mends it.

Owns: the form of a finding. Leaves to others: the checks (`machine`, `parts`) and their order (`diagnosis`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from agent.health.assess import Finding as HealthFinding
from agent.health.assess import Level


class Outcome(StrEnum):
    """What a check found."""

    GOOD = "good"
    WARNING = "warning"
    FAULT = "fault"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found.

    Attributes:
        check: What was looked at, in a word or two.
        outcome: How it is. A warning leaves the unit at work; a fault keeps it from it, or breaks a promise.
        what: What is there.
        why: Why that matters; empty where all is good.
        mend: The command that mends it, or what a person has to do; empty where there is nothing to mend.
    """

    check: str
    outcome: Outcome
    what: str
    why: str = ""
    mend: str = ""


_OUTCOMES: Final = {Level.FINE: Outcome.GOOD, Level.LOOK: Outcome.WARNING, Level.TROUBLE: Outcome.FAULT}
_ORDER: Final = (Outcome.FAULT, Outcome.WARNING, Outcome.SKIPPED, Outcome.GOOD)


def of_health(found: HealthFinding, *, more: str = "") -> Finding:
    """Return a finding of the shared judgement (`agent.health.assess`) as the doctor tells it, and `more`."""
    return Finding(found.about, _OUTCOMES[found.level], found.words + more, found.why, found.mend)


def as_health(finding: Finding) -> HealthFinding:
    """Return what a check found as `status` tells it; only for what is not good."""
    level = Level.TROUBLE if finding.outcome is Outcome.FAULT else Level.LOOK
    return HealthFinding(level, finding.check, finding.what, finding.why, finding.mend)


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with the faults first, then warnings, what was not tried, and what is good; in their order."""
    return sorted(findings, key=lambda finding: _ORDER.index(finding.outcome))

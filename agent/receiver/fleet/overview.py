"""From the units' health reports to the fleet: how each unit is, and which one needs somebody first.

Owns: silence, keys that two machines use, and the order of the units. Leaves to others: the judgement of a report
(`agent.health.assess`), the page (`agent.receiver.fleet.page`). Silence is judged by the receiver's clock and
everything else by the report, whose unit may have a wrong clock; a unit that was never heard of is told from one that
fell silent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from agent.health.assess import Finding, Level, assess, span
from agent.health.limits import SILENT_AFTER
from agent.receiver.fleet.store import Reported, SeenFork


@dataclass(frozen=True, slots=True)
class UnitState:
    """One unit as the page shows it.

    Attributes:
        name: The device.
        reported: Its newest report, if it has sent one.
        findings: What somebody should look at, worst first.
    """

    name: str
    reported: Reported | None
    findings: tuple[Finding, ...]

    @property
    def level(self) -> Level:
        """That of its worst finding."""
        return max((finding.level for finding in self.findings), default=Level.FINE)


_NO_FORKS: Mapping[str, SeenFork] = MappingProxyType({})


def assess_fleet(
    names: Sequence[str],
    newest: Mapping[str, Reported],
    now: datetime,
    forks: Mapping[str, SeenFork] = _NO_FORKS,
) -> list[UnitState]:
    """Return every enrolled unit, the one that needs attention first at the top.

    Args:
        names: The enrolled devices; one that is there twice, with two keys, is one unit.
        newest: Their reports; those of devices that are not enrolled any more are left out.
        now: The aware time at which the fleet is judged.
        forks: Those whose key two machines use, with what shows it.
    """
    states = [assess_unit(name, newest.get(name), now, forks.get(name)) for name in sorted(set(names))]
    return sorted(states, key=lambda state: (-state.level, -len(state.findings), state.name))


def assess_unit(name: str, reported: Reported | None, now: datetime, fork: SeenFork | None = None) -> UnitState:
    """Judge one unit by its newest health report, and by what is known of its key."""
    found: list[Finding] = []
    if fork is not None:
        words = f"shares its key with another machine, seen {span(now - fork.seen_at)} ago: {fork.detail}"
        found.append(Finding(Level.TROUBLE, "unit", words))
    if reported is None:
        return UnitState(name, None, (*found, Finding(Level.LOOK, "unit", "has not reported yet")))
    silent = now - reported.received_at
    if silent > SILENT_AFTER:
        found.append(Finding(Level.TROUBLE, "unit", f"is silent for {span(silent)}"))
    found += assess(reported.report)
    return UnitState(name, reported, tuple(sorted(found, key=lambda finding: -finding.level)))

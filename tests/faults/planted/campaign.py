"""Every planted fault, and playing them one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests import needs
from tests.faults.planted import (
    of_audit,
    of_config,
    of_keys,
    of_owner,
    of_receiver,
    of_running,
    of_store,
    of_unit,
    of_way,
)
from tests.faults.planted.fault import Fault, Verdict, judge, run
from tests.faults.planted.site import Said, Sites, whole_sites

FAULTS: Final = (
    *of_config.FAULTS,
    *of_keys.FAULTS,
    *of_unit.FAULTS,
    *of_way.FAULTS,
    *of_running.FAULTS,
    *of_receiver.FAULTS,
    *of_store.FAULTS,
    *of_owner.FAULTS,
    *of_audit.FAULTS,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One fault that was played.

    Attributes:
        fault: Which.
        verdict: What came of it.
        is_skipped: A need of it is missing here.
    """

    fault: Fault
    verdict: Verdict
    is_skipped: bool = False

    @property
    def state(self) -> str:
        """How it went, in a word."""
        return "skip" if self.is_skipped else "FAIL" if self.verdict.trouble else "ok"

    @property
    def command(self) -> str:
        """The command, without the site's places."""
        return "plateseal " + " ".join(word for word in self.fault.command.split() if not word.startswith("{"))

    @property
    def mend(self) -> str:
        """The mend as it was given, or why it did not work."""
        return self.verdict.trouble or self.verdict.mend


class Wholes:
    """How each command ends on a whole site; run once for each."""

    def __init__(self, sites: Sites) -> None:
        """Prepare; nothing is run yet."""
        self._sites = sites
        self._found: dict[str, Said] = {}

    def of(self, fault: Fault) -> Said:
        """Return how the fault's command ends where nothing is wrong."""
        if fault.command not in self._found:
            with self._sites.copy() as site:
                self._found[fault.command] = run(fault, site)
        return self._found[fault.command]


def play(faults: Iterable[Fault], folder: Path) -> Iterator[Row]:
    """Play faults on copies of one site, in an empty folder."""
    with whole_sites(folder) as sites:
        wholes = Wholes(sites)
        for fault in faults:
            missing = [name for name in fault.needs if name != "campaigns" and not needs.is_here(name)]
            if missing:
                yield Row(fault, Verdict("", "", ""), is_skipped=True)
                continue
            whole = wholes.of(fault)
            with sites.copy() as site:
                yield Row(fault, judge(fault, site, whole))

"""The doctor's checks of a unit's parts in a process of their own, which has the service's user and limits.

    python -P -m agent.unit.doctor.child CONFIG CREDENTIALS SHARE

Owns: one line of JSON on standard output for each finding, as soon as it is there. Leaves to others: the checks
(`parts`), and who starts it with which limits (`confinement`).
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from agent.config.credentials import credentials_directory
from agent.errors import ConfigError
from agent.unit.doctor import parts
from agent.unit.doctor.diagnosis import load_unit
from agent.unit.doctor.finding import Finding, Outcome
from agent.unit.process.prepare import forbid_dumps

SHARES: Final = {"way": parts.examine_way, "vision": parts.examine_vision}
"""What one process looks at. What opens models and cameras is given no key of the unit's."""


def main() -> None:
    """Look at one share."""
    forbid_dumps()
    config, credentials, share = sys.argv[1:]
    try:
        for finding in SHARES[share](load_unit(Path(config), credentials=Path(credentials))):
            _tell(finding, credentials)
    except ConfigError as error:
        _tell(Finding("configuration", Outcome.FAULT, str(error), "the daemons cannot read it", f"ls -l {config}"), "")


def _tell(finding: Finding, credentials: str) -> None:
    """Write a finding down; a copy that systemd has made of a key is called by the name of the key."""
    copies = credentials_directory()
    if copies is not None:
        finding = replace(finding, what=finding.what.replace(str(copies), credentials))
    sys.stdout.write(json.dumps(asdict(finding)) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

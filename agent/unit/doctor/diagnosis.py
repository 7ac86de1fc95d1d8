"""What is wrong with a unit, why it matters, and the command that mends it.

Owns: the order of the checks, and the configuration as somebody outside the services reads it. Leaves to others: the
checks of the unit's own parts (`parts`) and of the machine (`machine`), and with which rights they run where root asks
(`confinement`). Nothing is changed, and nothing of the unit's goes anywhere but to its own receiver.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from agent.config.check import PathRule, beside
from agent.config.credentials import credential_name, credentials_directory, is_credential
from agent.config.load import load_config
from agent.config.models import UnitConfig
from agent.errors import UnitFaultError, UsageError
from agent.unit.doctor.confinement import Child, examine_confined, must_confine, service_uid
from agent.unit.doctor.finding import Finding, Outcome

IDENTITY: Final = Path("/etc/plateseal/identity")
"""Where the services of the package get their credentials from."""


def load_unit(path: Path, *, credentials: Path = IDENTITY) -> UnitConfig:
    """Read a unit's configuration outside its services: `credential:NAME` is NAME in `credentials`.

    Raises:
        ConfigError: The file cannot be read or is wrong.
    """
    return load_config(path, rule=_rule(path.resolve().parent, credentials))


def require_access(unit: UnitConfig) -> None:
    """Check that what the daemons write can be looked at; to anybody else a unit looks as if nothing ran.

    Raises:
        UsageError: It is closed to this user.
    """
    with suppress(FileNotFoundError):  # before the first start
        try:
            next(unit.state_dir.iterdir(), None)
        except PermissionError:
            raise UsageError(f"{unit.state_dir}: closed to this user; run this as root, with sudo") from None


def examine(unit: UnitConfig, config: Path, *, credentials: Path = IDENTITY) -> Iterator[Finding]:
    """Look at everything, one check after the other; the last ones take the longest.

    Root looks at the machine, and at who may read what. Whatever opens models, cameras, the spool or the network
    runs as the daemons' user.

    Args:
        unit: What the file says.
        config: The file itself, by which the running daemons are known.
        credentials: Where the services get their credentials from.
    """
    from agent.unit.doctor import files, machine, parts  # noqa: PLC0415  the vision libraries, for who only reads a file

    yield from machine.examine_machine(unit, config)
    if not must_confine(unit):
        yield from parts.examine_parts(unit)
        return
    yield from files.permissions(unit)
    for share in ("way", "vision"):
        yield from examine_confined(Child(unit, config, credentials, service_uid(unit), share))


def require_sound(findings: Iterable[Finding]) -> None:
    """Raise if any of the findings is a fault.

    Raises:
        UnitFaultError: Names the checks.
    """
    faults = [finding.check for finding in findings if finding.outcome is Outcome.FAULT]
    if faults:
        raise UnitFaultError(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}: {', '.join(faults)}")


def _rule(base: Path, credentials: Path) -> PathRule:
    if credentials_directory() is not None:
        return beside(base)
    return lambda text: credentials / credential_name(text) if is_credential(text) else base / text

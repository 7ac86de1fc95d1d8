"""Lengths of time on the command line: a whole number and a unit, as in `24h`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from agent.errors import UsageError

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def parse_duration(text: str, option: str) -> timedelta:
    """Return the length that `option` was given.

    Raises:
        UsageError: Not a whole number of at most five digits and m, h or d.
    """
    match = re.fullmatch(r"([0-9]{1,5})([mhd])", text)
    if match is None:
        raise UsageError(f"{option} {text[:40]}: not a number and m, h or d, as in 24h")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})

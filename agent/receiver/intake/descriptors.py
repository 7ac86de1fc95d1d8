"""How many files and connections this process may have open.

Owns: raising the soft limit as far as the hard one allows. Leaves to others: how many are needed (`server`).
"""

from __future__ import annotations

import resource
from contextlib import suppress


def allow_descriptors(needed: int) -> int:
    """Raise the limit of descriptors to what is needed, as far as the system lets this process; never lower it.

    Returns:
        What the limit is now; it may be less than what is needed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft, hard = _number(soft), _number(hard)
    if soft >= needed:
        return soft
    raised = min(needed, hard)
    with suppress(OSError, ValueError):  # a service manager may forbid the call
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return raised
    return soft


def _number(limit: int) -> int:
    """Return a limit as a number: that of no limit is less than 0."""
    return limit if limit != resource.RLIM_INFINITY else 1 << 30

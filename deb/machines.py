"""The processors that there is a package for, by Debian's name and by that of wheels, and which one this is."""

from __future__ import annotations

import os
from typing import Final

MACHINES: Final = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's name of an architecture, and the one that wheels have."""


def this_architecture() -> str:
    """Return Debian's name of this machine's architecture; amd64 for one that there is no package for."""
    machine = os.uname().machine
    return next((arch for arch, name in MACHINES.items() if name == machine), "amd64")

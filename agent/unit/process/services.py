"""The package's services and the copies of private keys that systemd has handed them at their start.

Owns: which service works with an old copy, and its restart. Leaves to others: the keys themselves (`agent.keys`), and
what the services are (`systemd/`).

`LoadCredential=` copies a key once, so a key that was replaced on the disk is used after a restart only.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.keys.identity import SIGNING_KEY_NAME, TLS_KEY_NAME
from agent.keys.keyfiles import is_another_private

CREDENTIALS: Final = Path("/run/credentials")
"""Where systemd keeps the credentials of services that run; root may look into it."""
RESTART_TIMEOUT_S: Final = 300.0
"""Capture ends its passages and loads its models, upload ends its batch: TimeoutStopSec= and the start."""
COPIES: Final = {"plateseal-capture": SIGNING_KEY_NAME, "plateseal-upload": TLS_KEY_NAME}
"""By service: the key that it has a copy of, as credential and as file of the identity."""


@dataclass(frozen=True, slots=True)
class Restarts:
    """Services that worked with an old copy of a key.

    Attributes:
        done: They have been restarted.
        due: They are still to be.
    """

    done: tuple[str, ...] = ()
    due: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What restarts those that are still to be."""
        return f"systemctl restart {' '.join(self.due)}"


def restart_stale(
    identity: Path, *, credentials: Path = CREDENTIALS, restart: Callable[[str], bool] | None = None
) -> Restarts:
    """Restart the running services whose copy of a key is not the one in the identity any more.

    Args:
        identity: The folder that their credentials come from.
        credentials: Where systemd keeps the copies.
        restart: Restarts one service and says whether it runs again; systemd does it if left out.
    """
    # Without a copy it does not run, and its next start takes the new key.
    stale = [
        name
        for name, key in COPIES.items()
        if is_another_private(identity / key, credentials / f"{name}.service" / key)
    ]
    done = [name for name in stale if (restart or _restart)(name)]
    return Restarts(tuple(done), tuple(name for name in stale if name not in done))


def _restart(service: str) -> bool:
    program = shutil.which("systemctl")
    return program is not None and _runs([program, "restart", service])


def _runs(command: Sequence[str]) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, timeout=RESTART_TIMEOUT_S, check=False)  # noqa: S603  our own arguments
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0

"""What systemd is told about a service: that it is ready, that it lives, and what it does.

Owns: the protocol of sd_notify(3), a datagram to the socket that systemd names in the environment. Leaves to others:
when something is true (`agent.unit.process.lifecycle`, the receiver's server).

`STOPPING=1` is never sent: who stops a service knows, and a daemon that ends in order to begin anew under the same id
(`agent.unit.reload.trial`) must not be taken for one that ends.

Invariant: nothing here fails or waits. Where no service manager listens, every call does nothing.
"""

from __future__ import annotations

import os
import socket
from typing import Final, Self

SOCKET_VARIABLE: Final = "NOTIFY_SOCKET"
MAX_STATUS_CHARS: Final = 200


class ServiceManager:
    """The one who started this process, if it wants to be told."""

    def __init__(self, address: str | None = None) -> None:
        """Tell `address`, a path or `@` and an abstract name; nobody if it is None."""
        self._address = None if address is None else ("\0" + address[1:] if address.startswith("@") else address)

    @classmethod
    def of_this_process(cls) -> Self:
        """Return who is named in the environment.

        The variable stays there: a daemon that replaces itself by a new program of the same id goes on telling.
        """
        address = os.environ.get(SOCKET_VARIABLE, "")
        return cls(address if address.startswith(("/", "@")) else None)

    def ready(self) -> None:
        """Say that the start is over and the service does its work."""
        self._tell("READY=1")

    def alive(self) -> None:
        """Say that the main loop has come round."""
        self._tell("WATCHDOG=1")

    def status(self, line: str) -> None:
        """Say in one line, for `systemctl status`, what it does."""
        self._tell("STATUS=" + " ".join(line.split())[:MAX_STATUS_CHARS])

    def _tell(self, message: str) -> None:
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.setblocking(False)
                line.connect(self._address)
                line.send(message.encode())
        except OSError:
            return  # a manager that is busy is told again by the next call

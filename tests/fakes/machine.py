"""A Debian machine with a real systemd, booted in a container from a root that debootstrap made."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.fakes.waiting import WITHIN_S, wait_until
from tests.needs import SYSTEM_DIR

PYTHON_OF: Final = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian 12 and 13, and the Python that each has; a package is for one of them."""
PACKAGES: Final = "systemd,systemd-sysv,dbus,python3,iproute2,ca-certificates,prometheus-node-exporter"
LOOK_EVERY_S: Final = 0.2
"""A look runs a program on the machine."""
_NSPAWN: Final = ("systemd-nspawn", "--quiet", "--register=no", "--keep-unit")


def debian_root(suite: str = "bookworm", *, arch: str = "") -> Path:
    """Return a root that nobody has changed; made at the first call.

    Args:
        suite: Debian's name of its release.
        arch: Debian's name of an architecture; left out: this machine's.
    """
    base = Path(os.environ[SYSTEM_DIR]) / "-".join(filter(None, (suite, arch)))
    made = base / "made"
    if not made.exists() or made.read_text() != PACKAGES:
        # One that was cut off may have the machine's own /proc mounted in it.
        subprocess.run(["rm", "-rf", "--one-file-system", base], check=True)
        base.mkdir(parents=True)
        options = ["--variant=minbase", f"--include={PACKAGES}", *([f"--arch={arch}"] if arch else [])]
        command = ["debootstrap", *options, suite, str(base / "root")]
        with (base / "log").open("wb") as log:
            subprocess.run(command, check=True, stdout=log, stderr=log)
        made.write_text(PACKAGES)
    return base / "root"


class Machine:
    """One machine with a disk of its own."""

    def __init__(self, disk: Path, package: Path, suite: str) -> None:
        """Make the disk, and put the package on it."""
        self.disk = disk
        subprocess.run(["cp", "-a", "--reflink=auto", debian_root(suite), disk], check=True)
        (disk / "etc/hosts").write_text("127.0.0.1 localhost reads.example\n")
        (disk / "media/stick").mkdir()
        subprocess.run(["systemctl", f"--root={disk}", "--quiet", "disable", "prometheus-node-exporter"], check=True)
        shutil.copyfile(package, disk / "plateseal.deb")
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def install(self) -> str:
        """Install the package while the machine is off, and return what dpkg said."""
        done = subprocess.run(
            [*_NSPAWN, "-D", self.disk, "--pipe", "dpkg", "-i", "/plateseal.deb"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def boot(self) -> None:
        """Start systemd, with a network that has nobody else on it, and wait until it is up."""
        with (self.disk.parent / "console").open("ab") as console:
            self._process = subprocess.Popen(
                [*_NSPAWN, "--private-network", "--boot", "-D", self.disk],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console,
            )  # fmt: skip
        self.wait_until(self._is_up)

    def _is_up(self) -> bool:
        """Return whether systemd has started all. systemd-nspawn's first child is not yet it, so each time is anew."""
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        self._leader = int(children[0]) if children else 0
        if not self._leader:
            return False
        return self.run("systemctl is-system-running", check=False).strip() in ("running", "degraded")

    def run(self, command: str, *, check: bool = True) -> str:
        """Run a shell command as root on the running machine, and return what it printed, errors too."""
        done = subprocess.run(
            ["nsenter", f"--target={self._leader}", "--all", "env", "-i", "-C", "/root", "HOME=/root", "LANG=C.UTF-8",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS=120",
             "bash", "-c", command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def shown(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.run(f"systemctl show -P {name} {unit}").strip()

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Poll until `done`; fail if nothing comes of it."""
        wait_until(done, meanwhile=self._require_running, every_s=LOOK_EVERY_S)

    def _require_running(self) -> None:
        assert self._process is None or self._process.poll() is None, "the machine has stopped"

    def off(self) -> None:
        """Switch the machine off."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

"""What some tests need besides Python: programs, rights, folders; how each is looked for, and which package brings it.

A test names what it needs, `@pytest.mark.needs("openssl")`, and is skipped where that is missing (`tests/skips.py`).
This table is the only place that knows how to look. It imports the standard library alone, so that it runs before
anything is installed:

    python3 -m tests.needs

prints the Debian packages that are missing here, on one line for `apt-get install`.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
SHARED: Final = ROOT.parent / "shared"
"""Photographs, clips, public models and vectors, too large for the repository."""
JS_READER: Final = ROOT / "tests" / "vectors" / "js"
"""A reader of the formats in another language; its packages are installed there by npm."""
SYSTEM_PYTHON: Final = "/usr/bin/python3"
"""Debian's own, the only one that sees Debian's Python modules."""
SYSTEM_DIR: Final = "PLATESEAL_SYSTEM_DIR"
"""The variable that names a folder for a Debian root; making one takes a minute or two and a Debian mirror."""
CAMPAIGNS: Final = "PLATESEAL_CAMPAIGNS"
"""The variable that has the longest tests run too, which take as long as a third of all others; `.ci/run` sets it."""
VERSION_1_COMMIT: Final = "8686b99d2a7cd7586f7fc68de2ceb26b2dba32f1"
"""The last commit whose program knew version 1 of the formats only."""
PACKAGES_DIR: Final = Path(os.environ.get("PLATESEAL_PACKAGES", ROOT / "dist"))
CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SYSTEMD: Final = "/lib/systemd/systemd"
_RTSP_SERVER: Final = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst, GstRtspServer
Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("x264enc", "appsrc", "rtph264pay")))
"""


@dataclass(frozen=True, slots=True)
class Need:
    """One thing that may be missing.

    Attributes:
        what: What is missing, as the table of skipped tests calls it.
        is_here: Looks for it.
        packages: The Debian packages that bring it; empty where none does.
        otherwise: What to do instead, where no package brings it.
    """

    what: str
    is_here: Callable[[], bool]
    packages: tuple[str, ...] = ()
    otherwise: str = ""

    @property
    def cure(self) -> str:
        """What to do about it, a few words."""
        return f"apt-get install {' '.join(self.packages)}" if self.packages else self.otherwise


def deb_package(python: str = "3.11") -> Path | None:
    """Return the newest plateseal package for this machine and a Python in `PACKAGES_DIR`."""
    arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "none")
    found = sorted(PACKAGES_DIR.glob(f"plateseal_*+py{python}_{arch}.deb"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def arm64_package() -> Path | None:
    """Return the newest plateseal package for 64-bit ARM and Debian 12's Python in `PACKAGES_DIR`."""
    found = sorted(PACKAGES_DIR.glob("plateseal_*+py3.11_arm64.deb"), key=lambda path: path.stat().st_mtime)
    return found[-1] if found else None


def _program(name: str, package: str) -> Need:
    return Need(f"the program {name}", lambda: shutil.which(name) is not None, (package,))


def _shared(folder: str) -> Need:
    return Need(f"the folder ../shared/{folder}", (SHARED / folder).is_dir, otherwise="part of a larger checkout only")


def _runs(*command: str) -> bool:
    """Tell whether a command is there and ends with 0; what it says is of no interest."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


def _may_mount() -> bool:
    """Try it: many containers run as root and may not."""
    with tempfile.TemporaryDirectory() as folder:
        return _runs("mount", "-t", "tmpfs", "none", folder) and _runs("umount", folder)


def _may_fix_files() -> bool:
    """Try it: the flag needs a right, a program and a file system that knows it."""
    with tempfile.NamedTemporaryFile() as file:
        return _runs("chattr", "+i", file.name) and _runs("chattr", "-i", file.name)


def _may_read_memory() -> bool:
    """Try it on a child, as the test does: Yama may forbid even that."""
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            Path(f"/proc/{child.pid}/mem").open("rb").close()
        except OSError:
            return False
        finally:
            child.kill()
    return True


def _node_packages() -> list[str]:
    return list(json.loads((JS_READER / "package.json").read_text())["dependencies"])


def postgres_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL's programs, which Debian has outside of the path."""
    found = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    return max((path.parent for path in found), key=lambda folder: int(folder.parent.name), default=None)


def _has_systemd_252() -> bool:
    try:
        said = subprocess.run([SYSTEMD, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return False
    return said.startswith("systemd 252 ")


def _may_be_another_user() -> bool:
    """Try it: a Python in root's own folder is nobody else's."""
    rights = ("--reuid=64123", "--regid=64123", "--clear-groups", "--inh-caps=-all", "--bounding-set=-all")
    program = (sys.executable, "-P", "-c", "import agent.unit.doctor.child")
    return _runs("env", "HOME=/nonexistent", "setpriv", *rights, *program)


NEEDS: Final = {
    "chromium": Need("the browser Chromium", lambda: CHROMIUM is not None, ("chromium",)),
    "arm64-package": Need("the package for 64-bit ARM", lambda: arm64_package() is not None, otherwise="make arm64"),
    "debootstrap": _program("debootstrap", "debootstrap"),
    "dpkg": _program("dpkg", "dpkg"),
    "dpkg-deb": _program("dpkg-deb", "dpkg"),
    "eu-strip": _program("eu-strip", "elfutils"),
    "git": _program("git", "git"),
    "minisign": _program("minisign", "minisign"),
    "node": Need("Node.js with npm", lambda: all(map(shutil.which, ("node", "npm"))), ("nodejs", "npm")),
    "node-packages": Need(
        "the packages of the vectors' reader in JavaScript",
        lambda: all((JS_READER / "node_modules" / name).is_dir() for name in _node_packages()),
        otherwise="npm ci --prefix tests/vectors/js",
    ),
    "openssl": _program("openssl", "openssl"),
    "postgresql": Need("the database PostgreSQL", lambda: postgres_programs() is not None, ("postgresql",)),
    "qemu-aarch64-static": Need(
        "the emulator qemu-aarch64-static",
        lambda: shutil.which("qemu-aarch64-static") is not None,
        otherwise="apt-get install qemu-user-static, for make arm64",
    ),
    "sqlite3": _program("sqlite3", "sqlite3"),
    "ss": _program("ss", "iproute2"),
    "systemd-252": Need("systemd 252, which Debian 12 has", _has_systemd_252, otherwise="run the tests on Debian 12"),
    "systemd-analyze": _program("systemd-analyze", "systemd"),
    "systemd-nspawn": _program("systemd-nspawn", "systemd-container"),
    "rtsp-server": Need(
        "GStreamer's RTSP server",
        lambda: _runs(SYSTEM_PYTHON, "-c", _RTSP_SERVER),
        (
            "python3-gi", "gir1.2-gst-rtsp-server-1.0", "gstreamer1.0-rtsp", "gstreamer1.0-plugins-base",
            "gstreamer1.0-plugins-good", "gstreamer1.0-plugins-ugly",
        ),
    ),
    "network-namespaces": Need(
        "the right to make network namespaces and tunnel devices",
        lambda: _runs("ip", "netns", "add", "plateseal-try") and _runs("ip", "netns", "delete", "plateseal-try")
        and Path("/dev/net/tun").exists(),
        otherwise="run the tests as root, outside a container, with iproute2",
    ),
    "exfat": Need(
        "exFAT in user space",
        lambda: Path("/dev/fuse").exists() and all(map(shutil.which, ("mkfs.exfat", "mount.exfat-fuse"))),
        ("exfat-fuse", "exfatprogs"),
    ),
    "immutable-files": Need("the right to make files immutable", _may_fix_files, otherwise="run the tests as root"),
    "mkfs.ext4": _program("mkfs.ext4", "e2fsprogs"),
    "root": Need("root's rights", lambda: os.geteuid() == 0, otherwise="run the tests as root"),
    "another-user": Need(
        "the right to run this Python as another user", _may_be_another_user,
        otherwise="run the tests as root, with a Python in a folder that others may enter",
    ),
    "mounting": Need("the right to mount", _may_mount, otherwise="run the tests as root, outside a container"),
    "haproxy": _program("haproxy", "haproxy"),
    "loop-device": Need(
        "a loop device", lambda: _runs("losetup", "--find"), otherwise="run the tests as root, outside a container"
    ),
    "memory-of-a-child": Need(
        "the right to read a child's memory", _may_read_memory, otherwise="run the tests as root (Yama forbids it)"
    ),
    "shared-cases": _shared("cases/video"),
    "shared-data": _shared("data"),
    "shared-models": _shared("models"),
    "shared-tools": _shared("tools"),
    "version-1": Need(
        "the program of version 1, in git's history",
        lambda: _runs("git", "-C", str(ROOT), "cat-file", "-e", f"{VERSION_1_COMMIT}^{{commit}}"),
        otherwise="git fetch --unshallow",
    ),
    "debian-root": Need(
        "a folder for a Debian root", lambda: bool(os.environ.get(SYSTEM_DIR)), otherwise=f"set {SYSTEM_DIR}"
    ),
    "campaigns": Need(
        "the time for the longest tests", lambda: bool(os.environ.get(CAMPAIGNS)), otherwise=f"set {CAMPAIGNS}=1"
    ),
    "deb-package": Need("the Debian package of this machine", lambda: deb_package() is not None, otherwise="make deb"),
}  # fmt: skip


@functools.cache
def is_here(name: str) -> bool:
    """Tell whether a need of the table is met; looked for once."""
    return NEEDS[name].is_here()


def apt_line(names: Iterable[str]) -> str:
    """Return the command that brings what Debian packages can bring of these needs; empty where none can."""
    packages = sorted({package for name in names for package in NEEDS[name].packages})
    return f"apt-get install {' '.join(packages)}" if packages else ""


def main() -> None:
    """Print the packages that are missing here."""
    sys.stdout.write(apt_line(name for name in NEEDS if not is_here(name)).removeprefix("apt-get install ") + "\n")


if __name__ == "__main__":
    main()

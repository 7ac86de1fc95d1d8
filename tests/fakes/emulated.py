"""A Debian root for 64-bit ARM, whose programs run on an emulated processor.

The kernel hands every ARM program to qemu (binfmt_misc); `QEMU_CPU` says which processor it is. The root has /proc and
/etc/hosts of its own; the host's /sys is not in it, so a program learns nothing of the host's processor.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.fakes.machine import debian_root

BINFMT: Final = Path("/proc/sys/fs/binfmt_misc")
NAME: Final = "qemu-aarch64"
"""The name that Debian's packages register it under too."""
_HEAD: Final = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
_MASK: Final = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
"""A 64-bit little-endian ELF program for machine 183, which is AArch64; bits that say nothing of it are masked out."""


def register() -> None:
    """Have the kernel run ARM programs by qemu, as Debian's package does where systemd runs.

    Raises:
        AssertionError: The kernel takes no program for another processor here, as in most containers.
    """
    if not (BINFMT / "register").exists():
        subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=False, capture_output=True)
    if (BINFMT / NAME).exists():
        return
    try:
        # F: the kernel opens qemu now, so that the root needs none of its own.
        (BINFMT / "register").write_text(f":{NAME}:M::{_HEAD}:{_MASK}:{shutil.which('qemu-aarch64-static')}:F")
    except OSError as error:
        raise AssertionError(f"the kernel takes no program for ARM here: {error}") from None


class EmulatedRoot:
    """A copy of the root with a package on it."""

    def __init__(self, place: Path, package: Path) -> None:
        """Copy the root, which is made if it is not there, and put the package in."""
        register()
        self.path = place
        subprocess.run(["cp", "-a", "--reflink=auto", debian_root(arch="arm64"), place], check=True)
        (place / "etc/hosts").write_text("127.0.0.1 localhost\n")
        shutil.copyfile(package, place / "plateseal.deb")

    def run(self, command: str, *, cpu: str, proc: bool = True) -> str:
        """Run a shell command, and return what it printed, errors too; /proc is there, and gone afterwards."""
        own = ["unshare", "--mount", "--pid", "--fork", "--kill-child", f"--mount-proc={self.path / 'proc'}"]
        done = subprocess.run(
            [*(own if proc else []), "chroot", self.path, "env", "-i", "HOME=/root", "LANG=C.UTF-8",
             "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "COLUMNS=120", f"QEMU_CPU={cpu}",
             "sh", "-c", command],
            env=os.environ | {"QEMU_CPU": cpu},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout

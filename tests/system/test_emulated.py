"""The package for 64-bit ARM, installed in a Debian root and run on the emulated processors of a Raspberry Pi 4 and 5.

An instruction that the processor does not have ends a program here as it would there. It says nothing about speed.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.clip import FRAMES, short_clip
from tests.fakes.emulated import EmulatedRoot
from tests.fakes.pictures import PROGRAM, check_lean_opencv, write_pictures
from tests.needs import SYSTEM_DIR, arm64_package

CPUS = {"cortex-a72": False, "cortex-a76": True}
"""Whether each has the dot product of bytes (ARMv8.2), which int8 models are quicker with."""
DOT_PRODUCT_BIT = 20
"""HWCAP_ASIMDDP in the kernel's arch/arm64/include/uapi/asm/hwcap.h."""


pytestmark = [
    pytest.mark.e2e,
    pytest.mark.needs("debian-root", "root", "debootstrap", "qemu-aarch64-static", "arm64-package"),
]


@pytest.fixture(scope="module")
def root() -> Iterator[EmulatedRoot]:
    """Return a root with the package installed as an image builder does it: without /proc and without a systemd."""
    found = arm64_package()
    assert found is not None
    place = Path(os.environ[SYSTEM_DIR]) / "emulated"
    subprocess.run(["rm", "-rf", "--one-file-system", place], check=True)
    made = EmulatedRoot(place, found)
    try:
        said = made.run("dpkg -i /plateseal.deb", cpu="cortex-a72", proc=False)
        assert "come with the next start of the machine" in said
        short_clip(place / "short.mp4")
        yield made
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", place], check=True)


def test_an_image_builder_gets_users_and_enabled_units(root: EmulatedRoot) -> None:
    """All that needs no /proc is done at once; the folders are what systemd makes at every start."""
    assert (root.path / "etc/systemd/system/multi-user.target.wants/plateseal-capture.service").is_symlink()
    assert "\nplateseal:" in (root.path / "etc/passwd").read_text()
    assert any((root.path / "opt/plateseal/lib").rglob("agent/cli/__pycache__/main.*.pyc"))


@pytest.mark.parametrize("cpu", CPUS)
def test_the_package_works_on_the_processor(root: EmulatedRoot, cpu: str) -> None:
    """The models are whole, pictures of all kinds are read, and the beginning of the demo's clip goes the whole way."""
    ask = "python3 -c 'import ctypes; print(ctypes.CDLL(None).getauxval(16))'"
    assert bool(int(root.run(ask, cpu=cpu)) >> DOT_PRODUCT_BIT & 1) == CPUS[cpu]
    said = root.run("plateseal models verify", cpu=cpu)
    assert said.count(": ok") >= 6
    shown = write_pictures(root.path / f"pictures-{cpu}")
    (root.path / "pictures.py").write_text(PROGRAM)
    check_lean_opencv(root.run(f"/opt/plateseal/bin/python3 -I /pictures.py /pictures-{cpu}", cpu=cpu), shown)
    said = root.run("plateseal demo --clip /short.mp4 --json /demo.json", cpu=cpu)
    counts = json.loads((root.path / "demo.json").read_text())
    assert counts["frames"] == FRAMES, said
    assert counts["opened"] == counts["sealed"] == counts["passages"] >= 1, said

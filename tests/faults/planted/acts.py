"""What plants and mends have in common: files are brought, removed, overwritten, opened to others; settings change."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Final

from agent.bench.demo import CAMERA
from agent.receiver.layout import ReceiverLayout
from tests.e2e.test_receiver_tls import running
from tests.fakes.pki import Bench, BenchDevice
from tests.faults.planted.fault import Act, by_hand
from tests.faults.planted.site import Site

Plant = Callable[[Site], object]

DOCTOR: Final = "doctor --config {config}"


def at(site: Site, place: str) -> Path:
    """Return a place of a site, as `{device}/ca.pem`."""
    (path,) = site.words(place)
    return Path(path)


def bring(says: str, source: str, target: str) -> Act:
    """Bring a file or folder to its place, where the message asks for that."""
    return by_hand(says, put(source, target))


def put(source: str, target: str) -> Plant:
    """Put a file or folder into the place of another one."""

    def do(site: Site) -> None:
        if at(site, source).is_dir():
            shutil.rmtree(at(site, target), ignore_errors=True)
            shutil.copytree(at(site, source), at(site, target))
        else:
            shutil.copy(at(site, source), at(site, target))

    return do


def remove(place: str) -> Plant:
    """Remove a file or folder."""

    def do(site: Site) -> None:
        path = at(site, place)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()

    return do


def remove_all(place: str, pattern: str) -> Plant:
    """Remove the files of a folder that fit a pattern, at least one."""

    def do(site: Site) -> None:
        paths = list(at(site, place).glob(pattern))
        assert paths, pattern
        for path in paths:
            path.unlink()

    return do


def write(place: str, data: bytes) -> Plant:
    """Put other bytes into a file, which keeps its mode."""
    return lambda site: at(site, place).write_bytes(data)


def cut_off(place: str, by: int) -> Plant:
    """Cut the end of a file off, as a copy that was broken off."""
    return lambda site: write(place, at(site, place).read_bytes()[:-by])(site)


def mode(place: str, bits: int) -> Plant:
    """Give a file or folder another mode."""
    return lambda site: at(site, place).chmod(bits)


def setting(key: str, value: str) -> Plant:
    """Give a setting of the unit another value (TOML)."""
    return lambda site: site.change_setting(key, value)


def done(*plants: Plant) -> Plant:
    """Do one after the other."""

    def do(site: Site) -> None:
        for plant in plants:
            plant(site)

    return do


def command(words: str) -> Plant:
    """Run a command of plateseal, which must go well."""

    def do(site: Site) -> None:
        said = site.run(words)
        assert said.code == 0, said.err

    return do


def mounted(site: Site, *options: str, on: Path) -> None:
    """Mount something on a folder until the fault's end."""
    subprocess.run(["mount", *options, on], check=True)
    site.stack.callback(lambda: subprocess.run(["umount", on], check=True))


def own_receiver(site: Site) -> None:
    """Run this copy's own receiver as a process, and have the unit deliver to it."""
    bench = Bench(site.root, ReceiverLayout(site.receiver), BenchDevice(CAMERA, site.identity, b""))
    _, port = site.stack.enter_context(running(bench))
    site.change_setting("url", f'"https://localhost:{port}"')

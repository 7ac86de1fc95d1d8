"""The shared libraries of the package: stripped, and what they need of the system, whatever machine they are for.

elfutils reads and strips files of any machine. Its `eu-strip` leaves every segment in its place; GNU's and LLVM's
move them, and the loader refuses what they make of the libraries that patchelf has rewritten in the wheels.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_OF_GLIBC: Final = (
    "libc",
    "libm",
    "libmvec",
    "libpthread",
    "libdl",
    "librt",
    "libutil",
    "ld-linux-x86-64",
    "ld-linux-aarch64",
)
PACKAGE_OF: Final = dict.fromkeys(_OF_GLIBC, "libc6") | {
    "libstdc++": "libstdc++6",
    "libgcc_s": "libgcc-s1",
    "libz": "zlib1g",
}
"""Debian's package of each library that a wheel may expect of the system (PEP 600), by the name before `.so`."""
GCC_OF: Final = {
    19: "4.8",
    20: "4.9",
    21: "5",
    22: "6",
    23: "7",
    24: "7",
    25: "8",
    26: "9",
    27: "9",
    28: "9",
    29: "11",
    30: "12",
}
"""The GCC whose libstdc++ brought GLIBCXX_3.4.N. 12 is what Debian 12 and Ubuntu 22.04 have.
Source: https://gcc.gnu.org/onlinedocs/libstdc++/manual/abi.html"""
NEWEST_GLIBC: Final = (2, 35)
"""That of Ubuntu 22.04, which a Jetson runs. Debian 12 has 2.36."""
_VERSION: Final = re.compile(r"(GLIBC|GLIBCXX|ZLIB)_([0-9.]+)")


class LibraryError(Exception):
    """The package cannot be built from these libraries; the message says which, and what is allowed."""


def strip(tree: Path) -> None:
    """Take symbols and debugging notes out of every library."""
    _require_elfutils()
    for path in libraries(tree):
        subprocess.run(["eu-strip", path], check=True)  # noqa: S603, S607  Debian's


def needs(tree: Path) -> list[str]:
    """Return the entries of `Depends` for the system's libraries, sorted.

    Raises:
        LibraryError: A library is neither in the tree nor known, or needs a newer C or C++ than the systems have that
            the package is for.
    """
    _require_elfutils()
    found = list(libraries(tree))
    bundled = {path.name for path in found}
    lowest: dict[str, tuple[int, ...]] = {}
    for path in found:
        for soname, versions in _wanted(path).items():
            if soname in bundled:
                continue
            package = _package_of(soname, path)
            lowest[package] = max([lowest.get(package, ()), *(_debian_version(path, *version) for version in versions)])
    return [_entry(package, version) for package, version in sorted(lowest.items())]


def libraries(tree: Path) -> Iterator[Path]:
    """Yield every ELF file of a tree, in the order of their names."""
    for path in sorted(tree.rglob("*.so*")):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                if file.read(4) == b"\x7fELF":
                    yield path


def _wanted(path: Path) -> dict[str, list[tuple[str, str]]]:
    """Return the sonames that a library needs, each with the versions it wants of it: (family, number)."""
    command = ["eu-readelf", "--dynamic", "--version-info", str(path)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603  our own arguments
    wanted: dict[str, list[tuple[str, str]]] = {name: [] for name in re.findall(r"NEEDED +.*\[(.+)\]", said)}
    soname = ""
    for line in said.splitlines():
        if match := re.search(r" File: (\S+) ", line):
            soname = match[1]
        elif (match := re.search(r" Name: (\S+) ", line)) and soname in wanted and (of := _VERSION.fullmatch(match[1])):
            wanted[soname].append((of[1], of[2]))
    return wanted


def _package_of(soname: str, path: Path) -> str:
    try:
        return PACKAGE_OF[soname.partition(".so")[0]]
    except KeyError:
        raise LibraryError(f"{path}: {soname} is neither in the package nor among {', '.join(PACKAGE_OF)}") from None


def _debian_version(path: Path, family: str, number: str) -> tuple[int, ...]:
    parts = tuple(map(int, number.split(".")))
    if family == "GLIBC" and parts > NEWEST_GLIBC:
        raise LibraryError(
            f"{path}: GLIBC_{number} is newer than Ubuntu 22.04 has, {'.'.join(map(str, NEWEST_GLIBC))}: "
            "compile it on Debian 12 or Ubuntu 22.04"
        )
    if family != "GLIBCXX":
        return parts
    minor = parts[2] if len(parts) > 2 else 0
    if minor > max(GCC_OF):
        raise LibraryError(f"{path}: GLIBCXX_{number} is newer than Debian 12 has, GLIBCXX_3.4.{max(GCC_OF)}")
    return tuple(map(int, GCC_OF[max(minor, min(GCC_OF))].split(".")))


def _entry(package: str, version: tuple[int, ...]) -> str:
    epoch = "1:" if package == "zlib1g" else ""
    return f"{package} (>= {epoch}{'.'.join(map(str, version))})" if version else package


def _require_elfutils() -> None:
    if shutil.which("eu-strip") is None:
        raise LibraryError("eu-strip and eu-readelf are missing: apt install elfutils")

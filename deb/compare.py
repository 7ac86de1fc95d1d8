"""Compares what two builds made, byte for byte, and names the members in which two archives differ.

Usage: python -m deb.compare FOLDER OTHER_FOLDER
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from zipfile import ZipFile

Members = Mapping[str, str]
"""What an archive holds: everything that can differ of each member, as text, by name."""
DEB_PARTS: Final = {"control": "--ctrl-tarfile", "data": "--fsys-tarfile"}


def differences(first: Path, second: Path) -> list[str]:
    """Return one line per difference between two folders of files; none if they are the same.

    Both folders empty is a difference: nothing was built.
    """
    names = sorted({path.name for folder in (first, second) for path in folder.iterdir()})
    if not names:
        return [f"{first} and {second}: nothing is there to compare"]
    return [line for name in names for line in _differences_of(first / name, second / name)]


def _differences_of(first: Path, second: Path) -> list[str]:
    for path in (first, second):
        if not path.exists():
            return [f"{first.name}: missing in {path.parent}"]
    if _sha256(first.read_bytes()) == _sha256(second.read_bytes()):
        return []
    one, other = _members(first), _members(second)
    differing = sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
    lines = [f"{first.name}: {name}: {one.get(name, 'absent')} | {other.get(name, 'absent')}" for name in differing]
    return lines or [f"{first.name}: the same members, packed differently (order, compression or times of the archive)"]


def _members(path: Path) -> Members:
    readers: dict[str, Callable[[Path], Members]] = {".whl": _of_wheel, ".gz": _of_source, ".deb": _of_deb}
    read = readers.get(path.suffix)
    return {} if read is None else read(path)


def _of_wheel(path: Path) -> Members:
    with ZipFile(path) as archive:
        return {
            one.filename: f"{one.date_time} {one.external_attr:#x} {_sha256(archive.read(one))}"
            for one in archive.infolist()
        }


def _of_source(path: Path) -> Members:
    with tarfile.open(path) as archive:
        return _of_tar(archive)


def _of_deb(path: Path) -> Members:
    found: dict[str, str] = {}
    for part, option in DEB_PARTS.items():
        command = ["dpkg-deb", option, str(path)]
        data = subprocess.run(command, check=True, capture_output=True).stdout  # noqa: S603  our own arguments
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            found |= {f"{part}: {name}": value for name, value in _of_tar(archive).items()}
    return found


def _of_tar(archive: tarfile.TarFile) -> dict[str, str]:
    found = {}
    for one in archive:
        content = archive.extractfile(one) if one.isfile() else None
        digest = one.linkname if content is None else _sha256(content.read())
        owner = f"{one.uid}:{one.gid}:{one.uname}:{one.gname}"
        found[one.name] = f"{one.mode:o} {owner} {one.mtime} {digest}"
    return found


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> int:
    """Compare two folders; print what is the same or what differs."""
    first, second = (Path(argument) for argument in sys.argv[1:])
    found = differences(first, second)
    for line in found:
        print(line)  # noqa: T201  what it is for
    if not found:
        for path in sorted(first.iterdir()):
            print(f"{_sha256(path.read_bytes())}  {path.name}: the same twice")  # noqa: T201
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

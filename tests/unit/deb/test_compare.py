"""Two builds are the same, or the members that differ are named."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from zipfile import ZipFile, ZipInfo

import pytest

from deb.compare import differences


def wheel(path: Path, members: dict[str, bytes], *, when: tuple[int, int, int, int, int, int]) -> None:
    """Write a wheel."""
    with ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(ZipInfo(name, when), content)


def source(path: Path, members: dict[str, bytes], *, mode: int = 0o644) -> None:
    """Write a source archive."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), mode
            archive.addfile(info, io.BytesIO(content))


def package(path: Path, content: str, *, depends: str) -> None:
    """Build a small Debian package."""
    tree = path.parent / f"{path.stem}.tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        f"Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x.example>\nDepends: {depends}\nDescription: x\n"
    )
    (tree / "readme").write_text(content)
    for one in (tree, *tree.rglob("*")):
        os.utime(one, (0, 0))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": "0"}
    command = ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    shutil.rmtree(tree)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two empty folders."""
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    return first, second


def test_the_same_files_are_the_same(folders: tuple[Path, Path]) -> None:
    """Of any kind."""
    for folder in folders:
        wheel(folder / "x.whl", {"a": b"1"}, when=(2026, 1, 1, 0, 0, 0))
        (folder / "bill.json").write_text("{}")
    assert differences(*folders) == []


def test_nothing_built_is_not_the_same(folders: tuple[Path, Path]) -> None:
    """Two empty folders are a failed build, and a file that only one has is named."""
    assert "nothing is there" in differences(*folders)[0]
    (folders[0] / "x.whl").write_bytes(b"")
    assert differences(*folders) == [f"x.whl: missing in {folders[1]}"]


def test_a_wheels_member_is_named(folders: tuple[Path, Path]) -> None:
    """Content, time and members that only one has; what is the same is not named."""
    wheel(folders[0] / "x.whl", {"same": b"1", "content": b"1", "gone": b""}, when=(2026, 1, 1, 0, 0, 0))
    wheel(folders[1] / "x.whl", {"same": b"1", "content": b"2"}, when=(2026, 1, 1, 0, 0, 0))
    content, gone = differences(*folders)
    assert content.startswith("x.whl: content: ")
    assert gone.startswith("x.whl: gone: ")
    assert gone.endswith("| absent")
    wheel(folders[1] / "x.whl", {"same": b"1", "content": b"1", "gone": b""}, when=(2026, 1, 2, 0, 0, 0))
    assert len(differences(*folders)) == 3


def test_order_alone_is_a_difference(folders: tuple[Path, Path]) -> None:
    """The same members in another order are other bytes."""
    wheel(folders[0] / "x.whl", {"a": b"1", "b": b"2"}, when=(2026, 1, 1, 0, 0, 0))
    wheel(folders[1] / "x.whl", {"b": b"2", "a": b"1"}, when=(2026, 1, 1, 0, 0, 0))
    assert "packed differently" in differences(*folders)[0]


def test_a_source_archives_member_is_named(folders: tuple[Path, Path]) -> None:
    """By its permissions here."""
    source(folders[0] / "x.tar.gz", {"x/script": b"1"}, mode=0o644)
    source(folders[1] / "x.tar.gz", {"x/script": b"1"}, mode=0o755)
    (line,) = differences(*folders)
    assert line.startswith("x.tar.gz: x/script: 644 ")
    assert "| 755 " in line


@pytest.mark.needs("dpkg-deb")
def test_a_packages_member_is_named(folders: tuple[Path, Path]) -> None:
    """In the control part and in the data."""
    package(folders[0] / "x.deb", "one", depends="a")
    package(folders[1] / "x.deb", "other", depends="b")
    control, data = differences(*folders)
    assert control.startswith("x.deb: control: ./control: ")
    assert data.startswith("x.deb: data: ./readme: ")

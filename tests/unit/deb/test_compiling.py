"""Compiling for the package: once for the same input, side by side too, and a missing piece is one clear line."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from deb.compiling import COMPILED, PACKAGE_OF, CompileError, extract, fetch, kept, run, unpack, version_of


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder where is kept what was compiled."""
    monkeypatch.setenv(COMPILED, str(tmp_path / "kept"))
    return tmp_path / "kept"


def writes(text: str) -> Callable[[Path], None]:
    """Return what compiles a file that says `text`."""

    def make(work: Path) -> None:
        (work / "made").write_text(text)

    return make


def test_the_same_input_is_compiled_once() -> None:
    """And another input again, beside it."""
    first = kept("it", ["a", "b"], writes("one"))
    assert kept("it", ["a", "b"], writes("two")) == first
    assert (first / "made").read_text() == "one"
    assert (kept("it", ["ab", ""], writes("three")) / "made").read_text() == "three"


def test_two_builds_side_by_side_compile_once() -> None:
    """The second waits for what the first makes."""
    began, begun = threading.Event(), list[Path]()

    def make(work: Path) -> None:
        begun.append(work)
        assert began.wait(60)
        (work / "made").touch()

    with ThreadPoolExecutor() as pool:
        both = [pool.submit(kept, "it", ["a"], make) for _ in range(2)]
        began.set()
        folders = {one.result() for one in both}
    assert len(folders) == len(begun) == 1
    assert (folders.pop() / "made").exists()


def test_what_failed_is_not_kept(folder: Path) -> None:
    """Nor what it left behind; the next build tries again."""

    def fail(work: Path) -> None:
        (work / "half").touch()
        raise CompileError("no")

    with pytest.raises(CompileError):
        kept("it", ["a"], fail)
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    assert (kept("it", ["a"], writes("one")) / "made").exists()


def test_nothing_is_compiled_in_a_folder_with_a_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CMake would take a flag that names it for two."""
    (tmp_path / "a space").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "a space"))
    with pytest.raises(CompileError, match="set TMPDIR to a folder without one"):
        kept("it", ["a"], writes("one"))


def test_a_tool_that_fails_says_why(tmp_path: Path) -> None:
    """The last of what it said stands in the error."""
    with pytest.raises(CompileError, match=r"(?s)^sh failed \(3\).*the reason$"):
        run(["sh", "-c", "seq 100; echo the reason; exit 3"], log=tmp_path / "log")
    with pytest.raises(CompileError, match=r"^sh failed \(1\).*:\n86\n"):
        run(["sh", "-c", "seq 100; exit 1"], log=tmp_path / "log")


@pytest.mark.parametrize("program", PACKAGE_OF)
def test_a_missing_program_is_one_line_that_says_how_it_comes(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Debian, or with the tools in Python that `make .venv` installs."""
    monkeypatch.setattr(shutil, "which", lambda _name, path: None)
    with pytest.raises(CompileError) as raised:
        version_of(program)
    cure = f"apt-get install {PACKAGE_OF[program]}" if PACKAGE_OF[program] else "make .venv"
    assert str(raised.value) == f"{program} is missing: {cure}"


def test_an_archive_is_unpacked_under_the_name_that_is_asked_for(tmp_path: Path) -> None:
    """So that no version stands in the paths, which stand in messages of what is compiled."""
    (tmp_path / "it-1.0").mkdir()
    (tmp_path / "it-1.0/code.c").touch()
    with tarfile.open(tmp_path / "it.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "it-1.0", "it-1.0")
    (tmp_path / "work").mkdir()
    assert unpack(tmp_path / "it.tar.gz", tmp_path / "work/source") == tmp_path / "work/source"
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "work").rglob("*.c")] == ["work/source/code.c"]


def test_an_archive_of_another_content_is_refused(folder: Path) -> None:
    """Whoever put it there."""
    good = hashlib.sha256(b"good").hexdigest()
    folder.mkdir()
    archive = folder / f"{good[:16]}.tar.gz"
    archive.write_bytes(b"good")
    assert fetch("it", "1.0", good) == archive
    archive.write_bytes(b"bad")
    with pytest.raises(CompileError, match="not the source of it 1.0"):
        fetch("it", "1.0", good)


@pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")
@pytest.mark.parametrize("has_filter", [True, False])
def test_an_archive_is_extracted_by_any_python(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, has_filter: bool
) -> None:
    """Debian 12's has no filter to give."""
    if not has_filter:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    (tmp_path / "a").write_text("content")
    with tarfile.open(tmp_path / "a.tar", "w") as made:
        made.add(tmp_path / "a", "a")
    with tarfile.open(tmp_path / "a.tar") as archive:
        extract(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a").read_text() == "content"

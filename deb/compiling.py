"""Compiles what is in a source archive, once: fetches it, runs the tools, and keeps what came out.

Owns: the folder where that is kept, `build/compiled` or what `PLATESEAL_COMPILED` names; that two builds side by side
compile once; and that a missing program is told in one line. The work itself is done in the folder for temporary files.
Leaves to others: what is compiled, and how (`opencv`).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from deb.source_date import ROOT

COMPILED: Final = "PLATESEAL_COMPILED"
"""The variable that names the folder where is kept what was compiled."""
SAME_ANYWHERE: Final = {"SOURCE_DATE_EPOCH": "0", "PYTHONHASHSEED": "0", "LC_ALL": "C.UTF-8", "TZ": "UTC"}
"""What the tools are told of time, order and language. What is compiled is older than any commit of ours."""
PACKAGE_OF: Final = {
    "g++": "g++",
    "aarch64-linux-gnu-g++": "g++-aarch64-linux-gnu",
    "nasm": "nasm",
    "cmake": "",
    "ninja": "",
}
"""Debian's package of each program; without one, pip brings it: they are among the tools that `make .venv` installs."""
TOLD_LINES: Final = 15
"""Of a tool's output, when it fails."""


class CompileError(Exception):
    """It cannot be compiled here; the message says what is missing or what failed."""


def kept(name: str, decisive: Iterable[str], make: Callable[[Path], None]) -> Path:
    """Return the folder of what was compiled from `decisive`; compile it where it is not there yet.

    Args:
        name: What it is, for people.
        decisive: Everything that decides what comes out, as text.
        make: Compiles in a folder that is there and empty. What it leaves in it is kept, unless it raises.

    Raises:
        CompileError: The folder for temporary files has a space in its name.
    """
    digest = hashlib.sha256("\0".join([*decisive, repr(SAME_ANYWHERE)]).encode()).hexdigest()[:16]
    folder = _folder() / f"{name}-{digest}"
    with _alone(folder.with_suffix(".lock")):
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=f"{name}-") as scratch:
                work, half = Path(scratch).resolve() / "work", folder.with_suffix(".half")
                if " " in str(work):
                    raise CompileError(f"{scratch}: CMake splits flags at a space; set TMPDIR to a folder without one")
                work.mkdir()
                make(work)
                shutil.rmtree(half, ignore_errors=True)
                shutil.move(work, half)  # which may be on another disk
                half.rename(folder)
    return folder


def fetch(project: str, version: str, sha256: str) -> Path:
    """Return a project's source archive; pip brings it where it is not kept, and refuses another content.

    Raises:
        CompileError: pip cannot bring it, or what it finds has another digest.
    """
    archive = _folder() / f"{sha256[:16]}.tar.gz"
    with _alone(archive.with_suffix(".lock")):
        if not archive.is_file():
            with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
                _download(Path(scratch), project, version, sha256).rename(archive)
    if hashlib.sha256(archive.read_bytes()).hexdigest() != sha256:
        raise CompileError(f"{archive}: not the source of {project} {version}, SHA-256 {sha256}; remove the file")
    return archive


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack the one folder that is in a source archive, under the name that is asked for, and return that."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        with tarfile.open(archive) as opened:
            extract(opened, Path(scratch))
        (inside,) = Path(scratch).iterdir()
        inside.rename(folder)
    return folder


def extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Extract an archive whose content is known, as far as this Python can without what may do harm.

    Python 3.11.2, which is Debian 12's, has no filter.
    """
    if hasattr(tarfile, "data_filter"):
        archive.extractall(folder, filter="data")
    else:
        archive.extractall(folder)  # noqa: S202  see above


def run(command: list[str], *, log: Path) -> None:
    """Run one of the tools; what it prints goes to a file, and its last lines into the error if it fails.

    Raises:
        CompileError: It is missing, or fails.
    """
    with log.open("a") as output:
        done = subprocess.run(  # noqa: S603  our own arguments
            command, stdout=output, stderr=subprocess.STDOUT, check=False, env=_environment()
        )
    if done.returncode:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-TOLD_LINES:])
        raise CompileError(f"{command[0]} failed ({done.returncode}); the last lines of what it said:\n{last}")


def version_of(program: str) -> str:
    """Return what a program says of its version.

    Raises:
        CompileError: It is missing; the message says how it comes.
    """
    if shutil.which(program, path=_environment()["PATH"]) is None:
        package = PACKAGE_OF[program]
        raise CompileError(f"{program} is missing: {f'apt-get install {package}' if package else 'make .venv'}")
    command = [program, "-v" if program == "nasm" else "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=True, env=_environment()).stdout  # noqa: S603


def _download(folder: Path, project: str, version: str, sha256: str) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{project}=={version} --hash=sha256:{sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", project, "--require-hashes", "-r", str(wanted), "-d", str(folder)]
    # pip asks the archive what it is, for which it installs what the archive builds with: not in our versions.
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    if subprocess.run(command, check=False, env=environment).returncode:  # noqa: S603  our own arguments
        raise CompileError(f"pip does not bring the source archive of {project} {version}, SHA-256 {sha256}")
    (archive,) = folder.glob("*.tar.gz")
    return archive


def _environment() -> dict[str, str]:
    """Return the environment of the tools: those that pip brought come first, and nothing of the caller's flags."""
    left = {
        name: value for name, value in os.environ.items() if not name.endswith("FLAGS") and name not in ("CC", "CXX")
    }
    return left | SAME_ANYWHERE | {"PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"}


def _folder() -> Path:
    folder = Path(os.environ.get(COMPILED, ROOT / "build/compiled"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Wait until no other process is in here with this lock. The kernel takes it back from one that is killed."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

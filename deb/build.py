"""Builds the Debian package: plateseal and its dependencies in a virtual environment under /opt/plateseal.

Nothing of the target runs here: wheels are asked for by platform and unpacked, and OpenCV's module is compiled for it
(`opencv`), so that an amd64 machine builds the arm64 package too. Every file belongs to the package (`dpkg -V
plateseal` checks them), and nothing is compiled or downloaded on the unit. A package is for one version of Python,
because some wheels are; its version says which, as in 0.1.0+py3.11. Debian orders these rightly: a unit that goes on to
the next Debian goes on to the package for its Python.

Usage: python -m deb.build --wheel dist/plateseal-*.whl [--arch arm64] [--python 3.11] [--out dist]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from email.parser import Parser
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from packageurl import PackageURL

from deb import opencv
from deb.compiling import CompileError
from deb.libraries import LibraryError, needs, strip
from deb.machines import MACHINES, this_architecture
from deb.papers import DOCS, MAINTAINER, PaperError, write_papers
from deb.pruning import LEFT_OUT, prune
from deb.sbom import bill, hashes_of
from deb.source_date import source_date

ROOT: Final = Path(__file__).resolve().parents[1]
GLIBC: Final = range(17, 36)
"""2.17 is the oldest that wheels are built for; Ubuntu 22.04, which a Jetson runs, has 2.35."""
PREFIX: Final = Path("opt/plateseal")
SCRIPTS: Final = ("preinst", "postinst", "prerm", "postrm")
COLLECTED: Final = Path("var/lib/prometheus/node-exporter")
"""Where Debian's prometheus-node-exporter looks for text files, and where systemd-tmpfiles refuses to make links: a
folder of root's below one of another user's."""
METRICS: Final = {
    "plateseal-capture.prom": "/run/plateseal/capture.prom",
    "plateseal-upload.prom": "/run/plateseal/upload.prom",
    "plateseal-receiver.prom": "/run/plateseal-receiver/receiver.prom",
}
"""The links there, which belong to the package, and the files in memory that the daemons write."""
LAUNCHER: Final = """#!/opt/plateseal/bin/python3 -I
import sys

from agent.cli.main import main

sys.exit(main())
"""


def platform_options(arch: str, python: str) -> list[str]:
    """Return pip's options that ask for the wheels of another machine."""
    machine = MACHINES[arch]
    platforms = [f"manylinux_2_{minor}_{machine}" for minor in reversed(GLIBC)] + [f"manylinux2014_{machine}"]
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    return options + [part for platform in platforms for part in ("--platform", platform)]


def build(wheel: Path, *, arch: str, python: str, out: Path) -> Path:
    """Build the package and return its path."""
    version = debian_version(_version(wheel), python)
    package = out / f"plateseal_{version}_{arch}.deb"
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        report = Path(scratch) / "report.json"
        packages = _environment(tree / PREFIX, wheel, arch, python, report)
        hashes = hashes_of(report) | opencv.put_into(packages, arch)
        add_system_files(tree)
        prune(packages)
        strip(tree)
        write_papers(tree, packages, version=version, moment=source_date())
        for record in packages.glob("*.dist-info/RECORD"):
            record.unlink()  # of files as they came; dpkg knows them as they are
        purl = PackageURL("deb", "plateseal", "plateseal", version, {"arch": arch})
        materials = bill(packages, purl=purl, hashes=hashes, python=python, machine=MACHINES[arch], left_out=LEFT_OUT)
        (tree / DOCS / "plateseal.cdx.json").write_text(materials)
        _control(tree, version=version, arch=arch, python=python)
        _one_time(tree)
        out.mkdir(parents=True, exist_ok=True)
        kind = os.environ.get("DEB_COMPRESSION", "xz")
        level = "-z9" if kind == "xz" else "-z1"
        subprocess.run(  # noqa: S603  our own arguments
            ["dpkg-deb", "--root-owner-group", f"-Z{kind}", level, "--build", tree, package],  # noqa: S607  Debian's
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "SOURCE_DATE_EPOCH": str(source_date())},
        )
        package.with_suffix(".cdx.json").write_text(materials)
    return package


def _version(wheel: Path) -> str:
    with ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return str(Parser().parsestr(archive.read(name).decode())["Version"])


def debian_version(version: str, python: str) -> str:
    """Return Debian's form of a version of Python's: a release candidate comes before its release there too."""
    return re.sub(r"\.?(a|b|rc|dev)(?=\d)", r"~\1", version) + f"+py{python}"


def _environment(prefix: Path, wheel: Path, arch: str, python: str, report: Path) -> Path:
    packages = prefix / "lib" / f"python{python}" / "site-packages"
    packages.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    pip += [
        "--report",
        str(report),
        "--target",
        str(packages),
        "-c",
        str(ROOT / "constraints.txt"),
        *platform_options(arch, python),
        str(wheel),
    ]
    subprocess.run(pip, check=True)  # noqa: S603  our own arguments
    for path in packages.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)  # wheels mark libraries as programs, which lintian minds
    (prefix / "pyvenv.cfg").write_text(f"home = /usr/bin\ninclude-system-site-packages = false\nversion = {python}\n")
    bin_dir = prefix / "bin"
    bin_dir.mkdir()
    (bin_dir / "python3").symlink_to(f"/usr/bin/python{python}")
    (bin_dir / "plateseal").write_text(LAUNCHER)
    (bin_dir / "plateseal").chmod(0o755)
    return packages


def add_system_files(tree: Path) -> None:
    """Put what is no Python into the tree: units, users, folders, links, documents."""
    units = tree / "usr/lib/systemd/system"
    units.mkdir(parents=True)
    for path in sorted((ROOT / "systemd").iterdir()):
        if path.suffix in (".service", ".timer"):
            shutil.copyfile(path, units / path.name)
        else:
            folder = tree / f"usr/lib{path.suffix.replace('.', '/')}.d"
            folder.mkdir(parents=True)
            shutil.copyfile(path, folder / "plateseal.conf")
    (tree / COLLECTED).mkdir(parents=True)
    for name, target in METRICS.items():
        (tree / COLLECTED / name).symlink_to(target)
    (tree / "usr/bin").mkdir(parents=True)
    (tree / "usr/bin/plateseal").symlink_to(Path("/") / PREFIX / "bin/plateseal")
    docs = tree / DOCS
    docs.mkdir(parents=True)
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        shutil.copyfile(path, docs / path.name)
    shutil.copytree(ROOT / "config", docs / "examples/fleet", ignore=shutil.ignore_patterns(".*"))
    shutil.copyfile(ROOT / "deb/unit.toml", docs / "examples/unit.toml")


def _control(tree: Path, *, version: str, arch: str, python: str) -> None:
    control = tree / "DEBIAN"
    control.mkdir()
    depends = [f"python{python}", "systemd (>= 249)", "ca-certificates", *needs(tree)]
    # As dpkg-gencontrol counts: a KiB begun is a KiB, and so is a folder, whatever size this file system gives it.
    size_kib = sum(1 if path.is_dir() else (path.lstat().st_size + 1023) >> 10 for path in tree.rglob("*"))
    (control / "control").write_text(
        f"Package: plateseal\nVersion: {version}\nArchitecture: {arch}\nMaintainer: {MAINTAINER}\n"
        f"Installed-Size: {size_kib}\nDepends: {', '.join(depends)}\n"
        "Section: misc\nPriority: optional\nHomepage: https://github.com/plateseal/plateseal\n"
        "Description: Edge agent for licence-plate cameras\n"
        " Reads plates, seals each read to the owner's key, keeps it in a crash-safe\n"
        " spool, and erases it only when the receiver has signed for it.\n"
    )
    for name in SCRIPTS:
        shutil.copyfile(ROOT / "deb" / name, control / name)
        (control / name).chmod(0o755)


def _one_time(tree: Path) -> None:
    """Give every file the same time and no odd permissions: the same input makes the same package."""
    moment = source_date()
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
        os.utime(path, (moment, moment), follow_symlinks=False)


def main() -> None:
    """Build what the command line asks for, and print the package's path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--arch", choices=sorted(MACHINES), default=this_architecture())
    parser.add_argument("--python", default="3.11", metavar="3.X")
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    wanted = parser.parse_args()
    try:
        package = build(wanted.wheel, arch=wanted.arch, python=wanted.python, out=wanted.out)
    except (CompileError, LibraryError, PaperError) as fault:
        sys.exit(str(fault))
    print(package)  # noqa: T201  what it is for


if __name__ == "__main__":
    main()

"""OpenCV's extension module with what plateseal uses of it, to stand in the package in place of the wheel's.

The wheel's has an FFmpeg, an OpenBLAS and networks of its own: 40 MB of a package, and PyAV decodes what that FFmpeg
would. Owns: what is compiled, out of which source archive, how, and which licences come with it. The wheel's files in
Python stay. Leaves to others: running the compiler and keeping what came out (`compiling`).

Usage: python -m deb.opencv [--arch arm64]
"""

from __future__ import annotations

import argparse
import inspect
import json
import platform
import re
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

import numpy as np

from deb.compiling import CompileError, fetch, kept, run, unpack, version_of
from deb.libraries import LibraryError, needs, strip
from deb.machines import MACHINES, this_architecture
from deb.source_date import ROOT

PROJECT: Final = "opencv-python-headless"
SHA256_OF: Final = {"5.0.0.93": "b82f9831daab90b725c7c1ee1b36cb5732c367096ac76d119e64e14eb70d5f3c"}
"""The source archive of each version that constraints.txt may name."""
LIBRARY: Final = "cv2.abi3.so"
"""One for all versions of Python from 3.6 on."""
LICENCES: Final = "licenses"
"""The folder with the texts of what is compiled into it, named as Python's packaging has it (PEP 639)."""
JOBS: Final = 2
"""Compilers at a time; the largest files take 700 MB each."""
_OFF: Final = (
    "WITH_FFMPEG", "WITH_GSTREAMER", "WITH_LAPACK", "WITH_OPENCL", "WITH_IPP", "WITH_ITT", "WITH_VA", "WITH_VA_INTEL",
    "WITH_PROTOBUF", "WITH_FLATBUFFERS", "WITH_OPENEXR", "WITH_JASPER", "WITH_AVIF", "WITH_EIGEN", "WITH_OBSENSOR",
    "WITH_KLEIDICV", "WITH_UNIFONT", "WITH_VTK", "WITH_GTK", "WITH_1394",
    "BUILD_SHARED_LIBS", "BUILD_TESTS", "BUILD_PERF_TESTS", "BUILD_DOCS", "BUILD_JAVA", "BUILD_opencv_apps",
    "CV_TRACE", "ENABLE_CCACHE", "ENABLE_PRECOMPILED_HEADERS", "OPENCV_GENERATE_SETUPVARS",
)  # fmt: skip
"""What would be compiled, looked for on this machine, or fetched. PyAV decodes AVIF."""
OPTIONS: Final = {
    "CMAKE_BUILD_TYPE": "Release",
    "BUILD_LIST": "core,imgproc,imgcodecs,videoio,python3",
    "OPENCV_FORCE_3RDPARTY_BUILD": "ON",
    "WITH_V4L": "ON",
    "PYTHON3_LIMITED_API": "ON",
    "BUILD_INFO_SKIP_TIMESTAMP": "ON",
    "BUILD_INFO_SKIP_SYSTEM_VERSION": "ON",
    "CMAKE_INSTALL_PREFIX": "/opt/plateseal",
    "CMAKE_MODULE_LINKER_FLAGS": "-static-libstdc++ -static-libgcc",
} | dict.fromkeys(_OFF, "OFF")
"""CMake's, for all machines."""
OPTIONS_OF: Final = {
    "amd64": {"CPU_BASELINE": "SSE4_2", "CPU_DISPATCH": "AVX2"},
    "arm64": {"CPU_BASELINE": "NEON", "CPU_DISPATCH": ""},
}
"""What a processor must have, and what is compiled a second time for those that have more. NumPy's wheel asks for
SSE 4.2 too; OpenCV's asks for SSE3."""
TOOLCHAINS: Final = {"arm64": "platforms/linux/aarch64-gnu.toolchain.cmake"}
"""How OpenCV itself is compiled for another machine; the compiler is Debian's."""
FEATURES: Final = (
    r"JPEG: +build-libjpeg-turbo .*\n.*\n.*SIMD Support: +YES", r"PNG: +build", r"TIFF: +build", r"WEBP: +build",
    r"GIF: +YES", r"v4l/v4l2: +YES", r"3rdparty dependencies: +libjpeg-turbo libwebp libpng libtiff libopenjp2 zlib",
)  # fmt: skip
"""What OpenCV must say of what it is about to compile, as regular expressions."""
_OF_THIS_MACHINE: Final = re.compile(r"CMake|flags \(|Interpreter:|Libraries:|numpy:|for build\)|install path:|Host:")
"""Lines of what `cv2.getBuildInformation()` says that name folders, and versions that decide nothing."""
INSIDE: Final = {
    "opencv": ("Apache-2.0", "LICENSE", ""),
    "flann": ("BSD-2-Clause", "modules/flann/include/opencv2/flann/flann_base.hpp", ""),
    "carotene": ("BSD-3-Clause", "hal/carotene/include/carotene/types.hpp", ""),
    "softfloat": ("BSD-3-Clause", "modules/core/3rdparty/SoftFloat/COPYING.txt", ""),
    "dlpack": ("Apache-2.0", "3rdparty/dlpack/LICENSE", ""),
    "rubik": ("OFL-1.1", "modules/imgproc/fonts/Rubik_OFL.txt", ""),
    "libjpeg-turbo": ("IJG AND BSD-3-Clause AND Zlib", "3rdparty/libjpeg-turbo/LICENSE.md", r" JPEG:.*\(ver ([\d.]+)"),
    "libpng": ("libpng-2.0", "3rdparty/libpng/LICENSE", r" PNG:.*\(ver ([\d.]+)"),
    "libtiff": ("libtiff", "3rdparty/libtiff/LICENSE.md", r" TIFF:.*- ([\d.]+)"),
    "libwebp": ("BSD-3-Clause", "3rdparty/libwebp/COPYING", ""),
    "openjpeg": ("BSD-2-Clause", "3rdparty/openjpeg/LICENSE", r" JPEG 2000:.*\(ver ([\d.]+)"),
    "zlib": ("Zlib", "3rdparty/zlib/LICENSE", r" ZLib:.*\(ver ([\d.]+)"),
}
"""What is compiled in: its licence, where the source has the text, and where OpenCV says its version. carotene is for
ARM alone."""


def put_into(packages: Path, arch: str) -> dict[str, str]:
    """Put the compiled module in the place of the wheel's, and take out what only that one needs.

    Args:
        packages: A `site-packages` that the wheel was installed in.
        arch: Debian's name of the machine that it is for.

    Returns:
        SHA-256 of the source archive, by the project's name: that of the wheel no longer says what is inside.

    Raises:
        CompileError: It cannot be compiled here.
        LibraryError: What was compiled needs more than the systems have that the package is for.
    """
    version = pinned_version()
    made = compiled(arch)
    (info,) = packages.glob(f"opencv_python_headless-{version}.dist-info")
    shutil.rmtree(packages / "opencv_python_headless.libs")
    shutil.rmtree(info / "sboms", ignore_errors=True)  # not every wheel has one
    for folder in (info, packages / "cv2"):
        (folder / "LICENSE-3RD-PARTY.txt").unlink()  # of the wheel's libraries
    shutil.copyfile(made / LIBRARY, packages / "cv2" / LIBRARY)
    shutil.copytree(made / LICENCES, info / LICENCES)
    (info / "sboms").mkdir()
    shutil.copyfile(made / "inside.json", info / "sboms/opencv.cdx.json")
    return {PROJECT: SHA256_OF[version]}


def pinned_version() -> str:
    """Return the version that constraints.txt names.

    Raises:
        CompileError: The digest of its source archive is not known here.
    """
    found = re.search(rf"^{PROJECT}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    if found is None or found[1] not in SHA256_OF:
        raise CompileError(
            f"constraints.txt: {PROJECT} must be one of {', '.join(SHA256_OF)}, whose SHA-256 deb/opencv.py has"
        )
    return found[1]


def compiled(arch: str) -> Path:
    """Return the folder that holds the module for an architecture, its licences and its bill; compile it if need be.

    Raises:
        CompileError: It cannot be compiled here.
        LibraryError: What was compiled needs more than the systems have that the package is for.
    """
    digest = SHA256_OF[pinned_version()]
    tools = [sys.version, *platform.libc_ver(), version_of(compiler_for(arch)), *map(version_of, _programs(arch))]
    recipe = map(inspect.getsource, (_compile, _options, _headers, _describe))
    decisive = [digest, arch, np.__version__, *tools, *recipe, repr((OPTIONS, OPTIONS_OF[arch], INSIDE))]
    return kept(f"opencv-{arch}", decisive, lambda work: _compile(work, arch))


def compiler_for(arch: str) -> str:
    """Return the C++ compiler that compiles for an architecture: this machine's own, or one that crosses.

    Raises:
        CompileError: OpenCV has no recipe for that from here.
    """
    if arch == this_architecture():
        return "g++"
    if arch not in TOOLCHAINS:
        raise CompileError(
            f"OpenCV cannot be compiled for {arch} on {this_architecture()}; build the package on {arch}"
        )
    return f"{MACHINES[arch]}-linux-gnu-g++"


def _programs(arch: str) -> list[str]:
    return ["cmake", "ninja", *(["nasm"] if arch == "amd64" else [])]


def _compile(work: Path, arch: str) -> None:
    """Compile into `work`, and leave there what `compiled` promises."""
    version = pinned_version()
    source = unpack(fetch(PROJECT, version, SHA256_OF[version]), work / "source") / "opencv"
    build = work / "build"
    run(["cmake", "-G", "Ninja", "-S", str(source), "-B", str(build), *_options(work, source, arch)], log=work / "log")
    said = (build / "modules/core/version_string.inc").read_text()
    for feature in FEATURES:
        if not re.search(feature, said):
            raise CompileError(f"OpenCV would be compiled without what plateseal needs: no {feature!r} in its summary")
    lines = [line for line in said.splitlines(keepends=True) if not _OF_THIS_MACHINE.search(line)]
    (build / "modules/core/version_string.inc").write_text("".join(lines))
    looked_for = build / "opencv_data_config.hpp"  # where OpenCV's samples would look for their files
    looked_for.write_text(looked_for.read_text().replace(str(work), OPTIONS["CMAKE_INSTALL_PREFIX"]))
    run(["ninja", "-C", str(build), "-j", str(JOBS), "opencv_python3"], log=work / "log")
    shutil.move(build / "lib/python3" / LIBRARY, work / LIBRARY)
    _describe(work, source, said, arch)
    shutil.rmtree(build)
    shutil.rmtree(work / "source")
    shutil.rmtree(work / "python")
    strip(work)
    if bytes(work) in (work / LIBRARY).read_bytes():
        raise CompileError(f"{LIBRARY} names the folder that it was compiled in, and would be another in each")
    needs(work)  # refuses what the systems do not have


def _options(work: Path, source: Path, arch: str) -> list[str]:
    same_anywhere = f"-ffile-prefix-map={work}=."
    python = {
        "PYTHON3_EXECUTABLE": sys.executable,
        "PYTHON_DEFAULT_EXECUTABLE": sys.executable,
        "PYTHON3_INCLUDE_DIR": str(_headers(work)),
        "PYTHON3_INCLUDE_PATH": str(work / "python"),
        "PYTHON3_LIBRARY": "none",  # an extension module is not linked with it
        "PYTHON3_NUMPY_INCLUDE_DIRS": np.get_include(),
        "CMAKE_C_FLAGS": same_anywhere,
        "CMAKE_CXX_FLAGS": same_anywhere,
    }
    if arch == this_architecture():
        compiler = {"CMAKE_C_COMPILER": "gcc", "CMAKE_CXX_COMPILER": compiler_for(arch)}
    else:
        compiler = {"CMAKE_TOOLCHAIN_FILE": str(source / TOOLCHAINS[arch])}
    return [f"-D{name}={value}" for name, value in (OPTIONS | OPTIONS_OF[arch] | python | compiler).items()]


def _headers(work: Path) -> Path:
    """Copy Python's headers, which serve for both machines: sizes of types are the same.

    Debian's `pyconfig.h` leads on to a file for each machine, of which only this machine's is there: it is put in its
    place.

    Raises:
        CompileError: This Python has no headers.
    """
    headers = Path(sysconfig.get_path("include"))
    if not (headers / "Python.h").is_file():
        raise CompileError(f"{headers}/Python.h is missing: apt-get install python3-dev")
    shutil.copytree(headers, work / "python")
    shutil.copyfile(sysconfig.get_config_h_filename(), work / "python/pyconfig.h")
    return work / "python"


def _describe(work: Path, source: Path, said: str, arch: str) -> None:
    """Put the licences' texts and a bill of what is inside beside the module."""
    (work / LICENCES).mkdir()
    components = []
    for name, (_, place, version_in) in INSIDE.items():
        if name == "carotene" and arch != "arm64":
            continue
        text = (source / place).read_text(errors="replace")
        if place.endswith(".hpp"):
            text = text.partition("*/")[0].partition("/*")[2]
        (work / LICENCES / f"{name}-LICENSE").write_text(text)
        version = re.search(version_in, said) if version_in else None
        components.append({"type": "library", "name": name} | ({"version": version[1]} if version else {}))
    (work / "inside.json").write_text(json.dumps({"bomFormat": "CycloneDX", "components": components}, indent=1) + "\n")


def main() -> None:
    """Compile it for what the command line asks for, and print where it is."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--arch", choices=sorted(MACHINES), default=this_architecture())
    wanted = parser.parse_args()
    try:
        folder = compiled(wanted.arch)
    except (CompileError, LibraryError) as fault:
        sys.exit(str(fault))
    print(folder / LIBRARY)  # noqa: T201  what it is for


if __name__ == "__main__":
    main()

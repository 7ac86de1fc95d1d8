"""The papers that Debian wants beside the files: changelog, copyright, and what lintian need not report.

All are made from what lies in the tree and the repository, so they are right for whatever the package holds.
"""

from __future__ import annotations

import gzip
import re
import shutil
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import Message
from email.parser import Parser
from email.utils import format_datetime
from pathlib import Path
from typing import Final

from deb.opencv import INSIDE, PROJECT

MAINTAINER: Final = "The plateseal maintainers <maintainers@plateseal.example>"
ROOT: Final = Path(__file__).resolve().parents[1]
DOCS: Final = Path("usr/share/doc/plateseal")
LICENCE_NAMES: Final = re.compile(r"(licen[cs]e|copying|notice|authors|thirdparty)", re.IGNORECASE)
_LGPL: Final = """\
A shared library of its own: whoever wants another build of it may put one with the same file name in its place. On
Debian the text is in /usr/share/common-licenses/LGPL-2.1."""
_GCC: Final = "With the GCC Runtime Library Exception 3.1. On Debian the text is in /usr/share/common-licenses/GPL-3."
_COMPILED: Final = "Compiled for this package from the project's source archive; inside are"
_JPEG: Final = "Of libjpeg-turbo: this software is based in part on the work of the Independent JPEG Group."
_GPL: Final = """\
An encoder, which FFmpeg's library asks for when it is loaded; plateseal encodes no video. For its sake the package as a
whole may be given away under the GPL, version 3 or later, only, and its source must be offered with it: see NOTICE."""
_WITH_SOURCE: Final = "The whole text is with its source, at this address."
_LGPL_3: Final = """\
A shared library of its own: whoever wants another build of it may put one with the same file name in its place. On
Debian the texts are in /usr/share/common-licenses. The source is at the address above; the recipe is
https://github.com/PyAV-Org/pyav-ffmpeg."""
BUNDLED: Final = {
    r"av\.libs/lib(av|sw)": ("FFmpeg", "https://ffmpeg.org", "LGPL-3+", _LGPL_3),
    "libx264": ("x264", "https://www.videolan.org/developers/x264.html", "GPL-2+", _GPL),
    "libx265": ("x265", "https://www.videolan.org/developers/x265.html", "GPL-2+", _GPL),
    "libgnutls": ("GnuTLS", "https://gnutls.org", "LGPL-2.1+", _LGPL_3),
    "libnettle|libhogweed": ("Nettle", "https://www.lysator.liu.se/~nisse/nettle", "LGPL-3+ or GPL-2+", _LGPL_3),
    "libgmp": ("GMP", "https://gmplib.org", "LGPL-3+ or GPL-2+", _LGPL_3),
    "libunistring": ("libunistring", "https://www.gnu.org/software/libunistring", "LGPL-3+ or GPL-2+", _LGPL_3),
    "libmp3lame": ("LAME", "https://lame.sourceforge.io", "LGPL-2+", _LGPL_3),
    "libasound": ("alsa-lib", "https://www.alsa-project.org", "LGPL-2.1+", _LGPL_3),
    "libopencore-amr": ("opencore-amr", "https://opencore-amr.sourceforge.io", "Apache-2.0", ""),
    "libSvtAv1Enc": ("SVT-AV1", "https://gitlab.com/AOMediaCodec/SVT-AV1", "BSD-3-Clause-Clear", _WITH_SOURCE),
    "libdav1d": ("dav1d", "https://code.videolan.org/videolan/dav1d", "BSD-2-Clause", _WITH_SOURCE),
    "libopus": ("Opus", "https://opus-codec.org", "BSD-3-Clause", _WITH_SOURCE),
    "libwebp|libsharpyuv": ("libwebp", "https://chromium.googlesource.com/webm/libwebp", "BSD-3-Clause", _WITH_SOURCE),
    "libvpl": ("libvpl", "https://github.com/intel/libvpl", "Expat", _WITH_SOURCE),
    "libxcb": ("libxcb", "https://xcb.freedesktop.org", "X11", _WITH_SOURCE),
    "libXau": ("libXau", "https://www.x.org", "X11", _WITH_SOURCE),
    "libquadmath": ("libquadmath", "https://gcc.gnu.org", "LGPL-2.1+", _LGPL),
    "libgfortran": ("libgfortran", "https://gcc.gnu.org", "GPL-3+ with GCC exception", _GCC),
    "libscipy_openblas": ("OpenBLAS", "https://www.openblas.net", "BSD-3-Clause", ""),
    "libvpx": ("libvpx", "https://www.webmproject.org", "BSD-3-Clause", ""),
    "libdrm": ("libdrm", "https://dri.freedesktop.org", "Expat", ""),
}
"""Libraries that wheels bring, by the file's name before its hash, or by folder and name: project, address, licence,
what to add. The first that matches holds."""


class PaperError(Exception):
    """Something has no known licence, so the package may not be given away; the message says what."""


def write_papers(tree: Path, packages: Path, *, version: str, moment: int) -> None:
    """Put changelog, copyright and lintian's overrides into a tree whose other files are complete.

    Args:
        tree: What will be the root of the unit.
        packages: The `site-packages` in it.
        version: The package's, which stands in the changelog.
        moment: Seconds since 1970, for what is not released yet.

    Raises:
        PaperError: A wheel brings no licence text, or a library whose licence is not known here.
    """
    docs = tree / DOCS
    docs.mkdir(parents=True, exist_ok=True)
    entries = changelog((ROOT / "CHANGELOG.md").read_text(), version=version, moment=moment)
    (docs / "changelog.gz").write_bytes(gzip.compress(entries.encode(), 9, mtime=0))
    (docs / "copyright").write_text("\n".join(_copyright(tree, packages)))
    overrides = tree / "usr/share/lintian/overrides"
    overrides.mkdir(parents=True)
    shutil.copyfile(ROOT / "deb/lintian-overrides", overrides / "plateseal")


def changelog(markdown: str, *, version: str, moment: int) -> str:
    """Turn a changelog in the form of Keep a Changelog into Debian's, newest first."""
    stanzas = []
    for name, body in re.findall(r"^## \[(.+?)\][^\n]*\n(.*?)(?=^## |\Z)", markdown, re.DOTALL | re.MULTILINE):
        points = re.findall(r"^- (.+?)(?=^- |^#|\Z)", body, re.DOTALL | re.MULTILINE)
        lines = [textwrap.fill(_line(point), 78, initial_indent="  * ", subsequent_indent="    ") for point in points]
        of = version if name == "Unreleased" else name
        head = f"plateseal ({of}) unstable; urgency=medium"
        stanzas.append(
            "\n\n".join(
                [head, "\n".join(lines), f" -- {MAINTAINER}  {format_datetime(datetime.fromtimestamp(moment, UTC))}\n"]
            )
        )
    return "\n".join(stanzas)


def _line(text: str) -> str:
    return " ".join(text.split())


def _copyright(tree: Path, packages: Path) -> Iterator[str]:
    yield "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/"
    yield "Upstream-Name: plateseal\nSource: https://github.com/plateseal/plateseal\n"
    yield "Files: *\nCopyright: The plateseal maintainers\nLicense: Apache-2.0"
    yield " On Debian the text is in /usr/share/common-licenses/Apache-2.0.\n"
    for info in sorted(packages.glob("*.dist-info")):
        if not info.name.startswith("plateseal-"):
            yield from _of_wheel(tree, info)
    for folder in sorted(packages.glob("*.libs")):
        for library in sorted(folder.iterdir()):
            yield from _of_library(library.relative_to(tree))


def _of_wheel(tree: Path, info: Path) -> Iterator[str]:
    """Yield one wheel's paragraph: whose it is, under what, and where in the package the whole text is."""
    metadata = Parser().parsestr((info / "METADATA").read_text())
    own = _own_folders(info)
    texts = [path for folder in (info, *own) for path in sorted(folder.rglob("*")) if _is_licence(path)]
    files = " ".join(f"{path.relative_to(tree)}/*" for path in (info, *own))
    yield f"Files: {files}"
    yield "Copyright: " + "\n ".join(_holders(texts) or [f"the authors of {metadata['Name']}"])
    yield f"License: {_licence(metadata)}"
    yield f" {metadata['Name']} {metadata['Version']}, {_address(metadata)}"
    if metadata["Name"] == PROJECT:
        here = {path.name.removesuffix("-LICENSE") for path in texts}
        inside = ", ".join(f"{name} ({licence})" for name, (licence, *_) in INSIDE.items() if name in here)
        text = f"{_COMPILED} {inside}, and GCC's libstdc++ (GPL-3+ with the GCC Runtime Library Exception 3.1). {_JPEG}"
        yield textwrap.indent(textwrap.fill(text, 110), " ")
    yield " The whole text:"
    yield "".join(f"  /{place}\n" for place in _places(tree, info, texts, _licence(metadata)))


def _places(tree: Path, info: Path, texts: list[Path], licence: str) -> list[Path]:
    if texts:
        return [path.relative_to(tree) for path in texts]
    if "Apache" in licence:
        return [Path("usr/share/common-licenses/Apache-2.0")]
    raise PaperError(f"{info}: the wheel brings no text of its licence, {licence}")


def _own_folders(info: Path) -> list[Path]:
    """Return the folders beside the metadata that pip's record says are this wheel's."""
    record = (info / "RECORD").read_text()
    names = {line.partition("/")[0] for line in record.splitlines() if "/" in line.partition(",")[0]}
    found = [info.parent / name for name in sorted(names) if name.isidentifier()]
    return [path for path in found if path.is_dir()]


def _is_licence(path: Path) -> bool:
    return path.is_file() and path.suffix not in {".py", ".so", ".json"} and bool(LICENCE_NAMES.search(path.name))


def _holders(texts: list[Path]) -> list[str]:
    """Return the copyright lines at the head of the licence files."""
    lines = [line for text in texts[:3] for line in text.read_text(errors="replace").splitlines()[:20]]
    found = [_line(line) for line in lines if re.match(r"\s*(Copyright|©)\s*(\(c\)|©|[0-9])", line, re.IGNORECASE)]
    return sorted({line for line in found if "[" not in line})


def _licence(metadata: Message) -> str:
    stated = metadata["License-Expression"] or (metadata["License"] or "").strip()
    if stated and "\n" not in stated:
        return str(stated)
    classes = [line.rpartition(" :: ")[2] for line in metadata.get_all("Classifier", []) if line.startswith("License")]
    return ", ".join(classes) or "see the text"


def _address(metadata: Message) -> str:
    urls = {
        name.lower(): url for name, _, url in (line.partition(", ") for line in metadata.get_all("Project-URL", []))
    }
    known = ("source", "source code", "repository", "homepage")
    return str(
        next((urls[name] for name in known if name in urls), metadata["Home-page"] or next(iter(urls.values()), ""))
    )


def _of_library(path: Path) -> Iterator[str]:
    for pattern, (project, address, licence, more) in BUNDLED.items():
        if re.match(pattern, path.name) or re.match(pattern, f"{path.parent.name}/{path.name}"):
            yield f"Files: {path}\nCopyright: the authors of {project}\nLicense: {licence}"
            yield textwrap.indent(textwrap.fill(f"{project}, {address}. {_line(more)}".rstrip(), 110), " ")
            if path.parent.name != "av.libs":  # PyAV's wheel brings its own licence alone
                yield " The whole text is with the wheel's, above, and among NumPy's notices."
            yield ""
            return
    raise PaperError(f"{path}: no licence is known for this library; add it to BUNDLED in deb/papers.py")

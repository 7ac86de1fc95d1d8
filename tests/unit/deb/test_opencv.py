"""OpenCV's module in the package: it takes the place of the wheel's, and so do its licences and its bill."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deb import opencv
from deb.compiling import CompileError
from deb.opencv import INSIDE, LIBRARY, LICENCES, PROJECT, SHA256_OF, pinned_version, put_into
from tests.needs import ROOT


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what matters of the wheel, where something else was compiled."""
    packages, made = tmp_path / "packages", tmp_path / "made"
    info = packages / f"opencv_python_headless-{pinned_version()}.dist-info"
    old = ["opencv_python_headless.libs/libavcodec.so", f"{info.name}/sboms/auditwheel.json", "cv2/config.py"]
    old += [
        f"cv2/{LIBRARY}",
        "cv2/LICENSE-3RD-PARTY.txt",
        f"{info.name}/LICENSE-3RD-PARTY.txt",
        f"{info.name}/METADATA",
    ]
    new = [LIBRARY, f"{LICENCES}/zlib-LICENSE", "inside.json"]
    for path in [*(packages / name for name in old), *(made / name for name in new)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.parts[len(tmp_path.parts)])
    monkeypatch.setattr(opencv, "compiled", lambda _arch: made)
    return packages


def test_the_compiled_module_takes_the_place_of_the_wheels(wheel: Path) -> None:
    """With its licences and its bill; nothing is left of the wheel's libraries but the files in Python."""
    assert put_into(wheel, "arm64") == {PROJECT: SHA256_OF[pinned_version()]}
    info = f"opencv_python_headless-{pinned_version()}.dist-info"
    assert {str(path.relative_to(wheel)): path.read_text() for path in wheel.rglob("*") if path.is_file()} == {
        "cv2/config.py": "packages",
        f"cv2/{LIBRARY}": "made",
        f"{info}/METADATA": "packages",
        f"{info}/{LICENCES}/zlib-LICENSE": "made",
        f"{info}/sboms/opencv.cdx.json": "made",
    }


def test_a_version_whose_digest_is_not_known_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raising the version in constraints.txt asks for the digest of its source."""
    text = (ROOT / "constraints.txt").read_text().replace(f"{PROJECT}==", f"{PROJECT}==9")
    (tmp_path / "constraints.txt").write_text(text)
    monkeypatch.setattr(opencv, "ROOT", tmp_path)
    with pytest.raises(CompileError, match=f"constraints.txt: {PROJECT} must be one of 5"):
        pinned_version()


def test_nobody_compiles_for_another_machine_without_a_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one for ARM."""
    monkeypatch.setattr(opencv, "this_architecture", lambda: "amd64")
    assert [opencv.compiler_for(arch) for arch in ("amd64", "arm64")] == ["g++", "aarch64-linux-gnu-g++"]
    monkeypatch.setattr(opencv, "this_architecture", lambda: "arm64")
    with pytest.raises(CompileError, match="cannot be compiled for amd64 on arm64"):
        opencv.compiler_for("amd64")


@pytest.mark.parametrize("arch", ["amd64", "arm64"])
def test_every_text_and_version_of_what_is_inside_is_found(arch: str, tmp_path: Path) -> None:
    """A licence that stands at the head of a source file is cut out of it; ARM's own library is for ARM alone."""
    for _, place, _ in INSIDE.values():
        path = tmp_path / "source" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("/* the text */ code();" if path.suffix == ".hpp" else " the text ")
    said = (
        '"    ZLib:                        build (ver 1.3.2)\\n"\n'
        '"    JPEG:                        build-libjpeg-turbo (ver 3.1.2-70)\\n"\n'
        '"    PNG:                         build (ver 1.6.57)\\n"\n'
        '"    TIFF:                        build (ver 42 - 4.7.1)\\n"\n'
        '"    JPEG 2000:                   build (ver 2.5.3)\\n"\n'
    )
    opencv._describe(tmp_path, tmp_path / "source", said, arch)
    texts = {path.name.removesuffix("-LICENSE"): path.read_text() for path in (tmp_path / LICENCES).iterdir()}
    assert texts == dict.fromkeys(set(INSIDE) - ({"carotene"} if arch == "amd64" else set()), " the text ")
    bill = json.loads((tmp_path / "inside.json").read_text())
    versions = {one["name"]: one["version"] for one in bill["components"] if "version" in one}
    assert {one["name"] for one in bill["components"]} == texts.keys()
    assert versions == {
        "zlib": "1.3.2", "libjpeg-turbo": "3.1.2", "libpng": "1.6.57", "libtiff": "4.7.1", "openjpeg": "2.5.3",
    }  # fmt: skip

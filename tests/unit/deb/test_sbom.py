"""Bills of materials: valid, the same twice, and honest about what is not known."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from packageurl import PackageURL

from deb.sbom import bill, hashes_of

PURL = PackageURL("pypi", None, "plateseal", "1.0")
MANIFEST = """
[[detector]]
name = "here"
file = "here.onnx"
sha256 = "{digest}"
licence = "MIT"
origin = "trained"
[[reader]]
name = "elsewhere"
file = "elsewhere.onnx"
sha256 = "{digest}"
licence = "MIT"
origin = "fetched"
"""
SAID = {
    "bomFormat": "CycloneDX",
    "components": [
        {"type": "library", "name": "native", "version": "2.0"},
        {"type": "library", "name": "openssl", "version": "4.0", "hashes": [{"alg": "SHA-256", "content": "ab" * 32}]},
        {"type": "library", "name": "openssl", "version": "4.0"},
    ],
}


@cache
def validator() -> Any:
    """Return what holds a text against the schema of CycloneDX 1.6; reading that takes half a second."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    return JsonStrictValidator(SchemaVersion.V1_6)


def is_valid(text: str) -> bool:
    """Whether a bill is one of CycloneDX 1.6, as its own library judges."""
    return validator().validate_str(text) is None


def install(packages: Path, name: str, *lines: str, pure: bool = True) -> Path:
    """Lay a distribution's metadata into a folder, as pip does, and return its folder."""
    folder = packages / f"{name}-2.0.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 2.0", *lines, ""]))
    (folder / "WHEEL").write_text(f"Wheel-Version: 1.0\nRoot-Is-Purelib: {str(pure).lower()}\n")
    return folder


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """A folder with plateseal and what it needs, one of it compiled with a library beside it, and one stranger."""
    folder = tmp_path / "packages"
    install(folder, "plateseal", "Requires-Dist: native[fast]>=1", "Requires-Dist: gone; python_version < '3'")
    native = install(
        folder,
        "native",
        "License-Expression: MIT OR Apache-2.0",
        "Provides-Extra: fast",
        "Requires-Dist: pure ; extra == 'fast'",
        "Requires-Dist: stranger ; extra == 'slow'",
        pure=False,
    )
    (native / "sboms").mkdir()
    (native / "sboms/x.cdx.json").write_text(json.dumps(SAID))
    (folder / "native.libs").mkdir()
    (folder / "native.libs/libx-1.so.3").write_bytes(b"library")
    install(folder, "pure", "Classifier: License :: OSI Approved :: MIT License")
    install(folder, "stranger", "License: MIT", pure=False)
    models = folder / "agent/vision/models"
    models.mkdir(parents=True)
    (models / "here.onnx").write_bytes(b"model")
    (models / "manifest.toml").write_text(MANIFEST.format(digest=hashlib.sha256(b"model").hexdigest()))
    return folder


@pytest.fixture
def written(packages: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """Return the folder's bill as JSON, after it has been held against the schema."""
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")

    def write() -> dict[str, Any]:
        text = bill(packages, purl=PURL, hashes={"pure": "cd" * 32}, python="3.11", machine="x86_64")
        assert is_valid(text)
        assert bill(packages, purl=PURL, hashes={"pure": "cd" * 32}, python="3.11", machine="x86_64") == text
        found: dict[str, Any] = json.loads(text)
        return found

    return write


def test_versions_licences_and_hashes_are_told(written: Callable[[], dict[str, Any]]) -> None:
    """Of each distribution, as far as they are known; the product itself stands in the head."""
    found = written()
    assert found["metadata"]["timestamp"] == "2023-11-14T22:13:20+00:00"
    assert found["metadata"]["component"]["purl"] == "pkg:pypi/plateseal@1.0"
    components = {one["name"]: one for one in found["components"]}
    assert set(components) == {"native", "pure", "stranger", "here"}
    assert components["native"]["licenses"] == [{"acknowledgement": "declared", "expression": "MIT OR Apache-2.0"}]
    assert components["stranger"]["licenses"][0]["license"]["id"] == "MIT"
    assert components["pure"]["hashes"] == [{"alg": "SHA-256", "content": "cd" * 32}]
    assert components["pure"]["purl"] == "pkg:pypi/pure@2.0"
    assert "hashes" not in components["native"]


def test_what_lies_inside_a_wheel_is_named_or_said_to_be_unknown(written: Callable[[], dict[str, Any]]) -> None:
    """What the wheel's own bill says, once; its shared libraries by digest; a property says how far that goes."""
    components = {one["name"]: one for one in written()["components"]}
    inside = {one["name"]: one for one in components["native"]["components"]}
    assert set(inside) == {"openssl", "libx-1.so.3"}
    assert inside["openssl"]["version"] == "4.0"
    assert inside["libx-1.so.3"]["hashes"][0]["content"] == hashlib.sha256(b"library").hexdigest()
    assert components["native"]["properties"][0]["value"].startswith("as the wheel's own bill of materials says")
    assert components["stranger"]["properties"][0]["value"].startswith("not resolved")
    assert "properties" not in components["pure"]


def test_only_models_that_are_there_are_components(written: Callable[[], dict[str, Any]]) -> None:
    """With the manifest's digest."""
    (model,) = [one for one in written()["components"] if one["type"] == "machine-learning-model"]
    assert model["name"] == "here"
    assert model["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(b"model").hexdigest()}]


def test_dependencies_follow_the_extras_that_are_asked_for(written: Callable[[], dict[str, Any]]) -> None:
    """The product asks for native[fast]: that needs pure, and not the stranger of another extra."""
    edges = {one["ref"]: one.get("dependsOn", []) for one in written()["dependencies"]}
    assert edges["plateseal==2.0"] == ["model:here", "native==2.0"]
    assert edges["native==2.0"] == ["pure==2.0"]


def test_what_is_needed_on_the_target_and_missing_is_an_error(packages: Path) -> None:
    """A requirement that holds there and not here, which pip overlooks, by version of Python and by processor."""
    install(packages, "late", "Requires-Dist: gone; python_version >= '3.13'")
    install(packages, "arm", "Requires-Dist: gone; platform_machine == 'aarch64'")
    product = packages / "plateseal-2.0.dist-info/METADATA"
    product.write_text(product.read_text() + "Requires-Dist: late\nRequires-Dist: arm\n")
    bill(packages, purl=PURL, hashes={}, python="3.11", machine="x86_64")
    with pytest.raises(LookupError, match=r"late needs gone.*3\.13"):
        bill(packages, purl=PURL, hashes={}, python="3.13", machine="x86_64")
    with pytest.raises(LookupError, match=r"arm needs gone.*aarch64"):
        bill(packages, purl=PURL, hashes={}, python="3.11", machine="aarch64")
    assert "gone" not in bill(packages, purl=PURL, hashes={}, python="3.11", machine="aarch64", left_out={"gone"})


def test_the_serial_number_comes_from_the_content(packages: Path, written: Callable[[], dict[str, Any]]) -> None:
    """Another byte, another number."""
    before = written()["serialNumber"]
    (packages / "native.libs/libx-1.so.3").write_bytes(b"another")
    assert written()["serialNumber"] != before


@pytest.mark.needs("campaigns")
def test_the_real_closure_is_valid(tmp_path: Path) -> None:
    """The metadata of everything that is installed beside these tests, and the built-in models."""
    packages, root = tmp_path / "packages", Path(__file__).parents[3]
    for folder in Path(str(distribution("plateseal").locate_file(""))).glob("*.dist-info"):
        shutil.copytree(folder, packages / folder.name)
    shutil.copytree(root / "models", packages / "agent/vision/models", ignore=shutil.ignore_patterns("training"))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    text = bill(packages, purl=PURL, hashes={}, python=python, machine=platform.machine())
    assert is_valid(text)
    components = {one["name"]: one for one in json.loads(text)["components"]}
    assert {"cryptography", "opencv-python-headless", "fast-alpr", "plate-detector-384", "plate-reader"} <= set(
        components
    )
    assert "openssl" in {one["name"] for one in components["cryptography"]["components"]}


def test_hashes_are_taken_from_pips_report(tmp_path: Path) -> None:
    """Of what came from an archive; a folder has none."""
    entries = [
        {"metadata": {"name": "A.b"}, "download_info": {"archive_info": {"hashes": {"sha256": "ab"}}}},
        {"metadata": {"name": "c"}, "download_info": {"dir_info": {}}},
    ]
    (tmp_path / "report.json").write_text(json.dumps({"install": entries}))
    assert hashes_of(tmp_path / "report.json") == {"a-b": "ab"}

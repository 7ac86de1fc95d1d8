"""Writes a software bill of materials (CycloneDX 1.6, JSON) of installed packages: what is in a wheel's closure.

Owns: which facts go in. A component for each Python distribution that is installed in a folder, with the SHA-256 of the
wheel it came from where pip said so; inside it what its wheel says that it bundles (PEP 770), and each shared library
that lies beside it; a component for each built-in model, with the manifest's digest. Leaves to others: the format
(`cyclonedx-python-lib`).

The same input gives the same bytes: the time is the source's, the serial number comes from the content.

Usage: python -m deb.sbom --wheel build/deb/plateseal-*.whl [--out dist]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, UUID, uuid5

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.contrib.this.builders import this_component
from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License, LicenseAcknowledgement
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deb.source_date import ROOT, source_date

PRODUCT: Final = "plateseal"
MODELS: Final = Path("agent/vision/models")
BUNDLED: Final = "plateseal:bundled"
"""Property that says how far the inside of a component is known."""
UNRESOLVED: Final = "not resolved: the wheel does not say what is compiled into it"
PARTLY: Final = "as the wheel's own bill of materials says; what it leaves out is not resolved"
_NO_SERIAL: Final = UUID(int=0)

Hashes = Mapping[str, str]
"""SHA-256 of each wheel as hexadecimal digits, by canonical name of the distribution."""


def bill(
    packages: Path,
    *,
    purl: PackageURL,
    hashes: Hashes,
    python: str,
    machine: str,
    left_out: Collection[str] = (),
) -> str:
    """Return the bill of materials of the distributions in a folder, as JSON.

    Args:
        packages: A `site-packages` folder, plateseal among what is installed in it.
        purl: Of plateseal itself, as the wheel or as the Debian package.
        hashes: Of the wheels, as far as they are known.
        python: The version of Python it is for, as in "3.11"; some requirements hold for some versions only.
        machine: The kind of processor it is for, as in "aarch64"; likewise.
        left_out: Distributions, by canonical name, that some library asks for and that were taken out on purpose.

    Raises:
        LookupError: Something that plateseal needs there is not in the folder, and was not left out on purpose.
    """
    found = sorted(distributions(path=[str(packages)]), key=lambda one: canonicalize_name(one.name))
    bom = Bom(serial_number=_NO_SERIAL)
    bom.metadata.timestamp = datetime.fromtimestamp(source_date(), UTC)
    bom.metadata.tools.components.add(this_component())
    components = {str(canonicalize_name(one.name)): _component(one, packages, hashes) for one in found}
    root = components.pop(PRODUCT)
    root.type, root.purl = ComponentType.APPLICATION, purl
    bom.metadata.component = root
    models = list(_models(packages / MODELS))
    bom.components.update((*components.values(), *models))
    components[PRODUCT] = root
    for name, needed in _edges(found, python, machine, left_out).items():
        bom.register_dependency(components[name], [components[one] for one in needed])
    bom.register_dependency(root, models)
    digest = hashlib.sha256(_as_json(bom).encode()).hexdigest()
    bom.serial_number = uuid5(NAMESPACE_URL, f"urn:sha256:{digest}")
    return _as_json(bom) + "\n"


def hashes_of(report: Path) -> Hashes:
    """Return the wheels' hashes from a report of `pip install --report`."""
    entries = json.loads(report.read_text())["install"]
    return {
        canonicalize_name(entry["metadata"]["name"]): entry["download_info"]["archive_info"]["hashes"]["sha256"]
        for entry in entries
        if "sha256" in entry["download_info"].get("archive_info", {}).get("hashes", {})
    }


def _component(one: Distribution, packages: Path, hashes: Hashes) -> Component:
    name = canonicalize_name(one.name)
    ref = f"{name}=={one.version}"
    component = Component(
        type=ComponentType.LIBRARY,
        bom_ref=ref,
        name=one.name,
        version=one.version,
        description=next(iter(one.metadata.get_all("Summary") or ()), None),
        purl=PackageURL("pypi", None, name, one.version),
        licenses=_licences(one),
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashes[name])] if name in hashes else None,
    )
    component.components.update(_said_inside(one, ref))
    component.components.update(_libraries(packages / f"{one.name.replace('-', '_')}.libs", ref))
    if component.components or _has_compiled_code(one):
        says = any(inner.type is ComponentType.LIBRARY for inner in component.components)
        component.properties.add(Property(name=BUNDLED, value=PARTLY if says else UNRESOLVED))
    return component


def _licences(one: Distribution) -> list[License]:
    """Return what the distribution declares: its SPDX expression, else its field, else its classifiers."""
    said = {name: one.metadata.get_all(name) or [] for name in ("License-Expression", "License", "Classifier")}
    fields = [field for field in said["License"] if "\n" not in field]  # else it is the licence's whole text
    classified = [value.rpartition(" :: ")[2] for value in said["Classifier"] if value.startswith("License")]
    make = LicenseFactory().make_from_string
    declared = said["License-Expression"] or fields or classified
    return [make(one, license_acknowledgement=LicenseAcknowledgement.DECLARED) for one in declared]


def _said_inside(one: Distribution, ref: str) -> Iterator[Component]:
    """Yield what the distribution's own bills name (PEP 770), each once."""
    seen = set()
    for path in sorted(_metadata_folder(one).glob("sboms/*.json")):
        for entry in json.loads(path.read_text()).get("components", ()):
            key = (entry["name"], entry.get("version"), entry.get("purl"))
            if key in seen or canonicalize_name(entry["name"]) == canonicalize_name(one.name):
                continue
            seen.add(key)
            yield Component(
                type=ComponentType.LIBRARY,
                bom_ref=f"{ref}#{entry.get('purl') or entry['name']}",
                name=entry["name"],
                version=entry.get("version"),
                purl=PackageURL.from_string(entry["purl"]) if "purl" in entry else None,
                hashes=[HashType(alg=HashAlgorithm.SHA_256, content=one["content"]) for one in _sha256s(entry)],
            )


def _sha256s(entry: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    yield from (one for one in entry.get("hashes", ()) if one["alg"] == "SHA-256")


def _libraries(folder: Path, ref: str) -> Iterator[Component]:
    """Yield the shared libraries that a wheel brought along, as files: their names tell no version to rely on."""
    for path in sorted(folder.glob("*.so*")):
        yield Component(
            type=ComponentType.FILE,
            bom_ref=f"{ref}#{path.name}",
            name=path.name,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(path.read_bytes()).hexdigest())],
        )


def _has_compiled_code(one: Distribution) -> bool:
    return "Root-Is-Purelib: false" in (one.read_text("WHEEL") or "")


def _metadata_folder(one: Distribution) -> Path:
    """Return the distribution's `.dist-info` folder."""
    return Path(str(one.locate_file(""))) / f"{canonicalize_name(one.name).replace('-', '_')}-{one.version}.dist-info"


def _models(folder: Path) -> Iterator[Component]:
    """Yield the models of the manifest whose files are in the folder."""
    manifest = tomllib.loads((folder / "manifest.toml").read_text())
    for kind in ("detector", "reader"):
        for entry in manifest[kind]:
            if (folder / entry["file"]).is_file():
                yield Component(
                    type=ComponentType.MACHINE_LEARNING_MODEL,
                    bom_ref=f"model:{entry['name']}",
                    name=entry["name"],
                    description=f"{kind}: {entry['origin']}",
                    licenses=[LicenseFactory().make_from_string(entry["licence"])],
                    hashes=[HashType(alg=HashAlgorithm.SHA_256, content=entry["sha256"])],
                    properties=[Property(name="plateseal:file", value=entry["file"])],
                )


def _edges(found: Iterable[Distribution], python: str, machine: str, left_out: Collection[str]) -> dict[str, list[str]]:
    """Return which distributions each one needs, from plateseal on, with the extras that are asked for on the way.

    pip decides which requirements hold by the machine it runs on, whatever `--platform` says: so here it is checked.
    """
    known = {str(canonicalize_name(one.name)): one for one in found}
    target = {"python_version": python, "python_full_version": f"{python}.0", "platform_machine": machine}
    edges: dict[str, set[str]] = {}
    waiting = [(str(PRODUCT), "")]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        for requirement in map(Requirement, known[name].requires or ()):
            if requirement.marker is not None and not requirement.marker.evaluate({**target, "extra": extra}):
                continue
            needed = str(canonicalize_name(requirement.name))
            if needed in left_out:
                continue
            if needed not in known:
                raise LookupError(f"{name} needs {requirement} for Python {python} on {machine}: it is not there")
            edges.setdefault(name, set()).add(needed)
            more = {(needed, one) for one in ("", *requirement.extras)} - seen
            seen |= more
            waiting += more
    return {name: sorted(needed) for name, needed in edges.items()}


def _as_json(bom: Bom) -> str:
    return JsonV1Dot6(bom).output_as_string(indent=2)


def main() -> None:
    """Install a wheel with all it needs into a folder of its own, and write the bill of that closure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    wanted = parser.parse_args()
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    with tempfile.TemporaryDirectory() as scratch:
        packages, report = Path(scratch) / "packages", Path(scratch) / "report.json"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
        pip += ["--target", str(packages), "--report", str(report), "-c", str(ROOT / "constraints.txt")]
        subprocess.run([*pip, str(wanted.wheel)], check=True)  # noqa: S603  our own arguments
        version = next(one.version for one in distributions(path=[str(packages)]) if one.name == PRODUCT)
        purl, machine = PackageURL("pypi", None, PRODUCT, version), platform.machine()
        text = bill(packages, purl=purl, hashes=hashes_of(report), python=python, machine=machine)
    wanted.out.mkdir(parents=True, exist_ok=True)
    target = wanted.out / f"{wanted.wheel.stem}.cdx.json"
    target.write_text(text)
    print(target)  # noqa: T201  what it is for


if __name__ == "__main__":
    main()

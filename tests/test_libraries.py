"""What `pyproject.toml` asks for is what the code uses and what was tested."""

from __future__ import annotations

import ast
import importlib.metadata
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lowest import ROOT, lowest, requirements

EXTRAS = ("postgres", "s3", "train", "dev")
COMES_WITH = {
    "pydantic_core": "pydantic",  # which asks for exactly one version of it
    "fast_plate_ocr": "fast-alpr",  # its parts, with lower bounds of its own
    "open_image_models": "fast-alpr",
}
AGENT = sorted((ROOT / "agent").rglob("*.py"))


def pins() -> dict[str, str]:
    """Return the version of each library in `constraints.txt`."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def imported() -> set[str]:
    """Return the outermost names of everything that `agent` imports from outside."""
    names: set[str] = set()
    for path in AGENT:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"agent", "__future__"}


def test_every_library_that_the_agent_imports_is_asked_for() -> None:
    """One that comes only because another library needs it has no lower bound, and may stay away one day."""
    distributions = importlib.metadata.packages_distributions()
    asked_for = {canonicalize_name(wanted.name) for wanted in requirements("postgres", "s3")}
    used = imported()
    assert "cbor2" in used
    assert asked_for.issuperset(COMES_WITH.values())
    assert used.issuperset(COMES_WITH)
    missing = {name for name in used if asked_for.isdisjoint(map(canonicalize_name, distributions[name]))}
    assert missing == set(COMES_WITH)


@pytest.mark.parametrize("wanted", requirements(*EXTRAS), ids=lambda wanted: wanted.name)
def test_every_library_has_one_lower_bound_and_a_pin_that_it_allows(wanted: Requirement) -> None:
    """The lower bound is a whole version, which `.ci/wheel` installs; the pin is what the tests run with."""
    assert wanted.specifier.contains(lowest(wanted))
    assert wanted.specifier.contains(pins()[canonicalize_name(wanted.name)])


def test_the_lowest_versions_are_installed_and_tried() -> None:
    """`.ci/wheel` takes them from `pyproject.toml`, and `.ci/run` calls it."""
    assert "tests.lowest" in Path(ROOT / ".ci" / "wheel").read_text()
    assert ".ci/wheel" in Path(ROOT / ".ci" / "run").read_text()

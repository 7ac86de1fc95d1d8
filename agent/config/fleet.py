"""A fleet's files: layers that are merged into one configuration per camera unit.

```
DIR/fleet.toml             what holds for every unit
DIR/sites/SITE.toml        what holds at one site
DIR/cameras/CAMERA.toml    what holds for one unit; `site` names its site
```

The later layer wins, setting by setting; lists and arrays of tables are replaced as a whole. `camera_id` is the name
of the camera's file and need not stand in it.

Owns: the layers, where each value comes from, and what units of one fleet must not do together. Leaves to others: one
unit's settings (`check`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from agent.config.check import MISSING, Problem, check_table, key_of, on_any_machine
from agent.config.contradictions import DEVICES, camera_behind, is_live
from agent.config.document import Document, Place, Table, reach
from agent.config.models import UnitConfig
from agent.errors import ConfigError

FLEET_FILE: Final = "fleet.toml"
SITES: Final = "sites"
CAMERAS: Final = "cameras"
SUFFIX: Final = ".toml"
WHOLE_FILE: Final = "the file"
"""Stands in a problem's key where a file as a whole is meant."""
_ONLY_CAMERA: Final = ("camera_id", "site")
"""Settings that only a camera's file may have."""


@dataclass(frozen=True, slots=True)
class FleetUnit:
    """One camera unit of a fleet.

    Attributes:
        name: The unit's name, which is that of its file.
        site: The site it names, if it names one.
        layers: The files that make its configuration, the strongest last.
        table: The layers, merged into one table.
        config: The merged configuration, checked; None if anything in it is wrong.
        unread: Files that would be layers too, if they could be read.
    """

    name: str
    site: str | None
    layers: tuple[Document, ...] = field(repr=False)
    table: Table = field(repr=False)
    config: UnitConfig | None
    unread: frozenset[Path] = frozenset()

    def origin(self, place: Place) -> Document | None:
        """Return the file that a setting comes from; None for a default."""
        return next((layer for layer in reversed(self.layers) if reach(layer.table, place)[0] == len(place)), None)

    def locate(self, place: Place) -> tuple[Path, int | None]:
        """Return file and line of a setting, or of the section it is missing in."""
        for length in range(len(place), 0, -1):
            layer = self.origin(place[:length])
            if layer is not None:
                return layer.path, layer.line_of(place[:length])
        return self.layers[-1].path, None


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet as its files have it.

    Attributes:
        units: In order of their names.
        problems: Everything that is wrong, each once, in order of files and lines.
    """

    units: tuple[FleetUnit, ...]
    problems: tuple[Problem, ...]

    def unit(self, name: str) -> FleetUnit:
        """Return one unit.

        Raises:
            ConfigError: There is none of that name.
        """
        names = [unit.name for unit in self.units]
        if name not in names:
            raise ConfigError(f"{name}: no such camera in this fleet{_perhaps(name, names)}")
        return self.units[names.index(name)]


def load_fleet(directory: Path) -> Fleet:
    """Read a fleet's files and check all of them.

    Raises:
        ConfigError: There is no fleet in this directory, or it cannot be listed. Mistakes in its files are in
            `Fleet.problems`.
    """
    try:
        problems = _strangers(directory)
        paths = {folder: _files(directory / folder) for folder in (SITES, CAMERAS)}
    except OSError as error:
        raise ConfigError(f"{error.filename}: {error.strerror}") from None
    if not paths[CAMERAS]:
        raise ConfigError(f"{directory}: no fleet here: {directory / CAMERAS} with a NAME{SUFFIX} per camera is needed")
    fleet_path = directory / FLEET_FILE
    fleet = _loaded([fleet_path] if fleet_path.exists() else [], problems)
    sites = {document.path.stem: document for document in _loaded(paths[SITES], problems)}
    cameras = _loaded(paths[CAMERAS], problems)
    problems += _check_layers(fleet, sites)
    unread = {each.file for each in problems if each.key == WHOLE_FILE}
    units = [_unit(camera, fleet, sites, problems, unread) for camera in cameras]
    shared = _shared_cameras(units)
    problems += [problem for _, problem in shared]
    doubles = {name for name, _ in shared}
    units = [replace(unit, config=None) if unit.name in doubles else unit for unit in units]
    ordered = sorted(set(problems), key=lambda each: (str(each.file), each.line or 0, each.key, each.message))
    return Fleet(tuple(units), tuple(ordered))


def merge(below: Table, above: Table) -> Table:
    """Return `below` with everything that `above` says."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = merge(under, value) if isinstance(under, dict) and isinstance(value, dict) else value
    return merged


def _strangers(directory: Path) -> list[Problem]:
    """Name every file that would go unread, which is often one with a slip in its name."""
    found: list[Problem] = []
    known = (FLEET_FILE, SITES, CAMERAS)
    for path in sorted(directory.iterdir()):
        if path.name not in known and (path.suffix == SUFFIX or (path.is_dir() and any(path.glob(f"*{SUFFIX}")))):
            message = f"is not read{_perhaps(path.name, known)}; allowed are {FLEET_FILE}, {SITES}/ and {CAMERAS}/"
            found.append(Problem(path, None, WHOLE_FILE if path.is_file() else "the folder", message))
    for folder in (directory / SITES, directory / CAMERAS):
        found += [
            Problem(path, None, WHOLE_FILE, f"is not read; its name must end in {SUFFIX}")
            for path in (sorted(folder.iterdir()) if folder.is_dir() else [])
            if path.suffix != SUFFIX and not path.name.startswith((".", "README"))
        ]
    return found


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if not path.name.startswith("."))


def _loaded(paths: Iterable[Path], problems: list[Problem]) -> list[Document]:
    documents: list[Document] = []
    for path in paths:
        try:
            documents.append(Document.load(path))
        except ConfigError as error:
            problems.append(Problem(path, None, WHOLE_FILE, str(error).removeprefix(f"{path}: ")))
    return documents


def _check_layers(fleet: Sequence[Document], sites: dict[str, Document]) -> list[Problem]:
    """Check what stands in the lower layers, also where every camera overrides it."""
    found: list[Problem] = []
    for layers in [fleet, *([*fleet, site] for site in sites.values())]:
        if not layers:
            continue
        unit = _merged("", None, tuple(layers))
        _, problems = check_table(unit.table, unit.locate, on_any_machine)
        found += [problem for problem in problems if problem.message != MISSING]
        layer = layers[-1]
        for key in _ONLY_CAMERA:
            if key in layer.table and not (key == "site" and layer.table[key] == layer.path.stem):
                message = "belongs into the files of cameras"
                found.append(Problem(layer.path, layer.line_of((key,)), key, message))
    return found


def _unit(
    camera: Document,
    fleet: Sequence[Document],
    sites: dict[str, Document],
    problems: list[Problem],
    unread: set[Path],
) -> FleetUnit:
    name, site = camera.path.stem, camera.table.get("site")
    directory = camera.path.parents[1]
    missing = frozenset(unread & {directory / FLEET_FILE, directory / SITES / f"{site}{SUFFIX}"})
    layers = [*fleet, *([sites[site]] if isinstance(site, str) and site in sites else []), camera]
    unit = _merged(name, site if isinstance(site, str) else None, tuple(layers))
    own: list[Problem] = []
    if isinstance(site, str) and site not in sites and not missing:
        message = f"is {site!r}, and there is no {SITES}/{site}{SUFFIX}{_perhaps(site, sites)}"
        own.append(Problem(*unit.locate(("site",)), "site", message))
    if unit.table["camera_id"] != name:
        message = f"is {unit.table['camera_id']!r}, and the file is called {camera.path.name}; they must be the same"
        own.append(Problem(camera.path, camera.line_of(("camera_id",)), "camera_id", message))
    config, found = check_table(unit.table, unit.locate, on_any_machine)
    own += [each for each in found if each.message != MISSING or not missing]  # it may stand in what is unread
    problems += own
    return replace(unit, config=None if own or missing else config, unread=missing)


def _merged(name: str, site: str | None, layers: tuple[Document, ...]) -> FleetUnit:
    table: Table = {"camera_id": name} if name else {}
    for layer in layers:
        above = layer.table if layer is layers[-1] else {k: v for k, v in layer.table.items() if k not in _ONLY_CAMERA}
        table = merge(table, above)
    return FleetUnit(name, site, layers, table, None)


def _shared_cameras(units: Sequence[FleetUnit]) -> list[tuple[str, Problem]]:
    """Name cameras of two units that have one name or one source, each with the name of the later unit.

    Devices and pipelines are each machine's own.
    """
    found: list[tuple[str, Problem]] = []
    names = {unit.name: unit.name for unit in units}
    sources: dict[str, str] = {}
    for unit in units:
        for index, camera in enumerate(unit.config.cameras if unit.config else ()):
            at: Place = () if index == 0 else ("camera", index - 1)
            if names.setdefault(camera.camera_id, unit.name) != unit.name:
                place = (*at, "camera_id")
                message = f"is {camera.camera_id!r}, the name of a camera of {names[camera.camera_id]} too"
                found.append((unit.name, Problem(*unit.locate(place), key_of(place), message)))
            uri = camera.source.uri
            if not is_live(uri) or "://" not in uri or uri.startswith((*DEVICES, "gst:")):
                continue
            behind = camera_behind(uri)
            if behind in sources:
                place = (*at, "source", "uri")
                message = f"is the source of {sources[behind]} too; one camera cannot be two"
                found.append((unit.name, Problem(*unit.locate(place), key_of(place), message)))
            sources.setdefault(behind, camera.camera_id)
    return found


def _perhaps(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""

"""The model manifest: which models there are, what they are, and where their files lie.

Owns: the manifest's form, finding it (repository, wheel or a folder of one's own), choosing a model, and checking a
file against its published digest. Leaves to others: loading (`detector`, `reader`) and downloading (`fetch`).

Invariant: bytes that leave `ModelLibrary.load` have the digest that the manifest names.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.config.models import Name, Share
from agent.errors import ModelError, ModelMismatchError, ModelMissingError
from agent.wire.plaintext import MAX_TEXT_CHARS

MANIFEST_NAME: Final = "manifest.toml"
MAX_MANIFEST_BYTES: Final = 1 << 20
"""A manifest of a thousand models is smaller."""
MAX_MODEL_BYTES: Final = 256 << 20
"""Largest model file: 256 MiB, nine times the largest public one; a Pi with 1 GB of memory still holds it."""
MIN_TEMPERATURE: Final = 0.2
MAX_TEMPERATURE: Final = 5.0
"""Beyond these every confidence is nearly 1, or nearly the same."""
MAX_MANIFEST_FAULTS: Final = 3
"""So many faults of a manifest are shown; the rest are counted."""

FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=128)]
"""A bare file name: no folder, not hidden."""
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
HttpsUrl = Annotated[str, Field(pattern=r"^https://[^\s@]+$", max_length=1024)]
InputWh = Annotated[
    tuple[Annotated[int, Field(ge=8, le=4096)], Annotated[int, Field(ge=8, le=4096)]], Field(strict=False)
]
Note = Annotated[str, Field(min_length=1, max_length=300)]


class ModelFile(BaseModel):
    """One file of a model: where it may be had, and what it must be.

    Attributes:
        file: Its name in a folder of models.
        sha256: Lower-case hex.
        size_bytes: Its length, if published; `bytes` in the manifest.
        url: Where `models fetch` gets it; None for a file that is not published.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    file: FileName
    sha256: Digest
    size_bytes: int | None = Field(default=None, alias="bytes", ge=1, le=MAX_MODEL_BYTES)
    url: HttpsUrl | None = None


class ModelEntry(ModelFile):
    """What every model says of itself.

    Attributes:
        name: What commands call it.
        input_wh: Width and height that the model takes, pixels.
        licence: SPDX name.
        origin: Who made it from what: a URL or a sentence.
        built_in: Whether its files come with plateseal, beside the manifest.
    """

    name: Name
    input_wh: InputWh
    licence: Note
    origin: Note
    built_in: bool = False

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Every file that the model needs."""
        return (self,)


class DetectorEntry(ModelEntry):
    """A detector of the open-image-models end-to-end contract.

    Attributes:
        colour: Colour order of the input.
        confidence: Boxes below this are ignored, unless the configuration says otherwise.
    """

    colour: Literal["rgb"]
    confidence: Share


class ReaderEntry(ModelEntry):
    """A reader of the fast-plate-ocr contract.

    Attributes:
        colour: Colour order of the input.
        alphabet: Every character that a slot can hold, the padding included.
        slots: Characters that it can read at most.
        temperature: What its confidences are cooled by: each becomes its 1/temperature-th power, then those of a slot
            are made to sum to 1 again. Above 1 they become less sure. Fitted so that of many texts with a confidence of
            0.8 about 80 % are right; the texts stay as they are.
        config: Its YAML file.
    """

    colour: Literal["rgb", "grayscale"]
    alphabet: str = Field(min_length=2, max_length=256)
    slots: int = Field(ge=1, le=MAX_TEXT_CHARS)
    temperature: float = Field(default=1.0, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE, strict=False)
    config: ModelFile

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The model and its YAML."""
        return self, self.config


Entry = TypeVar("Entry", DetectorEntry, ReaderEntry)
AnyEntry: TypeAlias = DetectorEntry | ReaderEntry


class Manifest(BaseModel):
    """Models in order of preference.

    Attributes:
        detector, reader: The first whose files are there is used, unless one is named.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    detector: Annotated[tuple[DetectorEntry, ...], Field(strict=False)] = ()
    reader: Annotated[tuple[ReaderEntry, ...], Field(strict=False)] = ()

    @property
    def entries(self) -> tuple[AnyEntry, ...]:
        """Detectors, then readers."""
        return *self.detector, *self.reader

    @model_validator(mode="after")
    def _distinct(self) -> Manifest:
        names = [entry.name for entry in self.entries]
        if len(set(names)) < len(names):
            raise ValueError("two models have the same name")
        published: dict[str, str] = {}
        for file in (file for entry in self.entries for file in entry.files):
            if published.setdefault(file.file, file.sha256) != file.sha256:
                raise ValueError(f"{file.file} is given two digests")
        return self


@dataclass(frozen=True, slots=True)
class CheckedModel:
    """The bytes of a model whose digests hold.

    Attributes:
        name: The model's name.
        onnx: The model file.
        config: Its YAML; empty for a detector.
        digest: SHA-256 of `onnx`, 32 bytes.
    """

    name: str
    onnx: bytes = field(repr=False)
    config: bytes = field(repr=False)
    digest: bytes


@dataclass(frozen=True, slots=True)
class ModelLibrary:
    """A manifest and the folders in which its files are looked for, first to last."""

    manifest: Manifest
    folders: tuple[Path, ...]

    def detector(self, name: str | None = None) -> DetectorEntry:
        """Return the named detector, or the manifest's first that is there.

        Raises:
            ModelMissingError: No detector of that name, or none is there.
        """
        return self._choose(self.manifest.detector, name, kind="detector")

    def reader(self, name: str | None = None) -> ReaderEntry:
        """Return the named reader, or the manifest's first that is there.

        Raises:
            ModelMissingError: No reader of that name, or none is there.
        """
        return self._choose(self.manifest.reader, name, kind="reader")

    def entry(self, name: str) -> AnyEntry:
        """Return the model of that name.

        Raises:
            ModelMissingError: There is none.
        """
        for entry in self.manifest.entries:
            if entry.name == name:
                return entry
        raise ModelMissingError(f"no model is called {name!r:.80}; there are {_names(self.manifest.entries)}")

    def locate(self, file: ModelFile) -> Path | None:
        """Return where a file lies, unchecked; None if it is in no folder."""
        return next((path for folder in self.folders if (path := folder / file.file).is_file()), None)

    def is_present(self, entry: AnyEntry) -> bool:
        """Tell whether every file of a model is there, unchecked."""
        return all(self.locate(file) is not None for file in entry.files)

    def load(self, entry: AnyEntry) -> CheckedModel:
        """Read a model's files and check them.

        Raises:
            ModelMissingError: A file is not there.
            ModelMismatchError: A file has another size or digest than the manifest names.
        """
        onnx = self._checked(entry, entry)
        config = self._checked(entry, entry.config) if isinstance(entry, ReaderEntry) else b""
        return CheckedModel(name=entry.name, onnx=onnx, config=config, digest=bytes.fromhex(entry.sha256))

    def _checked(self, entry: AnyEntry, file: ModelFile) -> bytes:
        path = self.locate(file)
        if path is None:
            raise ModelMissingError(f"model {entry.name}: {file.file} is not in {_places(self.folders)}; {_how(entry)}")
        try:
            with path.open("rb") as stream:
                content = stream.read(MAX_MODEL_BYTES + 1)
        except OSError as error:
            raise ModelError(f"model {entry.name}: {path} cannot be read: {error.strerror}") from error
        check_file(file, content, where=f"model {entry.name}: {path}")
        return content

    def _choose(self, entries: Sequence[Entry], name: str | None, *, kind: str) -> Entry:
        if name is not None:
            for entry in entries:
                if entry.name == name:
                    return entry
            raise ModelMissingError(f"no {kind} is called {name!r:.80}; there are {_names(entries)}")
        for entry in entries:
            if self.is_present(entry):
                return entry
        fetchable = next((entry for entry in entries if is_fetchable(entry)), None)
        remedy = _how(fetchable) if fetchable is not None else "name a folder with --models DIR"
        raise ModelMissingError(f"no {kind} model in {_places(self.folders)}; {remedy}")


def open_library(models: Path | None = None) -> ModelLibrary:
    """Find the manifest and the folders of model files.

    Args:
        models: A folder of models; its own manifest is used where it has one, and files are looked for only there.
            None: the built-in manifest's folder, then the folder that `models fetch` fills.

    Raises:
        ModelMissingError: The folder is not there.
        ModelError: The manifest is wrong.
    """
    if models is None:
        built_in = built_in_manifest()
        return ModelLibrary(load_manifest(built_in), (built_in.parent, user_models_dir()))
    if not models.is_dir():
        raise ModelMissingError(f"{models}: no such folder of models")
    own = models / MANIFEST_NAME
    return ModelLibrary(load_manifest(own if own.exists() else built_in_manifest()), (models,))


def load_manifest(path: Path) -> Manifest:
    """Read a manifest.

    Raises:
        ModelMissingError: The file is not there.
        ModelError: It is unreadable, no TOML, or says something that is not allowed.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
    except FileNotFoundError as error:
        raise ModelMissingError(f"{path}: no such manifest") from error
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_MANIFEST_BYTES:
        raise ModelError(f"{path}: larger than {MAX_MANIFEST_BYTES} bytes, the most that a manifest may have")
    try:
        return Manifest.model_validate(tomllib.loads(content.decode()))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: not TOML: {error}") from error
    except ValidationError as error:
        raise ModelError(f"{path}: {_faults(error)}") from error


def built_in_manifest() -> Path:
    """Return the manifest that comes with plateseal: inside the installed package, else in the repository.

    Raises:
        ModelMissingError: This installation has lost it.
    """
    here = Path(__file__).resolve()
    candidates = (here.parent / "models" / MANIFEST_NAME, here.parents[2] / "models" / MANIFEST_NAME)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise ModelMissingError("the built-in model manifest is missing; install plateseal again")


def user_models_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that `models fetch` fills: in `$XDG_DATA_HOME`, else in `~/.local/share`."""
    data_home = environment.get("XDG_DATA_HOME", "")
    # The XDG specification says to ignore a relative path.
    base = Path(data_home) if Path(data_home).is_absolute() else Path.home() / ".local" / "share"
    return base / "plateseal" / "models"


def check_file(file: ModelFile, content: bytes, *, where: str) -> None:
    """Check the bytes of one file against the manifest.

    Args:
        file: What they must be.
        content: The whole file.
        where: The model and path, for the message.

    Raises:
        ModelMismatchError: Another size or digest.
    """
    if file.size_bytes is not None and len(content) != file.size_bytes:
        raise ModelMismatchError(
            f"{where} has {len(content)} bytes, the manifest names {file.size_bytes}; get it again"
        )
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ModelMismatchError(
            f"{where} has SHA-256 {found[:12]}.. ({len(content)} bytes), the manifest names {file.sha256[:12]}..; "
            "get it again"
        )


def is_fetchable(entry: AnyEntry) -> bool:
    """Tell whether `models fetch` can get every file of a model."""
    return all(file.url is not None for file in entry.files)


def _how(entry: AnyEntry) -> str:
    if is_fetchable(entry):
        return f"get it with `plateseal models fetch {entry.name}` or name its folder with --models DIR"
    if entry.built_in:
        return "it comes with plateseal; install plateseal again, or name its folder with --models DIR"
    return "it is not published; name its folder with --models DIR"


def _names(entries: Sequence[AnyEntry]) -> str:
    return ", ".join(entry.name for entry in entries) or "none"


def _places(folders: Sequence[Path]) -> str:
    return " or ".join(str(folder) for folder in folders)


def _faults(error: ValidationError) -> str:
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{'.'.join(str(part) for part in fault['loc']) or 'manifest'}: {fault['msg']}" for fault in faults]
    more = len(shown) - MAX_MANIFEST_FAULTS
    return "; ".join(shown[:MAX_MANIFEST_FAULTS]) + (f"; and {more} more" if more > 0 else "")

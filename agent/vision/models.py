"""The models of one process: chosen, checked, loaded once and shared by every camera.

Owns: which detector suits a frame's shape, and what is said about how the models run. Leaves to others: the files
(`agent.vision.manifest`) and the work (`agent.vision.pipeline`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from agent.config.models import VisionConfig
from agent.config.plate_formats import all_formats, choose_formats
from agent.errors import InferenceError, ModelError
from agent.records import Detection, Image
from agent.vision.detector import OnnxDetector
from agent.vision.manifest import DetectorEntry, ModelLibrary, ReaderEntry, open_library
from agent.vision.pipeline import FAINT_SHARE, PlatePipeline
from agent.vision.reader import OnnxReader
from agent.vision.regions import Regions
from agent.vision.session import choose_providers
from agent.vision.settings import PipelineSettings
from agent.vision.settling import Settler
from agent.vision.textfilter import TextFilter
from agent.vision.trial import int8_of, is_better
from agent.vision.watching import Watcher

SCALE_SLACK: Final = 0.01
"""A detector that shows a frame smaller by this share still shows it as large: inputs are multiples of 32 pixels."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Execution:
    """How one model runs.

    Attributes:
        model: Its name in the manifest.
        providers: The execution providers that onnxruntime uses for it, best first.
        threads: Threads inside one inference.
    """

    model: str
    providers: tuple[str, ...]
    threads: int

    def __str__(self) -> str:
        """Return one line for a log."""
        names = ", ".join(name.removesuffix("ExecutionProvider") for name in self.providers)
        return f"{self.model} runs on {names}, {self.threads} thread{'s' if self.threads > 1 else ''} an inference"


class Models:
    """Everything that was loaded. Its methods may be called from several threads."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._loaded: dict[_LoadedKey, _LoadedModels] = {}
        self._lock = threading.Lock()

    def pipeline(self, config: VisionConfig, *, watcher: Watcher | None = None) -> PlatePipeline:
        """Build the pipeline of one camera on models that are loaded already where another camera uses them.

        Args:
            config: Which models, and all settings.
            watcher: Is told what the pipeline does.

        Raises:
            ModelMissingError: A model or its file is not there.
            ModelMismatchError: A file is not the one that the manifest names, or has another contract.
            ModelError: The manifest is wrong, or a provider is not installed.
            ConfigError: The user's own formats of plates are wrong, or there are none of a configured country.
        """
        loaded = self._loaded_models(config)
        entries = loaded.detectors(config.detector)
        confidence = entries[0].confidence if config.detector_confidence is None else config.detector_confidence
        settings = PipelineSettings(
            detector_confidence=confidence,
            reader_confidence=config.reader_confidence,
            min_votes=config.min_votes,
            text_filter=TextFilter(config.text),
            settler=_settler(config),
            regions=Regions(config.mask, config.lane),
            has_gate=config.gate,
            detect_every_s=config.detect_every_s,
            detect_moving_part=config.detect_moving_part,
            early_read=config.early_read,
        )
        detector = CameraDetector(loaded, entries, confidence=confidence * FAINT_SHARE)
        reader = loaded.reader(loaded.folder.reader(config.reader))
        return PlatePipeline(detector, reader, settings, watcher=watcher)

    def _loaded_models(self, config: VisionConfig) -> _LoadedModels:
        key = config.models, config.providers, config.threads
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = _LoadedModels(open_library(config.models), config.providers, config.threads)
            return self._loaded[key]


def _settler(config: VisionConfig) -> Settler:
    return Settler(choose_formats(config.plates, all_formats(config.plate_formats)) if config.plates else ())


def load_models(config: VisionConfig) -> Models:
    """Load the models of one camera; further cameras' pipelines are then cheap.

    Raises:
        ModelError: As `Models.pipeline`.
    """
    models = Models()
    models.pipeline(config)
    return models


def build_vision(config: VisionConfig, *, watcher: Watcher | None = None) -> PlatePipeline:
    """Load the configured models, each checked against the manifest, and build the pipeline of an only camera.

    Raises:
        ModelError: As `Models.pipeline`.
    """
    return Models().pipeline(config, watcher=watcher)


class CameraDetector:
    """`Detector` for the frames of one camera, on detectors that it shares with others.

    It uses the one that suits the frames' shape, or its int8 file, if a trial was for that.
    """

    def __init__(self, loaded: _LoadedModels, entries: Sequence[DetectorEntry], *, confidence: float) -> None:
        """Take the detectors, the preferred one first; boxes below `confidence`, 0..1, are left out."""
        self._loaded = loaded
        self._entries = entries
        self._confidence = confidence
        self._entry = entries[0]
        self._shape: tuple[int, ...] = ()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the file of the detector whose boxes these are, 32 bytes; before any, of the preferred one."""
        return bytes.fromhex(self._entry.sha256)

    def detect(self, image: Image) -> list[Detection]:
        """Find plates; see `agent.ports.Detector`."""
        if image.shape != self._shape:
            fitting = best_shape(self._entries, width=image.shape[1], height=image.shape[0])
            self._entry = self._loaded.faster(fitting, self._entries)
            self._shape = image.shape
        boxes = self._loaded.detector(self._entry).detect(image)
        return [box for box in boxes if box.confidence >= self._confidence]


def best_shape(entries: Sequence[DetectorEntry], *, width: int, height: int) -> DetectorEntry:
    """Return the detector with the least work of those that show a frame as large as the first does.

    Args:
        entries: Detectors that differ in their shape alone, the preferred one first.
        width: Of the frame, pixels.
        height: Of the frame, pixels.
    """

    def scale(entry: DetectorEntry) -> float:
        return min(entry.input_wh[0] / width, entry.input_wh[1] / height)

    least = scale(entries[0]) * (1.0 - SCALE_SLACK)
    fitting = (entry for entry in entries if scale(entry) >= least)
    return min(fitting, key=lambda entry: entry.input_wh[0] * entry.input_wh[1])


class _LoadedModels:
    """The loaded models of one folder that run in one way."""

    def __init__(self, folder: ModelLibrary, providers: str | tuple[str, ...], threads: int) -> None:
        self.folder = folder
        self._threads = threads
        self._providers = choose_providers(providers, threads=threads)
        self._detectors: dict[str, OnnxDetector] = {}
        self._readers: dict[str, OnnxReader] = {}
        self._faster: dict[str, DetectorEntry] = {}
        self._lock = threading.Lock()

    def detectors(self, name: str | None) -> list[DetectorEntry]:
        """Return the named detector; without a name the preferred one and its other shapes, each file checked."""
        preferred = self.folder.detector(name)
        entries = [preferred]
        if name is None:
            entries += [
                entry
                for entry in self.folder.manifest.detector
                if entry is not preferred and entry.origin == preferred.origin and self.folder.is_present(entry)
            ]
        if len(entries) == 1:
            self.detector(preferred)  # a unit must not fail when the first vehicle comes
        else:
            for entry in entries:
                self.folder.load(entry)
        return entries

    def detector(self, entry: DetectorEntry) -> OnnxDetector:
        """Return a detector, loaded when it is first asked for: a camera needs one shape of several."""
        with self._lock:
            if entry.name not in self._detectors:
                self._keep(entry, self._open(entry))
            return self._detectors[entry.name]

    def faster(self, entry: DetectorEntry, entries: Sequence[DetectorEntry]) -> DetectorEntry:
        """Return a detector's int8 file if it is among the entries and a trial, held once, is for it; else itself."""
        small = int8_of(entry, entries)
        if small is None:
            return entry
        with self._lock:
            if entry.name not in self._faster:
                self._faster[entry.name] = self._tried(entry, small)
            return self._faster[entry.name]

    def _tried(self, entry: DetectorEntry, small: DetectorEntry) -> DetectorEntry:
        """Hold the trial; of the two, what it was for stays loaded."""
        best, loaded = entry, self._open(entry)
        try:
            rival = self._open(small)
            if is_better(loaded, rival, confidence=entry.confidence):
                best, loaded = small, rival
        except (ModelError, InferenceError) as error:
            _log.debug("%s is not used: %s", small.name, error)
        self._keep(best, loaded)
        return best

    def _keep(self, entry: DetectorEntry, loaded: OnnxDetector) -> None:
        self._detectors[entry.name] = loaded
        _log.info("%s", Execution(entry.name, loaded.providers, self._threads))

    def _open(self, entry: DetectorEntry) -> OnnxDetector:
        return OnnxDetector(
            self.folder.load(entry),
            input_wh=entry.input_wh,
            confidence=0.0,
            threads=self._threads,
            providers=self._providers,
        )

    def reader(self, entry: ReaderEntry) -> OnnxReader:
        with self._lock:
            if entry.name not in self._readers:
                loaded = OnnxReader(self.folder.load(entry), entry, threads=self._threads, providers=self._providers)
                self._readers[entry.name] = loaded
                _log.info("%s", Execution(entry.name, loaded.providers, self._threads))
            return self._readers[entry.name]


_LoadedKey: TypeAlias = tuple[Path | None, str | tuple[str, ...], int]

"""`Reader` on any fast-plate-ocr model with its YAML, loaded through that library's own class.

Owns: the contract's checks, colour order, batches, confidences without padding, their temperature, and how likely
look-alikes are. The library's own `run` tells the likeliest character of each slot alone, so its outputs are read here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
from fast_plate_ocr import LicensePlateRecognizer
from fast_plate_ocr.core.process import resize_image

from agent.errors import InferenceError, ModelMismatchError
from agent.records import Image, PlateText
from agent.vision.manifest import CheckedModel, ReaderEntry
from agent.vision.session import CPU_PROVIDERS, DEFAULT_THREADS, Providers, as_path, first_line, hush, session_options
from agent.vision.settling import look_alikes

MAX_BATCH: Final = 4
"""Crops in one inference. More at once are no faster, and each takes a megabyte or more while the model is loaded."""
SHARE_SLACK: Final = 1e-3
"""How far outside 0..1 a softmax in float32 (or a quantised one) may fall before it is taken for something else."""

hush("fast_plate_ocr.inference.plate_recognizer")


class OnnxReader:
    """Reads the text in plate crops."""

    def __init__(
        self,
        model: CheckedModel,
        entry: ReaderEntry,
        *,
        threads: int = DEFAULT_THREADS,
        providers: Providers = CPU_PROVIDERS,
    ) -> None:
        """Load a model and check its contract.

        Args:
            model: Bytes that were checked against the manifest.
            entry: What the manifest says of it.
            threads: Threads inside one inference.
            providers: onnxruntime's execution providers, best first.

        Raises:
            ModelMismatchError: It cannot be loaded, or has another contract; the fault is named.
        """
        self._name = model.name
        self._digest = model.digest
        self._library = _load(model, threads, providers)
        self._pad = self._library.config.pad_char
        self._alphabet: str = self._library.config.alphabet
        self._place = {char: place for place, char in enumerate(self._alphabet)}
        _check_config(self._library.config, entry)
        self._batch = _check_contract(self._library, entry)
        self._power = 1.0 / entry.temperature
        self._grey = entry.colour == "grayscale"
        self._probe(entry)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the model file, 32 bytes."""
        return self._digest

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that onnxruntime really uses, best first."""
        return tuple(self._library.model.get_providers())

    def read(self, crops: Sequence[Image]) -> list[PlateText]:
        """Read crops.

        Args:
            crops: uint8, shape (h, w, 3), BGR, each at least 1x1.

        Returns:
            One text per crop, in order; its confidences are those of its own characters, padding left out, and so
            are its look-alikes.

        Raises:
            InferenceError: The model failed or left its contract.
        """
        texts: list[PlateText] = []
        for start in range(0, len(crops), self._batch):
            texts += self._read_batch(crops[start : start + self._batch])
        return texts

    def _read_batch(self, crops: Sequence[Image]) -> list[PlateText]:
        try:
            shares, regions = self._run(crops)
        except Exception as error:
            # onnxruntime's exceptions share no base class of their own.
            raise InferenceError(f"reader {self._name}: inference failed: {first_line(error)}") from error
        if len(shares) != len(crops):
            raise InferenceError(f"reader {self._name}: {len(shares)} texts for {len(crops)} crops")
        return [self._text(*one) for one in zip(shares, regions, strict=True)]

    def _run(self, crops: Sequence[Image]) -> tuple[npt.NDArray[np.float64], list[str | None]]:
        """Return a share for each crop, slot and character of the alphabet, and the region of each crop."""
        library, config = self._library, self._library.config
        code = cv2.COLOR_BGR2GRAY if self._grey else cv2.COLOR_BGR2RGB
        pictures = [
            resize_image(
                cv2.cvtColor(crop, code),
                config.img_height,
                config.img_width,
                image_color_mode=config.image_color_mode,
                keep_aspect_ratio=config.keep_aspect_ratio,
                interpolation_method=config.interpolation,
                padding_color=config.padding_color,
            )
            for crop in crops
        ]
        names = [library.plate_output_name, *([library.region_output_name] if library.has_region_head else [])]
        outputs = library.model.run(names, {"input": np.stack(pictures, dtype=np.uint8)})
        shares = np.asarray(outputs[0], np.float64).reshape(-1, config.max_plate_slots, len(config.alphabet))
        if not library.has_region_head:
            return shares, [None] * len(shares)
        return shares, [config.plate_regions[number] for number in np.argmax(outputs[1], axis=-1)]

    def _text(self, shares: npt.NDArray[np.float64], region: str | None) -> PlateText:
        """Return what one crop's shares say; shape (slots, characters of the alphabet)."""
        if not np.isfinite(shares).all() or (shares < -SHARE_SLACK).any() or (shares > 1.0 + SHARE_SLACK).any():
            raise InferenceError(f"reader {self._name}: returned a confidence outside 0..1")
        shares = _tempered(np.clip(shares, 0.0, 1.0), self._power)
        text, confidences, likes = "", list[float](), list[dict[str, float]]()
        for slot, best in zip(shares, np.argmax(shares, axis=-1), strict=True):
            char = self._alphabet[best]
            if char != self._pad:
                text += char
                confidences.append(float(slot[best]))
                known = [each for each in look_alikes(char) if each in self._place]
                likes.append({each: float(slot[self._place[each]]) for each in known})
        return PlateText(text, tuple(confidences), region, tuple(likes))

    def _probe(self, entry: ReaderEntry) -> None:
        width, height = entry.input_wh
        try:
            self.read([np.full((height, width, 3), 114, np.uint8)])
        except InferenceError as error:
            raise ModelMismatchError(f"{error} (on an empty picture, at load)") from error


def _tempered(shares: npt.NDArray[np.float64], power: float) -> npt.NDArray[np.float64]:
    """Return shares raised to a power, those of each slot made to sum to 1 again; the largest stays the largest."""
    if power == 1.0:
        return shares
    raised = shares**power
    return np.asarray(raised / np.maximum(raised.sum(axis=-1, keepdims=True), np.finfo(np.float64).tiny))


def _load(model: CheckedModel, threads: int, providers: Providers) -> Any:  # noqa: ANN401
    with as_path(model.onnx) as onnx, as_path(model.config) as config:
        try:
            return LicensePlateRecognizer(
                onnx_model_path=onnx,
                plate_config_path=config,
                providers=list(providers),
                sess_options=session_options(threads, providers),
            )
        except Exception as error:
            # Whatever the library, YAML and onnxruntime raise on a foreign file, it means one thing here.
            raise ModelMismatchError(f"reader {model.name}: cannot be loaded: {first_line(error)}") from error


def _check_config(config: Any, entry: ReaderEntry) -> None:  # noqa: ANN401
    pairs = (
        ("alphabet", config.alphabet, entry.alphabet),
        ("slots", config.max_plate_slots, entry.slots),
        ("colour", config.image_color_mode, entry.colour),
        ("input", (config.img_width, config.img_height), entry.input_wh),
    )
    for name, got, wanted in pairs:
        if got != wanted:
            raise ModelMismatchError(
                f"reader {entry.name}: {name} is {got!r:.60} in its YAML, {wanted!r} in the manifest"
            )
    if not isinstance(config.pad_char, str) or config.pad_char not in config.alphabet:
        raise ModelMismatchError(f"reader {entry.name}: the padding character is not in the alphabet")
    for region in config.plate_regions or ():
        if not isinstance(region, str):
            raise ModelMismatchError(f"reader {entry.name}: a region in its YAML is not a name")


def _check_contract(library: Any, entry: ReaderEntry) -> int:  # noqa: ANN401
    """Return how many crops one inference takes."""
    inputs = library.model.get_inputs()
    width, height = entry.input_wh
    wanted = [height, width, 1 if entry.colour == "grayscale" else 3]
    shape = list(inputs[0].shape) if len(inputs) == 1 else []
    if len(inputs) != 1 or inputs[0].name != "input" or inputs[0].type != "tensor(uint8)" or shape[1:] != wanted:
        got = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs)
        raise ModelMismatchError(
            f"reader {entry.name}: takes {got}, the contract is input tensor(uint8) [n, {str(wanted)[1:]}"
        )
    if isinstance(shape[0], int) and shape[0] != 1:
        raise ModelMismatchError(
            f"reader {entry.name}: takes {shape[0]} crops at once, the contract is 1 or any number"
        )
    output = next(one for one in library.model.get_outputs() if one.name == library.plate_output_name)
    classes = [entry.slots, len(entry.alphabet)]
    stated = list(output.shape[1:])
    # A size that the model leaves open is found out by the probe.
    if all(isinstance(size, int) for size in stated) and stated not in (classes, [classes[0] * classes[1]]):
        raise ModelMismatchError(f"reader {entry.name}: returns {output.shape}, the contract is [n, {str(classes)[1:]}")
    return 1 if isinstance(shape[0], int) else MAX_BATCH

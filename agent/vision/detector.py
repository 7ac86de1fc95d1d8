"""`Detector` on any model of the open-image-models end-to-end contract.

Owns: the contract's checks at load and at every run, the picture that goes in, and the boxes that come out. Both are
the library's, number for number (a test compares them), but not its code: that turns every picture into 64-bit numbers
first, which cost a tenth of a detection, takes square inputs only, and swallows a failed inference.

Invariant: no state changes after `__init__`, so that several cameras may share a detector.
"""

from __future__ import annotations

from typing import Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from agent.errors import InferenceError, ModelMismatchError
from agent.records import Detection, Image
from agent.vision.manifest import CheckedModel
from agent.vision.session import CPU_PROVIDERS, DEFAULT_THREADS, Providers, as_path, first_line, session_options

ROW_FIELDS: Final = 7
"""[batch, x1, y1, x2, y2, class, score]."""
PADDING_GREY: Final = 114
"""Grey level around the letterboxed picture, which the models were trained with."""

FloatArray = npt.NDArray[np.float32]


class OnnxDetector:
    """Finds plates in frames of any size."""

    def __init__(
        self,
        model: CheckedModel,
        *,
        input_wh: tuple[int, int],
        confidence: float,
        threads: int = DEFAULT_THREADS,
        providers: Providers = CPU_PROVIDERS,
    ) -> None:
        """Load a model and check its contract.

        Args:
            model: Bytes that were checked against the manifest.
            input_wh: Width and height that it must take, pixels.
            confidence: Boxes below are ignored, 0..1.
            threads: Threads inside one inference.
            providers: onnxruntime's execution providers, best first.

        Raises:
            ModelMismatchError: It cannot be loaded, or has another contract; the fault is named.
        """
        self._name = model.name
        self._digest = model.digest
        self._input_wh = input_wh
        self._confidence = confidence
        self._session = _load(model, threads, providers)
        _check_contract(self._session, model.name, input_wh)
        self._input = self._session.get_inputs()[0].name
        self._output = self._session.get_outputs()[0].name
        self._probe()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the model file, 32 bytes."""
        return self._digest

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers that onnxruntime really uses, best first."""
        return tuple(self._session.get_providers())

    def detect(self, image: Image) -> list[Detection]:
        """Find plates.

        Args:
            image: uint8, shape (H, W, 3), BGR.

        Returns:
            Boxes clipped to the frame, highest confidence first; a box that is empty or outside is left out.

        Raises:
            InferenceError: The model failed or left its contract.
        """
        height, width = image.shape[:2]
        scale = min(self._input_wh[0] / width, self._input_wh[1] / height)
        inner_wh = round(width * scale), round(height * scale)
        if min(inner_wh) < 1:
            return []  # so thin that nothing is left of it at the model's size
        padding = (self._input_wh[0] - inner_wh[0]) / 2, (self._input_wh[1] - inner_wh[1]) / 2
        rows = self._run(_letterbox(image, inner_wh, padding, self._input_wh))
        boxes = [_box(row, scale, padding, width, height) for row in rows[rows[:, 6] >= self._confidence]]
        return sorted((box for box in boxes if box is not None), key=lambda box: -box.confidence)

    def _run(self, pixels: FloatArray) -> FloatArray:
        try:
            rows = np.asarray(self._session.run([self._output], {self._input: pixels})[0])
        except Exception as error:
            # onnxruntime's exceptions share no base class of their own.
            raise InferenceError(f"detector {self._name}: inference failed: {first_line(error)}") from error
        fault = _row_fault(rows)
        if fault is not None:
            raise InferenceError(f"detector {self._name}: {fault}")
        return rows

    def _probe(self) -> None:
        width, height = self._input_wh
        try:
            self.detect(np.full((height, width, 3), PADDING_GREY, np.uint8))
        except InferenceError as error:
            raise ModelMismatchError(f"{error} (on an empty picture, at load)") from error


def _letterbox(
    image: Image, inner_wh: tuple[int, int], padding: tuple[float, float], input_wh: tuple[int, int]
) -> FloatArray:
    """Return the picture as the models take it: float32, shape (1, 3, height, width), RGB / 255, centred on grey."""
    width, height = inner_wh
    small = image if image.shape[1::-1] == inner_wh else cv2.resize(image, inner_wh, interpolation=cv2.INTER_LINEAR)
    left, top = round(padding[0] - 0.1), round(padding[1] - 0.1)
    pixels = np.full((1, 3, input_wh[1], input_wh[0]), PADDING_GREY / 255, np.float32)
    inner = pixels[0, :, top : top + height, left : left + width]
    # One colour after the other: no picture of three interleaved floats in between.
    for plane, channel in zip(cv2.split(small), inner[::-1], strict=True):
        np.multiply(plane, np.float32(1 / 255), out=channel)
    return pixels


def _row_fault(rows: FloatArray) -> str | None:
    if rows.ndim != 2 or rows.shape[1] != ROW_FIELDS:
        return f"returned shape {rows.shape}, the contract is (n, {ROW_FIELDS})"
    if not np.isfinite(rows).all():
        return "returned a number that is not finite"
    if rows.size and not ((rows[:, 6] >= 0.0) & (rows[:, 6] <= 1.0)).all():
        return "returned a score outside 0..1"
    return None


def _load(model: CheckedModel, threads: int, providers: Providers) -> Any:  # noqa: ANN401
    with as_path(model.onnx) as path:
        try:
            return ort.InferenceSession(
                str(path), sess_options=session_options(threads, providers), providers=list(providers)
            )
        except Exception as error:
            # Whatever onnxruntime raises on a foreign file, it means one thing here.
            raise ModelMismatchError(f"detector {model.name}: cannot be loaded: {first_line(error)}") from error


def _check_contract(session: Any, name: str, input_wh: tuple[int, int]) -> None:  # noqa: ANN401
    inputs, output = session.get_inputs(), session.get_outputs()[0]
    wanted = [3, input_wh[1], input_wh[0]]
    if len(inputs) != 1 or inputs[0].type != "tensor(float)" or list(inputs[0].shape[1:]) != wanted:
        got = ", ".join(f"{one.type} {one.shape}" for one in inputs)
        raise ModelMismatchError(f"detector {name}: takes {got}, the contract is tensor(float) [1, {str(wanted)[1:]}")
    if output.type != "tensor(float)" or len(output.shape) != 2 or output.shape[1] != ROW_FIELDS:
        raise ModelMismatchError(
            f"detector {name}: returns {output.type} {output.shape}, the contract is tensor(float) [n, {ROW_FIELDS}]"
        )


def _box(row: FloatArray, scale: float, padding: tuple[float, float], width: int, height: int) -> Detection | None:
    """Return one row's box in frame pixels, cut off to whole numbers as the library does; None if nothing is left."""
    # In 32-bit numbers as there, or a side that falls on a whole pixel is another one.
    _, x1, y1, x2, y2, _, score = row
    left, right = (min(max(int((x - padding[0]) / scale), 0), width) for x in (x1, x2))
    top, bottom = (min(max(int((y - padding[1]) / scale), 0), height) for y in (y1, y2))
    return Detection(left, top, right, bottom, float(score)) if left < right and top < bottom else None

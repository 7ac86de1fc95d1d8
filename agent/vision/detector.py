"""`Detector` on any model of the open-image-models end-to-end contract, through that library's own code.

Owns: the contract's checks at load and at every run. The library logs and swallows a failed inference; here it raises.
Square models run in the library's class, wide and tall ones, which that class refuses, in the same steps without it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
from open_image_models.detection.core.yolo_v9.inference import YoloV9Detector
from open_image_models.detection.core.yolo_v9.postprocess import convert_to_detection_result
from open_image_models.detection.core.yolo_v9.preprocess import preprocess

from agent.errors import InferenceError, ModelMismatchError
from agent.records import Detection, Image
from agent.vision.manifest import CheckedModel
from agent.vision.session import CPU_PROVIDERS, DEFAULT_THREADS, as_path, hush, session_options

ROW_FIELDS: Final = 7
"""[batch, x1, y1, x2, y2, class, score]."""
CLASS_LABEL: Final = "License Plate"
"""What the library calls the one class."""

hush("open_image_models.detection.core.yolo_v9.inference")


class OnnxDetector:
    """Finds plates in frames of any size."""

    def __init__(
        self,
        model: CheckedModel,
        *,
        input_wh: tuple[int, int],
        confidence: float,
        threads: int = DEFAULT_THREADS,
        providers: Sequence[str] = CPU_PROVIDERS,
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
        self._library = _load(model, input_wh, confidence, threads, providers)
        _check_contract(self._library.model, model.name, input_wh)
        self._session = _WatchedSession(self._library.model)
        self._library.model = self._session
        self._probe()

    @property
    def digest(self) -> bytes:
        """SHA-256 of the model file, 32 bytes."""
        return self._digest

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
        if round(min(height, width) * scale) < 1:
            return []  # so thin that nothing is left of it at the model's size
        self._session.failure = None
        found = self._library.predict(image)
        if self._session.failure is not None:
            raise InferenceError(f"detector {self._name}: {self._session.failure}")
        boxes = [_clip(one, width, height) for one in found]
        return sorted((box for box in boxes if box is not None), key=lambda box: -box.confidence)

    def _probe(self) -> None:
        width, height = self._input_wh
        grey = np.full((height, width, 3), 114, np.uint8)
        try:
            self.detect(grey)
        except InferenceError as error:
            raise ModelMismatchError(f"{error} (on an empty picture, at load)") from error


class _OblongYolo:
    """`YoloV9Detector` for an input that is not square: the library's own letterbox and decoding around one run.

    Attributes:
        model: The onnxruntime session.
    """

    def __init__(
        self, path: Path, *, input_wh: tuple[int, int], confidence: float, providers: Sequence[str], options: object
    ) -> None:
        self.model: Any = ort.InferenceSession(str(path), sess_options=options, providers=list(providers))
        self._input_hw = input_wh[::-1]
        self._confidence = confidence
        self._input = self.model.get_inputs()[0].name
        self._output = self.model.get_outputs()[0].name

    def predict(self, image: Image) -> list[Any]:
        """Return the library's detections; none after a failure, as there."""
        pixels, ratio, padding = preprocess(image, self._input_hw)
        try:
            rows = self.model.run([self._output], {self._input: pixels})[0]
        except InferenceError:
            return []  # the watched session keeps it
        labels = {0: CLASS_LABEL}
        found: list[Any] = convert_to_detection_result(np.asarray(rows), labels, ratio, padding, self._confidence)
        return found


class _WatchedSession:
    """An onnxruntime session that remembers why it failed, because its caller swallows the exception.

    Attributes:
        failure: One line about the last failed run; None if it did not fail.
    """

    def __init__(self, session: Any) -> None:  # noqa: ANN401  onnxruntime has no types
        self._session = session
        self.failure: str | None = None

    def run(self, names: list[str], feeds: dict[str, Any]) -> list[Any]:
        """Run and check the rows.

        Raises:
            InferenceError: For the caller to swallow; `failure` keeps it.
        """
        try:
            outputs: list[Any] = self._session.run(names, feeds)
        except Exception as error:
            # onnxruntime's exceptions share no base class of their own.
            self.failure = f"inference failed: {_first_line(error)}"
            raise InferenceError(self.failure) from error
        self.failure = _row_fault(np.asarray(outputs[0]))
        if self.failure is not None:
            raise InferenceError(self.failure)
        return outputs


def _row_fault(rows: np.ndarray[Any, np.dtype[Any]]) -> str | None:
    if rows.ndim != 2 or rows.shape[1] != ROW_FIELDS:
        return f"returned shape {rows.shape}, the contract is (n, {ROW_FIELDS})"
    if not np.isfinite(rows).all():
        return "returned a number that is not finite"
    if rows.size and not ((rows[:, 6] >= 0.0) & (rows[:, 6] <= 1.0)).all():
        return "returned a score outside 0..1"
    return None


def _load(
    model: CheckedModel, input_wh: tuple[int, int], confidence: float, threads: int, providers: Sequence[str]
) -> Any:  # noqa: ANN401
    options = session_options(threads)
    with as_path(model.onnx) as path:
        try:
            if input_wh[0] != input_wh[1]:
                return _OblongYolo(path, input_wh=input_wh, confidence=confidence, providers=providers, options=options)
            return YoloV9Detector(
                path,
                class_labels=(CLASS_LABEL,),
                conf_thresh=confidence,
                providers=list(providers),
                sess_options=options,
            )
        except Exception as error:
            # Whatever the library and onnxruntime raise on a foreign file, it means one thing here.
            raise ModelMismatchError(f"detector {model.name}: cannot be loaded: {_first_line(error)}") from error


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


def _clip(found: Any, width: int, height: int) -> Detection | None:  # noqa: ANN401
    box = found.bounding_box
    x1, x2 = (min(max(x, 0), width) for x in (box.x1, box.x2))
    y1, y2 = (min(max(y, 0), height) for y in (box.y1, box.y2))
    if x1 >= x2 or y1 >= y2:
        return None
    confidence = float(found.confidence)
    return Detection(x1, y1, x2, y2, confidence if math.isfinite(confidence) else 0.0)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]

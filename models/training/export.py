"""Writes trained weights as ONNX files that fast-alpr's loaders take unchanged, float32 and int8.

Owns the graphs around the networks: the detector's decoding, threshold shift and non-maximum
suppression (open-image-models' end-to-end contract), the reader's scaling and softmax
(fast-plate-ocr's contract).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process
from open_image_models.detection.core.yolo_v9.preprocess import preprocess
from torch import Tensor, nn

from .contract import DEFAULT_THRESHOLD, HEIGHT, LOWEST_SCORE, READER_CONFIG, SLOTS, WIDTH
from .detector import PlateDetector
from .folders import TRAIN_FOLDERS, ByteArray, FloatArray, load_folder
from .reader import PlateReader

OPSET = 17  # NonMaxSuppression and QuantizeLinear as the oldest supported onnxruntime knows them
NMS_IOU = 0.45
MOST_BOXES = 100
SMALLEST_HALVED = 512  # numbers; smaller tensors (biases, scales) stay float32


class _Reader(nn.Module):
    """The reader with its scaling in front and the softmax behind."""

    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x: Tensor) -> Tensor:
        """From uint8 (n, 64, 128, 3) RGB to float (n, SLOTS * 37) probabilities."""
        logits = self.reader(x.permute(0, 3, 1, 2).float() / 255.0)
        scores: Tensor = logits.softmax(-1).flatten(1)
        return scores


def logit(probability: float) -> float:
    """The inverse of the sigmoid."""
    return math.log(probability / (1 - probability))


def load_weights(model: nn.Module, checkpoint: Path) -> nn.Module:
    """The averaged weights of a checkpoint, ready for inference."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    model.load_state_dict(state["averaged"])
    return model.eval()


def export_detector(checkpoint: Path, out: Path, *, width: int, height: int, threshold: float) -> None:
    """Write the detector for one input size.

    Args:
        checkpoint: From `train_detector`.
        out: The ONNX file.
        width: Input width, pixels, divisible by 32.
        height: Input height, pixels, divisible by 32.
        threshold: The score that becomes `DEFAULT_THRESHOLD`.
    """
    model = load_weights(PlateDetector(), checkpoint)
    picture = torch.zeros(1, 3, height, width)
    torch.onnx.export(
        model,
        (picture,),
        str(out),
        opset_version=OPSET,
        dynamo=False,
        input_names=["images"],
        output_names=["logits", "boxes"],
    )
    graph_model = onnx.load(str(out))
    _append_nms(graph_model.graph, logit(DEFAULT_THRESHOLD) - logit(threshold))
    onnx.checker.check_model(graph_model)
    onnx.save(graph_model, str(out))


def _append_nms(graph: onnx.GraphProto, shift: float) -> None:
    """Add the score shift, non-maximum suppression and the rows of the contract to a raw graph.

    Rows are float32 (n, 7): batch index, x1, y1, x2, y2, class 0, score; letterboxed-input pixels.
    """
    constants: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.generic]]] = {
        "nms_shift": np.array(shift, np.float32),
        "nms_axis1": np.array([1], np.int64),
        "nms_axis2": np.array([2], np.int64),
        "nms_zero": np.array([0], np.int64),
        "nms_most": np.array([MOST_BOXES], np.int64),
        "nms_iou": np.array([NMS_IOU], np.float32),
        "nms_low": np.array([LOWEST_SCORE], np.float32),
        "nms_nil": np.array(0, np.float32),
    }
    graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in constants.items())
    steps: tuple[tuple[str, list[str], str, dict[str, int]], ...] = (
        ("Add", ["logits", "nms_shift"], "nms_shifted", {}),
        ("Sigmoid", ["nms_shifted"], "nms_flat", {}),
        ("Unsqueeze", ["nms_flat", "nms_axis1"], "nms_scores", {}),
        (
            "NonMaxSuppression",
            ["boxes", "nms_scores", "nms_most", "nms_iou", "nms_low"],
            "nms_kept",
            {},
        ),
        ("Gather", ["nms_kept", "nms_zero"], "nms_batch", {"axis": 1}),
        ("Gather", ["nms_kept", "nms_axis2"], "nms_cell", {"axis": 1}),
        ("Concat", ["nms_batch", "nms_cell"], "nms_at", {"axis": 1}),
        ("GatherND", ["boxes", "nms_at"], "nms_boxes", {}),
        ("GatherND", ["nms_flat", "nms_at"], "nms_row_score", {}),
        ("Unsqueeze", ["nms_row_score", "nms_axis1"], "nms_score", {}),
        ("Cast", ["nms_batch"], "nms_batch_f", {"to": TensorProto.FLOAT}),
        ("Mul", ["nms_score", "nms_nil"], "nms_class", {}),
        ("Concat", ["nms_batch_f", "nms_boxes", "nms_class", "nms_score"], "output", {"axis": 1}),
    )
    for operator, inputs, output, attributes in steps:
        graph.node.append(helper.make_node(operator, inputs, [output], name=output, **attributes))  # type: ignore[arg-type]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("output", TensorProto.FLOAT, ["boxes_found", 7]))


def export_reader(checkpoint: Path, out: Path) -> None:
    """Write the reader and its configuration beside it; no plate is an empty text, so the contract needs no more."""
    model = _Reader(load_weights(PlateReader(), checkpoint)).eval()
    crops = torch.zeros(2, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    torch.onnx.export(
        model,
        (crops,),
        str(out),
        opset_version=OPSET,
        dynamo=False,
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
    )
    out.with_suffix(".yaml").write_text(READER_CONFIG)


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    """Hands arrays to onnxruntime's calibration."""

    def __init__(self, name: str, arrays: Iterator[FloatArray | ByteArray]) -> None:
        self._name, self._arrays = name, arrays

    def get_next(self) -> dict[str, FloatArray | ByteArray] | None:
        """The next sample, or None at the end."""
        array = next(self._arrays, None)
        return None if array is None else {self._name: array}


def detector_samples(data: Path, *, width: int, height: int, count: int) -> Iterator[FloatArray]:
    """Letterboxed training pictures, float32 (1, 3, height, width) RGB 0..1."""
    for folder in TRAIN_FOLDERS:
        for picture in load_folder(data / folder)[:: max(1, 600 // count)][: count // 2]:
            yield np.ascontiguousarray(preprocess(picture.load_bgr(), (height, width))[0])


def reader_samples(data: Path, *, count: int) -> Iterator[ByteArray]:
    """Training crops, uint8 (1, 64, 128, 3) RGB."""
    for folder in TRAIN_FOLDERS:
        for picture in load_folder(data / folder)[: count // 2]:
            image = picture.load_bgr()[..., ::-1]
            for x1, y1, x2, y2 in picture.boxes[:1]:
                crop = np.ascontiguousarray(image[int(y1) : int(y2), int(x1) : int(x2)])
                if min(crop.shape[:2]) >= 8:
                    yield np.asarray(cv2.resize(crop, (WIDTH, HEIGHT)), np.uint8)[None]


def quantise(source: Path, out: Path, samples: Iterator[FloatArray | ByteArray]) -> None:
    """Static int8 of the convolutions, a scale per channel, activations between the extremes of the samples.

    The detector's last convolutions stay float32: their outputs pass an exponential.
    """
    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
    widths = {i.name: i.dims[0] for i in model.graph.initializer if i.dims}
    last = [n.name for n in convolutions if widths.get(n.input[1]) in {5, SLOTS}]
    quantize_static(
        str(prepared),
        str(out),
        _Samples(model.graph.input[0].name, samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["Conv"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=last,
        calibrate_method=CalibrationMethod.MinMax,
    )
    prepared.unlink()


def halve_weights(path: Path) -> None:
    """Store the large float32 weights of a file as float16 with a cast behind each, in place.

    onnxruntime folds the casts when it opens the file, so that it computes in float32 at the same
    speed; only the file is half as large.
    """
    model = onnx.load(str(path))
    kept, casts = [], []
    for entry in model.graph.initializer:
        if entry.data_type != TensorProto.FLOAT or math.prod(entry.dims) < SMALLEST_HALVED:
            kept.append(entry)
            continue
        half = numpy_helper.to_array(entry).astype(np.float16)
        kept.append(numpy_helper.from_array(half, f"{entry.name}_half"))
        cast = helper.make_node("Cast", [f"{entry.name}_half"], [entry.name], to=TensorProto.FLOAT)
        cast.name = f"{entry.name}_cast"
        casts.append(cast)
    nodes = [*casts, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(kept)
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))

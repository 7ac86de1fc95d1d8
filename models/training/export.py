"""Writes trained weights as float32 ONNX files that fast-alpr's loaders take unchanged.

Owns the graphs around the networks: the detector's decoding, threshold shift and non-maximum
suppression (open-image-models' end-to-end contract), the reader's scaling and softmax
(fast-plate-ocr's contract). Leaves to others: int8 and smaller files (`quantise`).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from .contract import DEFAULT_THRESHOLD, HEIGHT, LOWEST_SCORE, READER_CONFIG, WIDTH
from .detector import PlateDetector
from .reader import PlateReader

OPSET = 17  # NonMaxSuppression and QuantizeLinear as the oldest supported onnxruntime knows them
NMS_IOU = 0.45
MOST_BOXES = 100


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

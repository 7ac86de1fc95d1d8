"""What an ONNX model costs: multiply-adds and weights, counted from its shapes. Needs no PyTorch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, shape_inference


def multiply_adds(path: Path) -> int:
    """Multiply-adds of a model's convolutions and matrix products for one picture.

    A batch dimension that the model leaves open counts as 1.

    Raises:
        ValueError: A shape cannot be inferred.
    """
    model = onnx.load(str(path))
    for entry in model.graph.input:
        for dimension in entry.type.tensor_type.shape.dim:
            if not dimension.HasField("dim_value"):
                dimension.dim_value = 1
    for entry in model.graph.output:
        entry.type.tensor_type.ClearField("shape")  # it may name the same open dimension
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {entry.name: tuple(entry.dims) for entry in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = tuple(d.dim_value for d in value.type.tensor_type.shape.dim)
    return sum(_node_cost(node, shapes) for node in graph.node if node.op_type in {"Conv", "Gemm", "MatMul"})


def _node_cost(node: onnx.NodeProto, shapes: dict[str, tuple[int, ...]]) -> int:
    """Numbers that a node puts out, times what each is summed over."""
    out, left, right = (shapes.get(name, ()) for name in (node.output[0], node.input[0], node.input[1]))
    if not all(math.prod(shape) and shape for shape in (out, left, right)):
        raise ValueError(f"{node.op_type} {node.name or node.output[0]}: its shapes cannot be inferred")
    return math.prod(out) * _summed_over(node, left, right)


def _summed_over(node: onnx.NodeProto, left: Sequence[int], right: Sequence[int]) -> int:
    """How many products make one number of the output."""
    if node.op_type == "Conv":
        return math.prod(right[1:])  # input channels of a group x kernel
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    return left[0] if turned else left[-1]


def weights(path: Path) -> int:
    """Numbers in a model's weights."""
    floats = {TensorProto.FLOAT, TensorProto.FLOAT16}
    return sum(math.prod(w.dims) for w in onnx.load(str(path)).graph.initializer if w.data_type in floats)

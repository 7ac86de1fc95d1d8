#!/usr/bin/env bash
# onnxruntime 1.31.1: a model of quantised convolutions with a Relu behind each is converted to float and back at each layer.
# A Relu of whole numbers is free: the convolution before it saturates at zero. That happens only where "Relu" is among
# `op_types_to_quantize` too. With ["Conv"] alone, which looks enough, each convolution is followed by a conversion to float
# and one back, and half of its whole numbers stand for values below zero that the Relu drops. Nothing warns. Operators that are
# left to run after the optimisation at load, for three convolutions with a Relu behind each. Seen:
#   ["Conv"]: QuantizeLinear QLinearConv DequantizeLinear QuantizeLinear QLinearConv DequantizeLinear QuantizeLinear QLinearConv DequantizeLinear Relu
#   ["Conv", "Relu"]: QuantizeLinear QLinearConv QLinearConv QLinearConv DequantizeLinear
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 onnx==1.19.1 numpy==2.4.6
cd "$scratch"
ORT_DISABLE_TELEMETRY=1 venv/bin/python - <<'END'
import logging

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

logging.disable(logging.WARNING)
CHANNELS, LAYERS = 8, 3
random = np.random.default_rng(1)
nodes, weights = [], []
for layer in range(LAYERS):
    weight = random.normal(0, 0.2, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    weights.append(numpy_helper.from_array(weight, f"w{layer}"))
    nodes.append(helper.make_node("Conv", [f"x{layer}", f"w{layer}"], [f"y{layer}"], pads=[1, 1, 1, 1]))
    nodes.append(helper.make_node("Relu", [f"y{layer}"], [f"x{layer + 1}"]))
shape = [1, CHANNELS, 16, 16]
ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x0", f"x{LAYERS}")]
graph = helper.make_graph(nodes, "layers", ends[:1], ends[1:], weights)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), "float.onnx")


class Pictures(CalibrationDataReader):
    def __init__(self):
        self.left = [random.normal(size=shape).astype(np.float32) for _ in range(8)]

    def get_next(self):
        return {"x0": self.left.pop()} if self.left else None


def operators(kinds):
    """Return the operators that are left after the optimisation at load, in their order."""
    quantize_static(
        "float.onnx", "whole.onnx", Pictures(), quant_format=QuantFormat.QDQ, op_types_to_quantize=kinds,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = "run.onnx"
    ort.InferenceSession("whole.onnx", options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load("run.onnx").graph.node]


alone, both = operators(["Conv"]), operators(["Conv", "Relu"])
print('["Conv"]:', *alone)
print('["Conv", "Relu"]:', *both)
assert alone.count("DequantizeLinear") == LAYERS and "Relu" in alone
assert "Relu" not in both and both.count("DequantizeLinear") == 1
END

"""int8 files: what is one operation, what stays float32, and how near the answers are."""

from __future__ import annotations

import itertools
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from models.training.measure import open_session
from models.training.quantise import halve_weights, quantise

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # onnx and protobuf warn about each other when they load
    import onnx
    from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.filterwarnings("ignore")
CHANNELS = (3, 16, 32, 32, 5)  # of the picture, and of what each convolution puts out


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """Four convolutions 3x3 on pictures of 16x16, a ReLU behind each but the last; random weights."""
    rng, nodes, weights, last = np.random.default_rng(0), [], [], "x"
    for number, (inputs, outputs) in enumerate(itertools.pairwise(CHANNELS)):
        weight = rng.normal(0, 1 / np.sqrt(9 * inputs), (outputs, inputs, 3, 3)).astype(np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        name = f"conv{number}"
        nodes.append(helper.make_node("Conv", [last, f"w{number}"], [name], name=name, pads=[1, 1, 1, 1]))
        last = name
        if outputs != CHANNELS[-1]:
            nodes.append(helper.make_node("Relu", [name], [f"relu{number}"], name=f"relu{number}"))
            last = f"relu{number}"
    shape = (1, CHANNELS[-1], 16, 16)
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, 16, 16))],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, shape)],
        weights,
    )
    path = tmp_path / "toy.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def pictures(count: int, *, seed: int) -> list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    """Random ones, float32 (1, 3, 16, 16), 0..1."""
    rng = np.random.default_rng(seed)
    return [rng.random((1, 3, 16, 16), np.float32) for _ in range(count)]


def executed(path: Path, out: Path) -> Counter[str]:
    """Operations that onnxruntime executes, by kind."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(out)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(str(out)).graph.node)


def test_a_convolution_and_its_relu_are_one_operation(whole: Path, tmp_path: Path) -> None:
    """Of four convolutions the middle two are int8, from one to the other without floats; first and last are not."""
    small = tmp_path / "toy-int8.onnx"
    quantise(whole, small, iter(pictures(8, seed=1)))
    kinds = executed(small, tmp_path / "seen.onnx")
    assert kinds["QLinearConv"] == 2
    assert kinds["Relu"] == 0
    assert (kinds["QuantizeLinear"], kinds["DequantizeLinear"]) == (1, 1)
    assert kinds["FusedConv"] + kinds["Conv"] == 2
    assert not small.with_suffix(".prepared.onnx").exists()


def test_int8_and_halved_weights_say_nearly_the_same(whole: Path, tmp_path: Path) -> None:
    """On pictures that calibrated nothing, within a twentieth of the answers' range; the file is smaller."""
    small = tmp_path / "toy-int8.onnx"
    quantise(whole, small, iter(pictures(8, seed=1)))
    halve_weights(small)
    assert small.stat().st_size < whole.stat().st_size
    for picture in pictures(4, seed=2):
        right, got = (np.asarray(open_session(path).run(None, {"x": picture})[0]) for path in (whole, small))
        assert got == pytest.approx(right, abs=0.05 * float(np.ptp(right)))

#!/usr/bin/env bash
# fast-alpr 0.4.0 with fast-plate-ocr 1.1.0: a plate's confidence has more numbers than the plate has characters.
# The padding at the end is cut off the text and not off the confidences. `draw_predictions` shows their mean, and so does
# whoever follows it: a short plate that is read surely gets an unsure score if the model is unsure how to pad. Seen, with
# a model that says ABC12 at 0.99 a character and four paddings at 0.50:
#   text ABC12, 9 confidences, mean 0.77; of the five characters 0.99
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check 'fast-alpr[onnx]==0.4.0' fast-plate-ocr==1.1.0 \
    onnxruntime==1.31.1 onnx==1.23.2 numpy==2.4.6
cd "$scratch"
HOME="$scratch" ORT_DISABLE_TELEMETRY=1 venv/bin/python - <<'END'
from pathlib import Path
from statistics import mean

import numpy as np
import onnx
from fast_alpr.default_ocr import DefaultOCR
from onnx import TensorProto, helper, numpy_helper

ALPHABET, SLOTS, TEXT = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_", 9, "ABC12"
shares = np.zeros((1, SLOTS, len(ALPHABET)), np.float32)
for slot in range(SLOTS):
    character, share = (TEXT[slot], 0.99) if slot < len(TEXT) else ("_", 0.50)
    shares[0, slot] = (1 - share) / (len(ALPHABET) - 1)
    shares[0, slot, ALPHABET.index(character)] = share

nodes = [
    helper.make_node("Cast", ["input"], ["floats"], to=TensorProto.FLOAT),
    helper.make_node("ReduceMean", ["floats"], ["one"], keepdims=0),
    helper.make_node("Mul", ["one", "zero"], ["nothing"]),
    helper.make_node("Add", ["shares", "nothing"], ["output"]),
]
graph = helper.make_graph(
    nodes,
    "always-the-same",
    [helper.make_tensor_value_info("input", TensorProto.UINT8, [1, 64, 128, 1])],
    [helper.make_tensor_value_info("output", TensorProto.FLOAT, list(shares.shape))],
    [numpy_helper.from_array(shares, "shares"), numpy_helper.from_array(np.float32(0), "zero")],
)
onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), "reader.onnx")
Path("reader.yaml").write_text(
    f'max_plate_slots: {SLOTS}\nalphabet: "{ALPHABET}"\npad_char: "_"\nimg_height: 64\nimg_width: 128\n'
    "image_color_mode: grayscale\n"
)
read = DefaultOCR(model_path="reader.onnx", config_path="reader.yaml").predict(np.zeros((64, 128, 3), np.uint8))
own = read.confidence[: len(read.text)]
print(f"text {read.text}, {len(read.confidence)} confidences, mean {mean(read.confidence):.2f}; "
      f"of the {len(own)} characters {mean(own):.2f}")
assert (read.text, len(read.confidence)) == (TEXT, SLOTS)
assert round(mean(own), 2) == 0.99 and round(mean(read.confidence), 2) == 0.77
END

"""Makes int8 files of float32 ONNX files, and halves the bytes of float32 weights. Needs no PyTorch.

    python -m models.training.quantise [--models models] [--data ../shared/data]

makes the int8 files beside the float32 ones again, fits the reader's temperature, and writes the manifest. Shipped
files hold halved weights, so what is made of them differs from what `make train` makes in the last bits.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import onnx
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

from agent.errors import ModelError
from agent.vision.manifest import MANIFEST_NAME

from .calibrate import answers, fit_temperature, valid_readings
from .contract import DETECTOR_SIZES, HEIGHT, MODELS, READER_NAME, SLOTS, WIDTH
from .folders import DEFAULT_DATA, TRAIN_FOLDERS, ByteArray, FloatArray, load_folder
from .manifest_block import INT8, write_manifest
from .progress import say

DETECTOR_SAMPLES = 160  # training pictures that the detector's int8 is calibrated on
READER_SAMPLES = 400  # and the reader's
LAST_CHANNELS = (5, SLOTS)  # of the last convolutions: a cell's score and box; where each slot looks
SMALLEST_HALVED = 512  # numbers; smaller tensors (biases, scales) stay float32


class _Samples(CalibrationDataReader):  # type: ignore[misc]
    """Hands arrays to onnxruntime's calibration."""

    def __init__(self, name: str, arrays: Iterator[FloatArray | ByteArray]) -> None:
        self._name, self._arrays = name, arrays

    def get_next(self) -> dict[str, FloatArray | ByteArray] | None:
        """The next sample, or None at the end."""
        array = next(self._arrays, None)
        return None if array is None else {self._name: array}


def detector_samples(data: Path, *, width: int, height: int, count: int = DETECTOR_SAMPLES) -> Iterator[FloatArray]:
    """Letterboxed training pictures, float32 (1, 3, height, width) RGB 0..1."""
    for folder in TRAIN_FOLDERS:
        for picture in load_folder(data / folder)[:: max(1, 600 // count)][: count // 2]:
            yield np.ascontiguousarray(preprocess(picture.load_bgr(), (height, width))[0])


def reader_samples(data: Path, *, count: int = READER_SAMPLES) -> Iterator[ByteArray]:
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

    A convolution and the ReLU behind it become one operation: the range before the ReLU, of which half is thrown away,
    is never needed. Two places stay float32: the first convolution, which takes longer in int8, as it has three
    channels and converts a whole picture, and whose sums overflow on processors with AVX2 and no VNNI (a tenth of the
    plates was lost there); and the last ones, as the detector's outputs pass an exponential.
    """
    prepared = out.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
    model = onnx.load(str(prepared))
    quantize_static(
        str(prepared),
        str(out),
        _Samples(model.graph.input[0].name, samples),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["Conv", "Relu"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        nodes_to_exclude=_left_in_float(model.graph),
        calibrate_method=CalibrationMethod.MinMax,
    )
    prepared.unlink()


def _left_in_float(graph: onnx.GraphProto) -> list[str]:
    """Names of the first convolution, the ReLU behind it, and the last convolutions."""
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    channels = {entry.name: entry.dims[0] for entry in graph.initializer if entry.dims}
    last = [node for node in convolutions if channels.get(node.input[1]) in LAST_CHANNELS]
    first = convolutions[0]
    behind = [node for node in graph.node if node.op_type == "Relu" and first.output[0] in node.input]
    return [node.name for node in (first, *behind, *last)]


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


def remake(folder: Path, data: Path) -> None:
    """Make the int8 files beside the float32 ones of a folder again, and the manifest's entries.

    Args:
        folder: With the float32 files, the reader's YAML and the manifest.
        data: Folder of the labelled folders.

    Raises:
        FileNotFoundError: A file is missing.
        ModelError: The agent would not take what was written.
    """
    for name, (width, height) in DETECTOR_SIZES.items():
        say(f"writing {name}{INT8}")
        samples = detector_samples(data, width=width, height=height)
        quantise(folder / f"{name}.onnx", folder / f"{name}{INT8}.onnx", samples)
    reader = folder / f"{READER_NAME}{INT8}.onnx"
    say(f"writing {reader.stem}")
    quantise(folder / f"{READER_NAME}.onnx", reader, reader_samples(data))
    for path in (reader, *(folder / f"{name}{INT8}.onnx" for name in DETECTOR_SIZES)):
        halve_weights(path)
    temperature = fit_temperature(answers(reader, valid_readings(data)))
    write_manifest(folder, folder / MANIFEST_NAME, {reader.stem: temperature})


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Make the int8 files of a folder of models again.")
    parser.add_argument("--models", type=Path, default=MODELS, help="with the float32 files and the manifest")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of the labelled folders")
    args = parser.parse_args()
    try:
        remake(args.models, args.data)
    except (OSError, ModelError) as error:
        parser.exit(1, f"quantise: {error}\n")


if __name__ == "__main__":
    main()

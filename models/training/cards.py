# ruff: noqa: E501 - rows of tables cannot be wrapped
"""Model cards and manifest entries, written from the figures that `train` measured."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx

from .export_names import DEFAULT_THRESHOLD, DETECTOR_SIZES, READER_NAME
from .fonts import PACKAGES

PUBLIC = "cct_xs_v1_global.onnx"
REPRODUCE = "    python -m models.training.train --data ../shared/data --runs runs"
DATA = """| data | what for | licence |
|---|---|---|
| `rpi-dayride/train`, 427 frames of a road camera without infra-red filter, day and night (RobertLucian/license-plate-dataset) | training | MIT |
| `openimages-plates/train`, 245 photographs (Open Images) | training | annotations CC BY 4.0, pictures CC BY 2.0 |
| frames of `clips/car-park.mp4` (intel-iot-devkit/sample-videos) | scenes without plates | CC BY 4.0 |
| 30,000 rendered plates for the detector, 12,000 for the reader, 1,500 rendered signs, lamps and badges; captions | training | this project's; fonts below |
| the two `valid` folders | threshold, int8 decision | as above |
| `openalpr-eu` (openalpr/benchmarks) | measuring only | AGPL-3.0 repository; nothing of it is in the model |
"""


def sha256(path: Path) -> str:
    """Of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def multiplications(path: Path) -> float:
    """Millions of multiply-adds of a model's convolutions and matrix products, for one picture."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    weights = {i.name: list(i.dims) for i in model.graph.initializer}
    infos = [*model.graph.value_info, *model.graph.output]
    shapes = {v.name: [d.dim_value or 1 for d in v.type.tensor_type.shape.dim] for v in infos}
    total = 0
    for node in model.graph.node:
        weight = weights.get(node.input[1]) if node.op_type in {"Conv", "Gemm", "MatMul"} else None
        shape = shapes.get(node.output[0])
        if weight and node.op_type == "Conv" and shape and len(shape) == 4:
            total += shape[2] * shape[3] * weight[0] * weight[1] * weight[2] * weight[3]
        elif weight:
            total += weight[0] * weight[1]
    return total / 1e6


def parameters(path: Path) -> int:
    """Numbers in a model's weights."""
    total = 0
    for entry in onnx.load(str(path)).graph.initializer:
        size = 1
        for dimension in entry.dims:
            size *= dimension
        total += size
    return total


def file_table(out: Path, prefix: str, latency: dict[str, float]) -> str:
    """The files of a model with size, operations, latency and digest."""
    rows = [
        "| file | bytes | multiply-adds, M | ms, one core | x cct_xs_v1 | SHA-256 |",
        "|---|---|---|---|---|---|",
    ]
    for path in sorted(out.glob(f"{prefix}*.onnx")):
        source = path.with_name(path.name.replace("-int8", ""))
        ms = latency.get(path.name, 0.0)
        ratio = ms / latency[PUBLIC] if latency.get(PUBLIC) else 0.0
        size, work = path.stat().st_size, multiplications(source)
        rows.append(f"| `{path.name}` | {size:,} | {work:.0f} | {ms:.2f} | {ratio:.2f} | `{sha256(path)}` |")
    return "\n".join(rows) + "\n"


def figure_rows(figures: dict[str, dict[str, dict[str, float]]], wanted: str, columns: tuple[str, ...]) -> str:
    """A table of the figures whose name contains `wanted`."""
    rows = [
        "| measured on | group | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for name, groups in figures.items():
        for group, values in groups.items():
            if wanted in name and any(c in values for c in columns) and values.get("pictures", 1):
                cells = " | ".join(str(values.get(c, "")) for c in columns)
                rows.append(f"| {name} | {group} | {cells} |")
    return "\n".join(rows) + "\n"


def int8_note(report: dict[str, object], prefix: str, latency: dict[str, float]) -> str:
    """What int8 costs and gains."""
    lines = []
    losses = report["int8"]
    assert isinstance(losses, dict)
    for name, verdict in losses.items():
        if not str(name).startswith(prefix):
            continue
        what = f"- `{name}-int8`: loses {verdict['loss']:.3f} on the validation folders"
        if verdict["kept"]:
            speed = latency[f"{name}.onnx"] / max(latency[f"{name}-int8.onnx"], 1e-6)
            lines.append(f"{what}; {speed:.2f} times as fast as float32 on the x86-64 core measured.")
        else:
            lines.append(f"{what}, more than 0.02: not shipped.")
    return "\n".join(lines) + "\n"


def font_table() -> str:
    """The fonts that were drawn with, by Debian package and licence."""
    rows = ["| fonts (Debian package) | licence |", "|---|---|"]
    rows += [f"| {p.package} | {p.licence} |" for p in PACKAGES]
    return "\n".join(rows) + "\n"


def detector_card(report: dict[str, object], out: Path) -> str:
    """The text of `plate-detector.md`."""
    latency, figures, training = (
        report["latency_ms"],
        report["figures"],
        report["detector_training"],
    )
    assert isinstance(latency, dict)
    assert isinstance(figures, dict)
    assert isinstance(training, dict)
    columns = ("plates", "pictures", "recall", "false_per_picture")
    rows = {k: v for k, v in figures.items() if " with " not in k}
    weights = parameters(out / "plate-detector-384.onnx")
    return f"""# plate-detector

Finds licence plates: one class, boxes with a score. Plain 3x3 and 1x1 convolutions with ReLU, about {
        weights / 1e6:.2f} M
numbers, strides 8 and 16, no anchors. Licence: MIT.

Contract (open-image-models, end to end): input `images` float32 (1, 3, height, width) RGB 0..1, letterboxed
with grey 114;
output float32 (n, 7): batch index, x1, y1, x2, y2 in input pixels, class 0, score. Non-maximum suppression is inside.
The default threshold is {DEFAULT_THRESHOLD}. The score chosen on the validation folders
({report["threshold_before_shift"]}) was moved onto it by a constant in the
graph, so fast-alpr's own default is the right one. The square file loads in `YoloV9Detector` and fast-alpr
unchanged; the wide file, from the
same weights, is for 16:9 frames.

{file_table(out, "plate-detector", latency)}
Latencies are tenth percentiles of one run in which all models took turns on one core of a busy x86-64
machine, float32 beside `{PUBLIC}` ({latency.get(PUBLIC, 0):.2f} ms);
the ratio is what carries over.

{int8_note(report, "plate-detector", latency)}
## Data
{DATA}
{font_table()}
## Measured
IoU 0.5, threshold {DEFAULT_THRESHOLD}. A false box touches no plate. Plates at least 24 px wide, but all of
them in `openalpr-eu` and in the rows by width.
Night: the median grey level of the picture is below 40 of 255.

    python -m models.training.evaluate ../shared/data/openalpr-eu
    python -m models.training.evaluate ../shared/data/rpi-dayride/valid --min-width 24

{figure_rows(rows, "plate-detector", columns)}
## Where it fails
Plates narrower than about 24 px in a 1280-pixel frame; busy coloured plates (US); plates at a steep angle. It
can still take
advertising, lit bus signs, headlights and captions over the picture for plates: mask captions. The validation
sets are small: 107
and 70 pictures; one plate is about one per cent of recall.

## How to reproduce
{REPRODUCE}

Trained for {training["steps"]:,} batches of 32 crops of 192 pixels, {training["minutes"]} minutes of a shared
x86-64 core. Renderings and training
pictures are deterministic by seed; the order of floating-point sums is not, so the digest of a new run differs.
"""


def reader_card(report: dict[str, object], out: Path) -> str:
    """The text of `plate-reader.md`."""
    latency, figures, training = report["latency_ms"], report["figures"], report["reader_training"]
    crops = report["real_crops"]
    assert isinstance(latency, dict)
    assert isinstance(figures, dict)
    assert isinstance(training, dict)
    assert isinstance(crops, dict)
    columns = ("plates", "exact", "exact_true_box")
    weights = parameters(out / f"{READER_NAME}.onnx")
    rows = {k: v for k, v in figures.items() if "exact" in v["all"] and ("-384" in k or "agree" in k)}
    return f"""# plate-reader

Reads the text of a cropped plate: 10 slots, alphabet `0-9A-Z_` (`_` is padding). Plain convolutions, then one
learned map of where to
look a slot; about {weights / 1e6:.2f} M numbers. Licence: MIT.

Contract (fast-plate-ocr): input `input` uint8 (n, 64, 128, 3) RGB, the crop stretched to it with linear
interpolation; output `output` float32
(n, 370), softmax of 10 slots x 37 characters. `plate-reader.yaml` beside it is the configuration. Loads in
`LicensePlateRecognizer` unchanged.

{file_table(out, READER_NAME, latency)}
Latencies are tenth percentiles of one run in which all models took turns on one core of a busy x86-64 machine
beside `{PUBLIC}` ({latency.get(PUBLIC, 0):.2f} ms).

{int8_note(report, READER_NAME, latency)}
## Data
{DATA}
Real crops of the two training folders got their text from the public model `{PUBLIC}` (MIT,
ankandrew/fast-plate-ocr) where its least certain character had
at least 0.85: {crops["kept"]} of {crops["asked"]} crops.

{font_table()}
## Measured
`exact`: detector and reader together; `exact_true_box`: the reader on the labelled box. The rows `with
{Path(PUBLIC).stem}` are the public reader's, for comparison.
The last row is the agreement with the public reader on validation plates of which it is sure (0.9).

    python -m models.training.evaluate ../shared/data/openalpr-eu

{figure_rows(rows, "", columns)}
## Where it fails
Plates narrower than about 64 px in the frame; O and 0, I and 1 and similar pairs where the country's rules do
not tell them apart; small
second lines, non-Latin signs (it has none), plates of more than 10 characters. It was trained mostly on
rendered plates: typefaces that no free font
resembles read worse.

## How to reproduce
{REPRODUCE}

Trained for {training["steps"]:,} batches of 128 crops, {training["minutes"]} minutes of a shared x86-64 core.
"""


def manifest_entries(out: Path) -> str:
    """What the manifest needs to know of each file, as TOML."""
    entries = []
    for path in sorted(out.glob("plate-*.onnx")):
        base = path.stem.removesuffix("-int8")
        reader = base == READER_NAME
        width, height = (128, 64) if reader else DETECTOR_SIZES[base]
        lines = [
            "[[model]]",
            f'file = "{path.name}"',
            f'kind = "{"reader" if reader else "detector"}"',
            f'sha256 = "{sha256(path)}"',
            f"bytes = {path.stat().st_size}",
            f"input_width_px = {width}",
            f"input_height_px = {height}",
            'colour_order = "rgb"',
        ]
        if reader:
            lines += [
                'alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_"',
                'pad_character = "_"',
                "slots = 10",
            ]
            lines += ['layout = "nhwc-uint8"', 'config_file = "plate-reader.yaml"']
        else:
            lines += ['layout = "nchw-float32"', f"default_confidence = {DEFAULT_THRESHOLD}"]
        precision = "int8" if path.stem.endswith("-int8") else "float32"
        lines += [
            f'precision = "{precision}"',
            'licence = "MIT"',
            'origin = "trained by models/training"',
        ]
        entries.append("\n".join(lines))
    return "\n\n".join(entries) + "\n"


def write_cards(report: dict[str, object], out: Path) -> None:
    """Write both cards and the manifest entries beside the models."""
    (out / "plate-detector.md").write_text(detector_card(report, out))
    (out / "plate-reader.md").write_text(reader_card(report, out))
    (out / "manifest-entries.toml").write_text(manifest_entries(out))

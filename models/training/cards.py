"""Model cards, written from the figures that `finish` measured. Needs no PyTorch.

Every sentence that says how well a model does is made from a figure; see `weak_points`.
"""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .choose import ALL_KINDS, KIND_NAMES, LARGEST_INT8_LOSS, NARROWEST_PX, SURE
from .contract import ALPHABET, DEFAULT_THRESHOLD, DETECTOR_SIZES, HEIGHT, PUBLIC_READER, READER_NAME, SLOTS, WIDTH
from .folders import UNLABELLED
from .fonts import PACKAGES
from .manifest_block import INT8, model_files, sha256
from .measure import NIGHT_MEDIAN
from .onnx_cost import multiply_adds, weights
from .plan import DETECTOR_PLATES, HELD_OUT, READER_PLATES, SIGNS, Plan
from .pseudo import SURE as SURE_LABEL
from .tables import Figures, compared_table, figure_table, number, table

LINE_CHARS = 120
GOOD = 0.9  # groups below it are named under "Where it fails"
DETECTION = ("recall", "false_per_picture")
READING = ("exact", "exact_true_box")

PHRASES = {"all": "of all", "day": "by day", "night": "at night"} | {kind: f"for {kind}" for kind in KIND_NAMES}
"""How groups are called in a sentence; widths come after "at"."""

DATA = table(
    ["data", "what for", "licence"],
    [
        [
            "`rpi-dayride/train`: 427 frames of a camera without infra-red filter in traffic, day and night "
            "(RobertLucian/license-plate-dataset)",
            "training",
            "MIT",
        ],
        [
            "`openimages-plates/train`: 245 photographs (Open Images)",
            "training",
            "annotations CC BY 4.0, pictures CC BY 2.0",
        ],
        ["frames of `clips/car-park.mp4` (intel-iot-devkit/sample-videos)", "scenes without plates", "CC BY 4.0"],
        [
            f"{DETECTOR_PLATES.count:,} rendered plates for the detector, {READER_PLATES.count:,} for the reader, "
            f"{SIGNS.count:,} rendered signs, lamps and badges; captions",
            "training",
            "this project's; fonts below",
        ],
        ["the two `valid` folders; held-out renderings", "threshold, int8", "as above"],
        ["`openimages-plates/test`", "measuring only", "as above"],
        [
            "`openalpr-eu` (openalpr/benchmarks)",
            "measuring only",
            "AGPL-3.0 repository; nothing of it is in the model",
        ],
    ],
)


@dataclass(frozen=True, slots=True)
class Int8Verdict:
    """Whether an int8 file is good enough.

    Attributes:
        name: The float32 model's name.
        loss: Of recall (detector) or exactness (reader), 0..1; negative where int8 did better.
        kept: Whether it is shipped.
    """

    name: str
    loss: float
    kept: bool


@dataclass(frozen=True, slots=True)
class Effort:
    """How long a model was trained.

    Attributes:
        plan: What was planned.
        steps: Batches in all.
        minutes: Wall-clock minutes spent on them.
        machine: A class of machine, for people to compare theirs with.
    """

    plan: Plan
    steps: int
    minutes: float
    machine: str

    def sentence(self) -> str:
        """For the card."""
        px = self.plan.picture_px
        size = f" pictures of {px} x {px} pixels" if px else ""
        return (
            f"Trained for {self.steps:,} batches of {self.plan.batch}{size}, seed {self.plan.seed}, in "
            f"{self.minutes:.0f} minutes on {self.machine}."
        )


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the cards tell.

    Attributes:
        threshold: The score that was chosen and moved onto the default.
        latency_ms: By file name, one core.
        int8: One verdict a model.
        detection: By folder, then by detector, then by group.
        reading: By folder, then by reader, then by group; plates found by the first detector.
        rendered: The reader's exactness on held-out renderings, by kind.
        agreement: The reader's agreement with the public reader on validation plates; None without a public reader.
        real_crops: Real training crops that were asked for and kept.
        detector: Its trainings, one after the other.
        reader: Its training.
    """

    threshold: float
    latency_ms: dict[str, float]
    int8: list[Int8Verdict]
    detection: dict[str, dict[str, dict[str, Figures]]]
    reading: dict[str, dict[str, dict[str, Figures]]]
    rendered: dict[str, Figures]
    agreement: Figures | None
    real_crops: tuple[int, int]
    detector: tuple[Effort, ...]
    reader: tuple[Effort, ...]


def paragraph(text: str) -> str:
    """Running text, wrapped."""
    return textwrap.fill(" ".join(text.split()), LINE_CHARS, break_long_words=False, break_on_hyphens=False) + "\n"


def bullet(text: str) -> str:
    """An item of a list, wrapped."""
    return textwrap.indent(paragraph(text), "  ").replace("  ", "- ", 1)


def file_table(out: Path, prefix: str, latency_ms: dict[str, float]) -> str:
    """The files of a model with size, operations, latency and digest."""
    public = latency_ms.get(PUBLIC_READER.name)
    rows = []
    for path in model_files(out):
        if not path.name.startswith(prefix):
            continue
        ms = latency_ms[path.name]
        rows.append(
            [
                f"`{path.name}`",
                f"{path.stat().st_size:,}",
                f"{multiply_adds(path) / 1e6:.0f}",
                f"{ms:.2f}",
                f"{ms / public:.2f}" if public else "",
                f"`{sha256(path)}`",
            ]
        )
    return table(["file", "bytes", "multiply-adds, M", "ms, one core", f"x {PUBLIC_READER.stem}", "SHA-256"], rows)


def latency_note(latency_ms: dict[str, float]) -> str:
    """How the latencies came about."""
    public = latency_ms.get(PUBLIC_READER.name)
    beside = f" beside `{PUBLIC_READER.name}` ({public:.2f} ms)" if public else ""
    return paragraph(
        f"Latencies are tenth percentiles of the processor time of one run in which all models took turns on one "
        f"{platform.machine()} core{beside}; other work ran on that machine, so the ratio is what carries over."
    )


def int8_note(report: Report, prefix: str, what: str) -> str:
    """The verdict on int8, one line a model."""
    lines = []
    for verdict in report.int8:
        if not verdict.name.startswith(prefix):
            continue
        text = f"`{verdict.name}{INT8}` loses {max(verdict.loss, 0):.3f} of {what} against float32"
        if verdict.kept:
            gain = report.latency_ms[f"{verdict.name}.onnx"] / report.latency_ms[f"{verdict.name}{INT8}.onnx"]
            text += f"; it took {1 / gain:.2f} of float32's time on the core measured."
        else:
            text += f", more than {LARGEST_INT8_LOSS}: it is not shipped."
        lines.append(bullet(text))
    return "".join(lines)


def weak_points(folder: str, groups: dict[str, Figures], figure: str, called: str) -> list[str]:
    """Groups of a folder in which a figure is below `GOOD`, in words."""
    weak = [
        f"{number(figures[figure])} {PHRASES.get(group, f'at {group}')} ({figures['plates']} plates)"
        for group, figures in groups.items()
        if figure in figures and figures[figure] < GOOD
    ]
    return [f"`{folder}`: {called} {', '.join(weak)}."] if weak else []


def font_table() -> str:
    """The fonts that were drawn with, by Debian package and licence."""
    return table(["fonts (Debian package)", "licence"], [[p.package, p.licence] for p in PACKAGES])


def reproduce(efforts: Sequence[Effort]) -> str:
    """How to make the model again."""
    trained = " ".join(effort.sentence() for effort in efforts)
    return "    make train DATA=../shared/data\n\n" + paragraph(
        f"{trained} Renderings and training pictures are the same for the same seed; the order of floating-point sums "
        "is not, so a new run gives another digest and slightly different figures."
    )


def left_out_sentence(detection: dict[str, dict[str, dict[str, Figures]]], detector: str) -> str:
    """Where a detector finds plates that the labels leave out."""
    shares = {
        folder: by_name[detector]["all"].get("unlabelled_per_picture", 0) for folder, by_name in detection.items()
    }
    where = ", ".join(f"{number(float(share))} on `{folder}`" for folder, share in shares.items() if share)
    if not where:
        return ""
    return f"""Boxes on plates that the labels leave out are none: `{detector}` draws {where} a picture. Those plates
        are listed in `training/{UNLABELLED.name}`; the threshold was chosen with the labels alone."""


def detector_card(report: Report, out: Path) -> str:
    """The text of `plate-detector.md`."""
    first = next(iter(DETECTOR_SIZES))
    measured, weak = [], []
    for folder, detectors in report.detection.items():
        shown = {name.removeprefix("plate-detector-"): groups for name, groups in detectors.items()}
        measured.append(f"`{folder}`:\n\n{compared_table(shown, DETECTION)}")
        weak += weak_points(folder, detectors[first], "recall", "recall")
    parts = [
        "# plate-detector\n",
        paragraph(
            f"""Finds licence plates: one class, boxes with a score. Plain 3x3 and 1x1 convolutions with ReLU,
            {weights(out / f"{first}.onnx") / 1e6:.2f} M weights, strides 8 and 16, no anchors. Licence: MIT."""
        ),
        paragraph(
            """Contract (open-image-models, end to end): input `images`, float32 (1, 3, height, width), RGB 0..1,
            letterboxed with grey 114; output float32 (n, 7): batch index, x1, y1, x2, y2 in input pixels, class 0,
            score. Non-maximum suppression is inside."""
        ),
        paragraph(
            f"""The threshold is {DEFAULT_THRESHOLD}, which is also fast-alpr's own: the score chosen on the validation
            folders ({report.threshold}) was moved onto it by a constant in the graph. The square file loads in
            `YoloV9Detector` and fast-alpr unchanged; the wide file has the same weights and is for 16:9 frames."""
        ),
        file_table(out, "plate-detector", report.latency_ms),
        latency_note(report.latency_ms),
        f"## int8\n\n{int8_note(report, 'plate-detector', 'recall on the worse validation folder')}",
        f"## Data\n\n{DATA}\n{font_table()}",
        "## Measured\n",
        paragraph(
            f"""IoU 0.5, threshold {DEFAULT_THRESHOLD}. A false box touches no plate; their number is given a picture.
            {left_out_sentence(report.detection, first)} Plates at least {NARROWEST_PX:.0f} px wide; in `openalpr-eu`
            and in the rows by width, all. Night: the median grey level of the picture is below {NIGHT_MEDIAN} of 255.
            Widths are pixels of the picture as it is, before it is made smaller for the model."""
        ),
        "    python -m models.training.evaluate ../shared/data/openalpr-eu\n"
        "    python -m models.training.evaluate ../shared/data/rpi-dayride/valid --min-width 24\n",
        *measured,
        f"## Where it fails\n\n{paragraph(f'What was measured with `{first}` and is below {GOOD}:')}",
        "".join(bullet(text) for text in weak) or paragraph("Nothing."),
        paragraph(
            """The sets are small: in a group of ten plates one plate is a tenth of recall. They have no country labels,
            so nothing is said by country. Captions over the picture were not measured; mask them."""
        ),
        f"## How to reproduce\n\n{reproduce(report.detector)}",
    ]
    return "\n".join(parts)


def reader_card(report: Report, out: Path) -> str:
    """The text of `plate-reader.md`."""
    asked, kept = report.real_crops
    first = next(iter(DETECTOR_SIZES))
    millions = weights(out / f"{READER_NAME}.onnx") / 1e6
    measured, weak = [], []
    for folder, readers in report.reading.items():
        measured.append(f"`{folder}`, plates found by `{first}`:\n\n{compared_table(readers, READING)}")
        own = next(iter(readers.values()))
        weak += weak_points(folder, own, "exact_true_box", "exact in the true box")
    kinds = {kind: figures for kind, figures in report.rendered.items() if kind != ALL_KINDS}
    weak += weak_points("rendered plates", kinds, "exact", "exact")
    real = f"""Real crops of the two training folders got their text from the public model `{PUBLIC_READER.name}` (MIT,
        ankandrew/fast-plate-ocr) where its least certain character had at least {SURE_LABEL}: {kept} of {asked}
        crops."""
    agreement = report.agreement
    agreed = (
        f"""On {agreement["plates"]} plates of the validation folders of which the public reader is sure ({SURE}) it
        reads the same text in {number(agreement["exact"])}."""
        if agreement
        else ""
    )
    parts = [
        "# plate-reader\n",
        paragraph(
            f"""Reads the text of a cropped plate: {SLOTS} slots, alphabet `0-9A-Z_` (`_` is padding). Plain
            convolutions, then one learned map a slot of where to look; {millions:.2f} M weights. Licence: MIT."""
        ),
        paragraph(
            f"""Contract (fast-plate-ocr): input `input`, uint8 (n, {HEIGHT}, {WIDTH}, 3), RGB, the crop stretched to it
            with linear interpolation; output `output`, float32 (n, {SLOTS * len(ALPHABET)}), softmax of {SLOTS} slots x
            {len(ALPHABET)} characters. `{READER_NAME}.yaml` beside it is its configuration. It loads in
            `LicensePlateRecognizer` unchanged."""
        ),
        file_table(out, READER_NAME, report.latency_ms),
        latency_note(report.latency_ms),
        f"## int8\n\n{int8_note(report, READER_NAME, 'exactness on validation plates and held-out renderings')}",
        f"## Data\n\n{DATA}",
        paragraph(real if asked else "No real crop was trained on."),
        font_table(),
        "## Measured\n",
        paragraph(
            """`exact`: detector and reader together, a plate that is not found counts as wrong; `exact, true
            box`: the reader alone on the labelled box."""
        ),
        "    python -m models.training.evaluate ../shared/data/openalpr-eu\n",
        *measured,
        f"Rendered plates of a seed that was not trained on ({HELD_OUT.seed}), spoilt as in training:\n\n"
        f"{figure_table(report.rendered, first='kind')}",
        paragraph(agreed),
        f"## Where it fails\n\n{paragraph(f'What was measured and is below {GOOD}:')}",
        "".join(bullet(text) for text in weak) or paragraph("Nothing."),
        paragraph(f"""It has no non-Latin characters, and reads at most {SLOTS} characters."""),
        f"## How to reproduce\n\n{reproduce(report.reader)}",
    ]
    return "\n".join(parts)


def write_cards(report: Report, out: Path) -> None:
    """Write both cards beside the models."""
    (out / "plate-detector.md").write_text(detector_card(report, out))
    (out / f"{READER_NAME}.md").write_text(reader_card(report, out))

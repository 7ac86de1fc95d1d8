"""Model cards, written from the figures that `finish` measured. Needs no PyTorch.

Every sentence that says how well a model does is made from a figure; see `weak_points`.
"""

from __future__ import annotations

import platform
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .choose import ALL_KINDS, KIND_NAMES, LARGEST_INT8_LOSS, NARROWEST_PX
from .contract import ALPHABET, DEFAULT_THRESHOLD, DETECTOR_SIZES, HEIGHT, PUBLIC_READER, READER_NAME, SLOTS, WIDTH
from .folders import UNLABELLED, VALID_TEXTS
from .fonts import PACKAGES
from .manifest_block import INT8, model_files, sha256
from .measure import NIGHT_MEDIAN
from .onnx_cost import multiply_adds, weights
from .plan import DETECTOR_PLATES, HELD_OUT, HELD_OUT_HARD, HELD_OUT_NOTICES, SIGNS, Plan, ReaderRenderings
from .pseudo import SURE as SURE_LABEL
from .tables import Figures, compared_table, number, table

LINE_CHARS = 120
GOOD = 0.9  # groups below it are named under "Where it fails"
DETECTION = ("recall", "false_per_picture")
READING = ("exact", "exact_true_box")
NO_PLATE = {"any": "any text", "sure_0.8": "0.8 and more", "sure_0.9": "0.9 and more"}
"""Figures on what is no plate, and their columns."""

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
            f"{DETECTOR_PLATES.count:,} rendered plates and {SIGNS.count:,} rendered signs, lamps and badges for the "
            "detector; captions",
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
        start: What it began with, as a name; empty for random weights.
    """

    plan: Plan
    steps: int
    minutes: float
    machine: str
    start: str = ""

    def sentence(self) -> str:
        """For the card."""
        begun = f"Begun with the weights {self.start}. " if self.start else ""
        if self.start and not self.steps:
            return f"The weights are {self.start}, as they are."
        if self.plan.crops:
            begun += (
                f"Only the layers behind the trunk were trained further, on {self.plan.crops:,} crops that the trunk "
                f"had seen once, each used {self.steps * self.plan.batch / self.plan.crops:.0f} times. "
            )
        if self.plan.kept:
            begun += (
                f"Each weight is {1 - self.plan.kept:.1f} of the trained one and {self.plan.kept:.1f} of the first. "
            )
        px = self.plan.picture_px
        size = f" pictures of {px} x {px} pixels" if px else ""
        return (
            f"{begun}Trained for {self.steps:,} batches of {self.plan.batch}{size}, seed {self.plan.seed}, in "
            f"{self.minutes:.0f} minutes on {self.machine}."
        )


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """Everything that the detector's card tells.

    Attributes:
        threshold: The score that was chosen and moved onto the default.
        latency_ms: By file name, one core.
        int8: One verdict a model.
        detection: By folder, then by detector, then by group.
        efforts: Its trainings, one after the other.
    """

    threshold: float
    latency_ms: dict[str, float]
    int8: list[Int8Verdict]
    detection: dict[str, dict[str, dict[str, Figures]]]
    efforts: tuple[Effort, ...]


@dataclass(frozen=True, slots=True)
class ReaderReport:
    """Everything that the reader's card tells.

    Attributes:
        latency_ms: By file name, one core.
        int8: Its verdict.
        reading: By folder, then by reader, then by group; plates found by the first detector.
        rendered: By reader, then by kind: exactness on held-out renderings.
        no_plate: By reader: what it says of held-out renderings of what is no plate.
        temperatures: By reader, as fitted.
        precision: By reader: rows of `calibrate.precision_rows` on held-out renderings.
        renderings: What it was trained on.
        real_crops: Real training crops that were asked for and kept.
        efforts: Its training.
    """

    latency_ms: dict[str, float]
    int8: list[Int8Verdict]
    reading: dict[str, dict[str, dict[str, Figures]]]
    rendered: dict[str, dict[str, Figures]]
    no_plate: dict[str, Figures]
    temperatures: dict[str, float]
    precision: dict[str, list[list[str]]]
    renderings: ReaderRenderings
    real_crops: tuple[int, int]
    efforts: tuple[Effort, ...]


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


def int8_note(report: DetectorReport | ReaderReport, prefix: str, what: str) -> str:
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
        f"{number(figures[figure])} {PHRASES.get(group, f'at {group}')} "
        f"({figures.get('texts', figures['plates'])} plates)"
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


def detector_card(report: DetectorReport, out: Path) -> str:
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
        f"## How to reproduce\n\n{reproduce(report.efforts)}",
    ]
    return "\n".join(parts)


def rendered_sentence(rendered: ReaderRenderings) -> str:
    """What the reader was trained on besides real crops."""
    plates = sum(what.count for what in rendered.plates)
    hard = f"""{rendered.hard.count:,} plates that readers get wrong (short, long, two lines, look-alikes, characters
        outside the alphabet) and {rendered.notices.count:,} things that are no plates"""
    more = hard if rendered.hard.count else "none of those that readers get wrong, and nothing that is no plate"
    return f"The reader's own renderings: {plates:,} plates, {more}." if plates else ""


def reader_card(report: ReaderReport, out: Path) -> str:
    """The text of `plate-reader.md`."""
    asked, kept = report.real_crops
    first = next(iter(DETECTOR_SIZES))
    millions = weights(out / f"{READER_NAME}.onnx") / 1e6
    measured, weak = [], []
    for folder, readers in report.reading.items():
        measured.append(f"`{folder}`, plates found by `{first}`:\n\n{compared_table(readers, READING)}")
        own = next(iter(readers.values()))
        weak += weak_points(folder, own, "exact_true_box", "exact in the true box")
    own_name = next(iter(report.rendered))
    kinds = {kind: figures for kind, figures in report.rendered[own_name].items() if kind != ALL_KINDS}
    weak += weak_points("rendered plates", kinds, "exact", "exact")
    real = f"""Real crops of the two training folders got their text from the public model `{PUBLIC_READER.name}` (MIT,
        ankandrew/fast-plate-ocr) where its least certain character had at least {SURE_LABEL}: {kept} of {asked}
        crops."""
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
        paragraph(rendered_sentence(report.renderings)),
        paragraph(real if asked else "No real crop was trained on."),
        font_table(),
        "## Measured\n",
        paragraph(
            f"""`exact`: detector and reader together, a plate that is not found counts as wrong; `exact, true
            box`: the reader alone on the labelled box. The texts of the validation folders were read by eye; their
            digests are in `training/{VALID_TEXTS.name}`. What a person cannot read is left out."""
        ),
        "    python -m models.training.evaluate ../shared/data/rpi-dayride/valid\n",
        *measured,
        paragraph(
            f"""Rendered plates of seeds that were not trained on ({HELD_OUT.seed}; those that readers get wrong:
            {HELD_OUT_HARD.seed}), spoilt as in training:"""
        ),
        compared_table(report.rendered, ("exact",)),
        f"## What is no plate\n\n{no_plate_note(report)}",
        f"## How sure it is\n\n{sure_note(report)}",
        f"## Where it fails\n\n{paragraph(f'What was measured and is below {GOOD}:')}",
        "".join(bullet(text) for text in weak) or paragraph("Nothing."),
        paragraph(f"""It has no non-Latin characters, and reads at most {SLOTS} characters."""),
        f"## How to reproduce\n\n{reproduce(report.efforts)}",
    ]
    return "\n".join(parts)


def no_plate_note(report: ReaderReport) -> str:
    """What readers say where there is no plate."""
    taught = (
        """Where there is no plate, or one that stands on its head, the answer is to be an empty text: all slots are
        padding."""
        if report.renderings.notices.count
        else "It was not taught what is no plate."
    )
    rows = [[name, *(number(figures[key]) for key in NO_PLATE)] for name, figures in report.no_plate.items()]
    return (
        paragraph(
            f"""{taught} Of {HELD_OUT_NOTICES.count} rendered phone numbers, adverts, signs, captions, lamps and
            grilles of a seed that was not trained on ({HELD_OUT_NOTICES.seed}), the share that got a text,
            by how sure it was:"""
        )
        + "\n"
        + table(["reader", *(NO_PLATE[key] for key in NO_PLATE)], rows)
    )


def sure_note(report: ReaderReport) -> str:
    """What a confidence is worth."""
    header = ["at least so sure"]
    for name in report.precision:
        header += [f"{name}: texts", "right"]
    first = next(iter(report.precision.values()))
    rows = [
        [row[0], *(cell for by in report.precision.values() for cell in by[at][1:])] for at, row in enumerate(first)
    ]
    fitted = ", ".join(f"{value} for `{name}`" for name, value in report.temperatures.items())
    return (
        paragraph(
            f"""A text's confidence is the mean over its characters. The agent cools confidences by the manifest's
            temperature. Fitted on the plates of the validation folders, cut as labelled and looser: {fitted}. With
            these, on the rendered plates of the seed {HELD_OUT.seed}, on which nothing was fitted:"""
        )
        + "\n"
        + table(header, rows)
    )


def write_card(out: Path, name: str, text: str) -> None:
    """Write a card beside the models."""
    (out / f"{name}.md").write_text(text)

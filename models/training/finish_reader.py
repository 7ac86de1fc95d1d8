"""From the reader's checkpoint to what ships: files, temperatures, figures, its card and the manifest's entries."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from agent.vision.manifest import MANIFEST_NAME

from . import choose, export, quantise
from .cache import render_one
from .calibrate import answers, fit_temperature, precision_rows, valid_readings
from .cards import Int8Verdict, ReaderReport, reader_card, write_card
from .choose import Reading
from .contract import DETECTOR_SIZES, MODELS, READER_NAME
from .evaluate import evaluate
from .finish import checkpoint, effort
from .folders import VALID_FOLDERS, Text
from .manifest_block import INT8, check_total, model_files, write_manifest
from .measure import open_reader, time_models
from .plan import HELD_OUT, HELD_OUT_HARD, HELD_OUT_NOTICES, NO_RENDERINGS, READER_RENDERINGS, Plan, Renderings
from .progress import say
from .reader_data import notice_crop
from .tables import Figures
from .train_reader import load_start

TEXT_FOLDER = "openalpr-eu"  # has texts; nothing is decided on it
SQUARE = next(iter(DETECTOR_SIZES))


def trained_weights(runs: Path, plan: Plan, start: Path | None) -> Path:
    """A file with what a training made, and `plan.kept` of what it began with.

    Between weights that read plates and ones that also know what is none, the mean of both is better than either: it
    reads as well as the first, and knows nearly as much as the second.

    Raises:
        FileNotFoundError: It was never begun.
        ModelError: `start` holds no weights of this network.
    """
    trained = checkpoint(runs, plan)
    if start is None or not plan.kept:
        return trained
    before = load_start(start).state_dict()
    after = torch.load(trained, map_location="cpu", weights_only=True)["averaged"]
    mean = {
        name: value.lerp(before[name], plan.kept) if value.dtype.is_floating_point else value
        for name, value in after.items()
    }
    out = trained.with_name("exported.pt")
    torch.save({"averaged": mean}, out)
    return out


def export_files(data: Path, weights: Path, out: Path) -> list[Path]:
    """Write the float32 and the int8 file, and the YAML."""
    out.mkdir(parents=True, exist_ok=True)
    say(f"writing {READER_NAME}")
    whole, small = out / f"{READER_NAME}.onnx", out / f"{READER_NAME}{INT8}.onnx"
    export.export_reader(weights, whole)
    quantise.quantise(whole, small, quantise.reader_samples(data))
    for path in (whole, small):
        quantise.halve_weights(path)
    return [whole, small]


def judge_int8(files: Sequence[Path], sets: Sequence[Sequence[Reading]]) -> Int8Verdict:
    """Delete the int8 file if it loses too much on the validation plates or the held-out renderings."""
    whole, small = files
    loss = choose.exactness_loss(sets, whole, small)
    kept = loss <= choose.LARGEST_INT8_LOSS
    say(f"{small.stem}: loses {loss:.4f}, {'kept' if kept else 'not kept'}")
    if not kept:
        small.unlink()
    return Int8Verdict(READER_NAME, round(loss, 4), kept)


def notice_readings(what: Renderings) -> list[Reading]:
    """Rendered things that are no plates as a camera sees them, of a seed that training never used."""
    readings = []
    for number in range(what.count):
        crop = notice_crop(render_one(what, number), np.random.default_rng((what.seed, number, 1)))
        readings.append(Reading("notice", np.ascontiguousarray(crop[..., ::-1]), Text()))
    return readings


def no_plate_figures(reader: Path, notices: Sequence[Reading], *, temperature: float) -> Figures:
    """Which share of things that are no plates gets a text, and a sure one."""
    found = answers(reader, notices)
    sure = found.confidences(temperature)
    return {
        "any": round(float((sure > 0).mean()), 4),
        "sure_0.8": round(float((sure >= 0.8).mean()), 4),
        "sure_0.9": round(float((sure >= 0.9).mean()), 4),
    }


def measure_reading(
    data: Path, detector: Path, readers: Sequence[Path], folders: Sequence[str]
) -> dict[str, dict[str, dict[str, Figures]]]:
    """By folder with texts, by reader, by group; the default reader first."""
    figures: dict[str, dict[str, dict[str, Figures]]] = {}
    for folder in folders:
        say(f"measuring readers on {folder}")
        figures[folder] = {reader.stem: evaluate(data / folder, detector, reader) for reader in readers}
    return figures


def finish_reader(
    data: Path,
    runs: Path,
    public: Path,
    out: Path,
    plan: Plan,
    *,
    start: Path | None = None,
    machine: str | None = None,
    kept: bool = False,
) -> None:
    """From the checkpoint to files, figures, card and manifest.

    Args:
        data: Folder of the labelled folders.
        runs: Where the checkpoint lies; `reader-report.json` is written there.
        public: The public reader, to compare with; may be missing.
        out: Where the models go; the shipped manifest is the base of the one written there.
        plan: Of the training.
        start: What the training began with, where the plan keeps a share of it.
        machine: What trained the reader, for the card; None for what the checkpoint says.
        kept: Also measure on the folder that nothing is decided on.

    Raises:
        FileNotFoundError: The checkpoint, a folder or the fonts are missing.
        ModelError: The files together are too large to ship, or `start` holds no weights of this network.
    """
    files = export_files(data, trained_weights(runs, plan, start), out)
    valid = valid_readings(data)
    rendered, hard = choose.rendered_readings(HELD_OUT), choose.rendered_readings(HELD_OUT_HARD)
    verdict = judge_int8(files, [rendered, valid])
    readers = [path for path in (*files, public) if path.is_file()]
    temperatures = {reader.stem: fit_temperature(answers(reader, valid)) for reader in readers}
    detector = next(path for path in (out / f"{SQUARE}.onnx", MODELS / f"{SQUARE}.onnx") if path.is_file())
    notices = notice_readings(HELD_OUT_NOTICES)
    labels = runs / "reader-labels.json"
    crops = json.loads(labels.read_text()) if labels.exists() else {"asked": 0, "kept": 0}
    trained = effort(runs, plan, machine=machine)
    report = ReaderReport(
        latency_ms=time_models(readers),
        int8=[verdict],
        reading=measure_reading(data, detector, readers, (*VALID_FOLDERS, *([TEXT_FOLDER] if kept else []))),
        rendered={reader.stem: choose.exactness(open_reader(reader), [*rendered, *hard]) for reader in readers},
        no_plate={
            reader.stem: no_plate_figures(reader, notices, temperature=temperatures[reader.stem]) for reader in readers
        },
        temperatures=temperatures,
        precision={
            reader.stem: precision_rows(answers(reader, rendered), temperatures[reader.stem]) for reader in readers
        },
        renderings=READER_RENDERINGS[plan.name] if trained.steps else NO_RENDERINGS,
        real_crops=(crops["asked"], crops["kept"]),
        efforts=(trained,),
    )
    (runs / "reader-report.json").write_text(json.dumps(asdict(report), indent=1))
    write_card(out, READER_NAME, reader_card(report, out))
    write_manifest(out, MODELS / MANIFEST_NAME, temperatures)
    if len(model_files(out)) > len(files):
        say(f"{check_total(out):,} bytes together")

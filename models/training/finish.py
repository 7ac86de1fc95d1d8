"""From checkpoints to what ships: files, figures, cards and the manifest's entries."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from agent.vision.manifest import MANIFEST_NAME

from . import choose, export
from .cards import Effort, Int8Verdict, Report, write_cards
from .contract import (
    DEFAULT_THRESHOLD,
    DETECTOR_SIZES,
    MODELS,
    READER_NAME,
)
from .evaluate import evaluate
from .folders import TEST_FOLDERS, VALID_FOLDERS
from .manifest_block import INT8, check_total, model_files, write_manifest
from .measure import open_reader, time_models
from .plan import DETECTOR_STAGES, DETECTOR_WHOLE, HELD_OUT, READER, Plan
from .progress import say
from .tables import Figures

DETECTOR_SAMPLES, READER_SAMPLES = 160, 400  # training pictures that int8 is calibrated on
TEXT_FOLDER = "openalpr-eu"  # has texts; every plate of it counts, however narrow
SQUARE = next(iter(DETECTOR_SIZES))


def checkpoint(runs: Path, plan: Plan) -> Path:
    """Where a training left off.

    Raises:
        FileNotFoundError: It was never begun.
    """
    path = runs / plan.name / "checkpoint.pt"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such checkpoint; train the {plan.name} first")
    return path


def sweep_thresholds(data: Path, runs: Path) -> choose.Sweep:
    """Every threshold of the trained detector on the validation folders."""
    raw = runs / "threshold.onnx"
    width, height = DETECTOR_SIZES[SQUARE]
    export.export_detector(
        checkpoint(runs, DETECTOR_WHOLE), raw, width=width, height=height, threshold=DEFAULT_THRESHOLD
    )
    return choose.sweep(data, VALID_FOLDERS, raw)


def export_all(data: Path, runs: Path, out: Path, *, threshold: float) -> None:
    """Write every float32 and int8 file; `threshold` becomes the default one."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in DETECTOR_SIZES.items():
        say(f"writing {name}")
        path = out / f"{name}.onnx"
        export.export_detector(checkpoint(runs, DETECTOR_WHOLE), path, width=width, height=height, threshold=threshold)
        samples = export.detector_samples(data, width=width, height=height, count=DETECTOR_SAMPLES)
        export.quantise(path, out / f"{name}{INT8}.onnx", samples)
    say(f"writing {READER_NAME}")
    path = out / f"{READER_NAME}.onnx"
    export.export_reader(checkpoint(runs, READER), path)
    export.quantise(path, out / f"{READER_NAME}{INT8}.onnx", export.reader_samples(data, count=READER_SAMPLES))
    for path in model_files(out):
        export.halve_weights(path)


def judge_int8(data: Path, public: Path, out: Path, rendered: list[choose.Reading]) -> list[Int8Verdict]:
    """Delete int8 files that lose too much on the validation folders or the held-out renderings."""
    folders = [data / folder for folder in VALID_FOLDERS]
    readings = [rendered, choose.sure_readings(folders, public) if public.is_file() else []]
    verdicts = []
    for name in (*DETECTOR_SIZES, READER_NAME):
        whole, small = out / f"{name}.onnx", out / f"{name}{INT8}.onnx"
        if name == READER_NAME:
            loss = choose.exactness_loss(readings, whole, small)
        else:
            loss = choose.recall_loss(folders, whole, small)
        kept = loss <= choose.LARGEST_INT8_LOSS
        say(f"{name}{INT8}: loses {loss:.4f}, {'kept' if kept else 'not kept'}")
        if not kept:
            small.unlink()
        verdicts.append(Int8Verdict(name, round(loss, 4), kept))
    return verdicts


def measure_detection(data: Path, out: Path) -> dict[str, dict[str, dict[str, Figures]]]:
    """By folder, by detector, by group."""
    detectors = [path for path in model_files(out) if not path.name.startswith(READER_NAME)]
    figures: dict[str, dict[str, dict[str, Figures]]] = {}
    for folder in (*VALID_FOLDERS, *TEST_FOLDERS):
        narrowest = 0.0 if folder == TEXT_FOLDER else choose.NARROWEST_PX
        say(f"measuring on {folder}")
        figures[folder] = {path.stem: evaluate(data / folder, path, None, narrowest_px=narrowest) for path in detectors}
    return figures


def measure_reading(data: Path, out: Path, public: Path) -> dict[str, dict[str, dict[str, Figures]]]:
    """By folder with texts, by reader, by group; the default reader first."""
    own = [path for path in model_files(out) if path.name.startswith(READER_NAME)]
    readers = [*own, public] if public.is_file() else own
    figures: dict[str, dict[str, Figures]] = {}
    for reader in readers:
        say(f"measuring {reader.stem} on {TEXT_FOLDER}")
        figures[reader.stem] = evaluate(data / TEXT_FOLDER, out / f"{SQUARE}.onnx", reader)
    return {TEXT_FOLDER: figures}


def effort(runs: Path, plan: Plan, *, machine: str | None) -> Effort:
    """What a checkpoint says of its training; `machine` overrides it."""
    state = torch.load(checkpoint(runs, plan), map_location="cpu", weights_only=True)
    return Effort(
        plan=plan,
        steps=int(state["step"]),
        minutes=float(state["spent_s"]) / 60,
        machine=machine or str(state.get("machine", "a machine that was not recorded")),
    )


def finish(data: Path, runs: Path, public: Path, out: Path, *, machine: str | None = None) -> None:
    """From checkpoints to files, figures, cards and manifest.

    Args:
        data: Folder of the labelled folders.
        runs: Where the checkpoints lie; `report.json` is written there.
        public: The public reader, to compare with; may be missing.
        out: Where the models go; the shipped manifest is the base of the one written there.
        machine: What trained the models, for the cards; None for what the checkpoints say.

    Raises:
        FileNotFoundError: A checkpoint, a folder or the fonts are missing.
        ModelError: The files together are too large to ship.
    """
    trials = sweep_thresholds(data, runs)
    threshold = trials.best()
    say(f"threshold {threshold}, chosen on {' and '.join(trials.folders)}")
    export_all(data, runs, out, threshold=threshold)
    rendered = choose.rendered_readings(HELD_OUT)
    int8 = judge_int8(data, public, out, rendered)
    reader = open_reader(out / f"{READER_NAME}.onnx")
    agreement = None
    if public.is_file():
        sure = choose.sure_readings([data / folder for folder in VALID_FOLDERS], public)
        agreement = choose.exactness(reader, sure)[choose.ALL_KINDS]
    labels = runs / "reader-labels.json"
    crops = json.loads(labels.read_text()) if labels.exists() else {"asked": 0, "kept": 0}
    report = Report(
        threshold=threshold,
        latency_ms=time_models([*model_files(out), *([public] if public.is_file() else [])]),
        int8=int8,
        detection=measure_detection(data, out),
        reading=measure_reading(data, out, public),
        rendered=choose.exactness(reader, rendered),
        agreement=agreement,
        real_crops=(crops["asked"], crops["kept"]),
        detector=tuple(effort(runs, plan, machine=machine) for plan in DETECTOR_STAGES),
        reader=(effort(runs, READER, machine=machine),),
    )
    (runs / "report.json").write_text(json.dumps(asdict(report), indent=1))
    write_cards(report, out)
    write_manifest(out, (MODELS / MANIFEST_NAME).read_text())
    say(f"{check_total(out):,} bytes together")

"""From the detector's checkpoint to what ships: files, figures, its card and the manifest's entries."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch

from agent.vision.manifest import MANIFEST_NAME

from . import choose, export, quantise
from .cards import DetectorReport, Effort, Int8Verdict, detector_card, write_card
from .contract import (
    DEFAULT_THRESHOLD,
    DETECTOR_SIZES,
    MODELS,
    READER_NAME,
)
from .evaluate import evaluate
from .folders import TEST_FOLDERS, VALID_FOLDERS
from .manifest_block import INT8, model_files, write_manifest
from .measure import time_models
from .plan import DETECTOR_STAGES, DETECTOR_WHOLE, Plan
from .progress import say
from .tables import Figures

TEXT_FOLDER = "openalpr-eu"  # every plate of it counts, however narrow
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
    """Write the detector's float32 and int8 files; `threshold` becomes the default one."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (width, height) in DETECTOR_SIZES.items():
        say(f"writing {name}")
        path = out / f"{name}.onnx"
        export.export_detector(checkpoint(runs, DETECTOR_WHOLE), path, width=width, height=height, threshold=threshold)
        samples = quantise.detector_samples(data, width=width, height=height)
        quantise.quantise(path, out / f"{name}{INT8}.onnx", samples)
    for path in detector_files(out):
        quantise.halve_weights(path)


def detector_files(out: Path) -> list[Path]:
    """The detector's ONNX files that are there."""
    return [path for path in model_files(out) if not path.name.startswith(READER_NAME)]


def judge_int8(data: Path, out: Path) -> list[Int8Verdict]:
    """Delete int8 files that lose too much on the validation folders."""
    folders = [data / folder for folder in VALID_FOLDERS]
    verdicts = []
    for name in DETECTOR_SIZES:
        whole, small = out / f"{name}.onnx", out / f"{name}{INT8}.onnx"
        loss = choose.recall_loss(folders, whole, small)
        kept = loss <= choose.LARGEST_INT8_LOSS
        say(f"{name}{INT8}: loses {loss:.4f}, {'kept' if kept else 'not kept'}")
        if not kept:
            small.unlink()
        verdicts.append(Int8Verdict(name, round(loss, 4), kept))
    return verdicts


def measure_detection(data: Path, out: Path) -> dict[str, dict[str, dict[str, Figures]]]:
    """By folder, by detector, by group."""
    figures: dict[str, dict[str, dict[str, Figures]]] = {}
    for folder in (*VALID_FOLDERS, *TEST_FOLDERS):
        narrowest = 0.0 if folder == TEXT_FOLDER else choose.NARROWEST_PX
        say(f"measuring on {folder}")
        figures[folder] = {
            path.stem: evaluate(data / folder, path, None, narrowest_px=narrowest) for path in detector_files(out)
        }
    return figures


def effort(runs: Path, plan: Plan, *, machine: str | None) -> Effort:
    """What a checkpoint says of its training; `machine` overrides it."""
    state = torch.load(checkpoint(runs, plan), map_location="cpu", weights_only=True)
    return Effort(
        plan=plan,
        steps=int(state["step"]),
        minutes=float(state["spent_s"]) / 60,
        machine=machine or str(state.get("machine", "a machine that was not recorded")),
        start=str(state.get("start", "")),
    )


def finish_detector(data: Path, runs: Path, public: Path, out: Path, *, machine: str | None = None) -> None:
    """From checkpoints to files, figures, card and manifest.

    Args:
        data: Folder of the labelled folders.
        runs: Where the checkpoints lie; `detector-report.json` is written there.
        public: The public reader, whose time the card compares with; may be missing.
        out: Where the models go; the shipped manifest is the base of the one written there.
        machine: What trained the models, for the card; None for what the checkpoints say.

    Raises:
        FileNotFoundError: A checkpoint or a folder is missing.
        ModelError: The manifest would be wrong.
    """
    trials = sweep_thresholds(data, runs)
    threshold = trials.best()
    say(f"threshold {threshold}, chosen on {' and '.join(trials.folders)}")
    export_all(data, runs, out, threshold=threshold)
    int8 = judge_int8(data, out)
    report = DetectorReport(
        threshold=threshold,
        latency_ms=time_models([*detector_files(out), *([public] if public.is_file() else [])]),
        int8=int8,
        detection=measure_detection(data, out),
        efforts=tuple(effort(runs, plan, machine=machine) for plan in DETECTOR_STAGES),
    )
    (runs / "detector-report.json").write_text(json.dumps(asdict(report), indent=1))
    write_card(out, "plate-detector", detector_card(report, out))
    write_manifest(out, MODELS / MANIFEST_NAME)

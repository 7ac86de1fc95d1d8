"""Everything from nothing to the files and cards: `python -m models.training.train`.

Stages: render the cache, train the detector, train the reader, then `finish`: choose the threshold
on the validation folders, export, quantise, measure, write the cards. Each stage goes on where it
was stopped. `--only finish` remakes the files from the checkpoints as they are.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from . import export, train_detector, train_reader
from .cache import build_cache
from .cards import write_cards
from .evaluate import evaluate
from .export_names import DEFAULT_THRESHOLD, DETECTOR_SIZES, READER_NAME
from .folders import DEFAULT_DATA, VALID_FOLDERS, load_folder
from .loop import Plan
from .measure import OnnxDetector, OnnxReader, Tally, observe, tally, time_models
from .progress import say
from .reader_data import read_public
from .train_reader import PUBLIC_READER

MODELS = Path(__file__).resolve().parent.parent
MEASURE_FOLDER = "openalpr-eu"  # looked at last, by the cards; nothing is chosen on it
NARROWEST_PX = 24.0  # plates narrower than this count neither for the threshold nor in its cards
THRESHOLDS = tuple(round(0.1 + 0.02 * i, 2) for i in range(40))
MOST_FALSE = 0.05  # boxes a picture that touch no plate, over the validation folders
LARGEST_INT8_LOSS = 0.02  # of recall or exactness; int8 that loses more is not kept
SURE = 0.9  # of the public reader, for the pseudo-labels that compare int8 with float32


def counts_at(folders: list[Path], detector: Path, thresholds: tuple[float, ...]) -> list[list[Tally]]:
    """Per folder, the counts at each threshold for plates of at least `NARROWEST_PX`."""
    model = OnnxDetector(detector)
    rows = []
    for folder in folders:
        seen = observe(load_folder(folder), model, None, threshold=1.0)
        rows.append([tally(seen, threshold=t, narrowest_px=NARROWEST_PX) for t in thresholds])
    return rows


def choose_threshold(folders: list[Path], detector: Path) -> float:
    """The threshold with the best mean of recall less false boxes a picture over the folders."""
    rows = counts_at(folders, detector, THRESHOLDS)
    worth = []
    for index, threshold in enumerate(THRESHOLDS):
        tallies = [row[index] for row in rows]
        gain = [t.found / max(t.plates, 1) - t.false_boxes / max(t.pictures, 1) for t in tallies]
        worth.append((sum(gain) / len(gain), threshold))
    return max(worth)[1]


def pseudo_exact(folders: list[Path], reader: Path, public: Path) -> float:
    """Share of validation plates that the public reader is sure of on which a reader agrees."""
    judge = onnxruntime.InferenceSession(str(public), providers=["CPUExecutionProvider"])
    model, agreed, asked = OnnxReader(reader), 0, 0
    for folder in folders:
        for picture in load_folder(folder):
            image = picture.load_bgr()
            for box in picture.boxes:
                x1, y1, x2, y2 = (int(v) for v in box)
                if x2 - x1 < NARROWEST_PX or y2 - y1 < 8:
                    continue
                crop = np.ascontiguousarray(image[y1:y2, x1:x2, ::-1])
                text, least = read_public(judge, [crop])[0]
                if least >= SURE and len(text) >= 4:
                    asked, agreed = asked + 1, agreed + int(model.read(image, box) == text)
    return agreed / max(asked, 1)


def export_all(data: Path, runs: Path, out: Path) -> dict[str, object]:
    """Write every float32 and int8 file; what was chosen on the way, for the cards."""
    folders = [data / f for f in VALID_FOLDERS]
    detector = runs / "detector" / "checkpoint.pt"
    raw = runs / "threshold.onnx"
    export.export_detector(detector, raw, width=384, height=384, threshold=DEFAULT_THRESHOLD)
    threshold = choose_threshold(folders, raw)
    for name, (width, height) in DETECTOR_SIZES.items():
        export.export_detector(detector, out / f"{name}.onnx", width=width, height=height, threshold=threshold)
        samples = export.detector_samples(data, width=width, height=height, count=160)
        export.quantise(out / f"{name}.onnx", out / f"{name}-int8.onnx", samples)
    export.export_reader(runs / "reader" / "checkpoint.pt", out / f"{READER_NAME}.onnx")
    samples_r = export.reader_samples(data, count=400)
    export.quantise(out / f"{READER_NAME}.onnx", out / f"{READER_NAME}-int8.onnx", samples_r)
    for name in (*DETECTOR_SIZES, READER_NAME):
        export.halve_weights(out / f"{name}.onnx")
        export.halve_weights(out / f"{name}-int8.onnx")
    return {"threshold_before_shift": threshold}


def keep_good_int8(data: Path, public: Path, out: Path) -> dict[str, object]:
    """Delete int8 files that lose too much on the validation folders; the losses by file name."""
    folders = [data / f for f in VALID_FOLDERS]
    losses: dict[str, object] = {}
    for name in (*DETECTOR_SIZES, READER_NAME):
        float_file, int8_file = out / f"{name}.onnx", out / f"{name}-int8.onnx"
        if name == READER_NAME:
            loss = pseudo_exact(folders, float_file, public) - pseudo_exact(folders, int8_file, public)
        else:
            at = (DEFAULT_THRESHOLD,)
            pairs = zip(counts_at(folders, float_file, at), counts_at(folders, int8_file, at), strict=True)
            loss = max((a[0].found - b[0].found) / max(a[0].plates, 1) for a, b in pairs)
        kept = loss <= LARGEST_INT8_LOSS
        losses[name] = {"loss": round(loss, 4), "kept": kept}
        if not kept:
            int8_file.unlink()
    return losses


def measure_all(data: Path, public: Path, out: Path) -> dict[str, object]:
    """Every figure of the cards."""
    square, reader = out / "plate-detector-384.onnx", out / f"{READER_NAME}.onnx"
    figures: dict[str, object] = {}
    plans = [(f, NARROWEST_PX) for f in VALID_FOLDERS] + [
        ("openimages-plates/test", NARROWEST_PX),
        (MEASURE_FOLDER, 0.0),
    ]
    for folder, narrowest in plans:
        shown = [square] if folder.endswith("/test") else sorted(out.glob("plate-detector-*.onnx"))
        for detector in shown:
            row = evaluate(
                data / folder,
                detector,
                reader,
                threshold=DEFAULT_THRESHOLD,
                narrowest_px=narrowest,
                sweep=False,
            )
            figures[f"{folder} {detector.stem}"] = row
    for other in (public, out / f"{READER_NAME}-int8.onnx"):
        if other.exists():
            row = evaluate(
                data / MEASURE_FOLDER,
                square,
                other,
                threshold=DEFAULT_THRESHOLD,
                narrowest_px=0,
                sweep=False,
            )
            figures[f"{MEASURE_FOLDER} {square.stem} with {other.stem}"] = {"all": row["all"]}
    figures["agreement with the public reader"] = {
        "all": {"exact": round(pseudo_exact([data / f for f in VALID_FOLDERS], reader, public), 4)}
    }
    return figures


def finish(data: Path, runs: Path, public: Path, out: Path) -> None:
    """From checkpoints to files, figures and cards."""
    report = export_all(data, runs, out)
    report["int8"] = keep_good_int8(data, public, out)
    files = [*sorted(out.glob("plate-*.onnx")), public]
    report["latency_ms"] = time_models(files)
    report["figures"] = measure_all(data, public, out)
    labels = runs / "reader-labels.json"
    report["real_crops"] = json.loads(labels.read_text()) if labels.exists() else {"asked": 0, "kept": 0}
    for name in ("detector", "reader"):
        state = torch.load(runs / name / "checkpoint.pt", map_location="cpu", weights_only=True)
        report[f"{name}_training"] = {
            "steps": state["step"],
            "minutes": round(state["spent_s"] / 60, 1),
        }
    (runs / "report.json").write_text(json.dumps(report, indent=1))
    write_cards(report, out)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--public-reader", type=Path, default=PUBLIC_READER)
    parser.add_argument("--out", type=Path, default=MODELS)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--detector-minutes", type=float, default=0.0, help="stop the detector's training here")
    parser.add_argument("--reader-minutes", type=float, default=0.0, help="stop the reader's training here")
    parser.add_argument("--only", choices=["detector", "reader", "finish"])
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    start = time.monotonic()
    if args.only in {None, "detector"}:
        build_cache(args.runs / "cache", "plates", count=train_detector.PLATES, seed=1)
        plan = train_detector.PLAN
        plan = Plan(plan.steps, plan.batch, plan.rate, minutes=args.detector_minutes)
        train_detector.train_detector(args.data, args.runs, plan, size=train_detector.SIZE)
    if args.only in {None, "reader"}:
        plan = train_reader.PLAN
        plan = Plan(plan.steps, plan.batch, plan.rate, minutes=args.reader_minutes)
        train_reader.train_reader(args.data, args.runs, args.public_reader, plan)
    if args.only in {None, "finish"}:
        finish(args.data, args.runs, args.public_reader, args.out)
    say(f"done in {(time.monotonic() - start) / 60:.0f} min")


if __name__ == "__main__":
    main()

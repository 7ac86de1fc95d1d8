"""Measures a detector and a reader on any folder with a `labels.jsonl`.

    python -m models.training.evaluate FOLDER [--detector F] [--reader F] [--min-width 24] [--json F]
    python -m models.training.evaluate --latency MODEL... (milliseconds on one core, in one run)

Detection counts at IoU 0.5; a false box touches no plate; a read is exact when its text equals the
label's. Day and night are told apart by brightness (see `measure.is_night`).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from .export_names import DEFAULT_THRESHOLD
from .folders import load_folder
from .measure import Observation, OnnxDetector, OnnxReader, observe, tally, time_models
from .progress import say

MODELS = Path(__file__).resolve().parent.parent
WIDTH_BINS_PX = ((0, 24), (24, 64), (64, 96), (96, 160), (160, 10_000))
SWEEP = (0.1, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)

Figures = dict[str, float | int]


def evaluate(
    folder: Path,
    detector: Path,
    reader: Path | None,
    *,
    threshold: float,
    narrowest_px: float,
    sweep: bool,
) -> dict[str, Figures]:
    """All figures of one folder, by group.

    Args:
        folder: With `labels.jsonl`.
        detector: ONNX file in the end-to-end contract.
        reader: ONNX file in fast-plate-ocr's contract, or None.
        threshold: The detector's.
        narrowest_px: Narrower plates are left out of every figure but `width`.
        sweep: Give recall and false boxes at other thresholds too; for validation folders.
    """
    model = OnnxReader(reader) if reader else None
    seen = observe(load_folder(folder), OnnxDetector(detector), model, threshold=threshold)

    def night(observation: Observation) -> bool:
        return observation.night

    def day(observation: Observation) -> bool:
        return not observation.night

    out = {"all": tally(seen, threshold=threshold, narrowest_px=narrowest_px).figures()}
    for name, counts in (("day", day), ("night", night)):
        out[name] = tally(seen, threshold=threshold, narrowest_px=narrowest_px, counts=counts).figures()
    for low, high in WIDTH_BINS_PX:
        row = tally(seen, threshold=threshold, narrowest_px=low, widest_px=high)
        if row.plates:
            figures = row.figures()
            del figures["pictures"], figures["false_per_picture"]
            out[f"width {low}-{high} px"] = figures
    for value in SWEEP if sweep else ():
        out[f"threshold {value}"] = tally(seen, threshold=value, narrowest_px=narrowest_px).figures()
    return out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure a detector and a reader on a labelled folder.")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--detector", type=Path, default=MODELS / "plate-detector-384.onnx")
    parser.add_argument("--reader", type=Path, default=MODELS / "plate-reader.onnx")
    parser.add_argument("--threshold", type=float, default=DEFAULT_THRESHOLD)
    parser.add_argument("--min-width", type=float, default=0.0, help="narrowest plate that counts, pixels")
    parser.add_argument("--sweep", action="store_true", help="other thresholds as well")
    parser.add_argument("--latency", type=Path, nargs="+", help="time these models instead")
    parser.add_argument("--json", type=Path, help="write the figures here too")
    args = parser.parse_args()
    if args.latency:
        figures: object = time_models(args.latency)
    elif args.folder:
        figures = evaluate(
            args.folder,
            args.detector,
            args.reader if args.reader.exists() else None,
            threshold=args.threshold,
            narrowest_px=args.min_width,
            sweep=args.sweep,
        )
    else:
        parser.error("give a folder with labels.jsonl, or --latency MODEL...")
    text = json.dumps(figures, indent=1)
    say("\n".join(json.dumps({k: v}) for k, v in figures.items()) if isinstance(figures, dict) else text)
    if args.json:
        args.json.write_text(text + "\n")


if __name__ == "__main__":
    main()

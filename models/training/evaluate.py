"""Measures a detector and a reader on any folder with a `labels.jsonl`.

    python -m models.training.evaluate FOLDER [--detector F] [--reader F] [--min-width 24] [--json F]
    python -m models.training.evaluate --latency MODEL... (milliseconds on one core, in one run)

Detection counts at IoU 0.5; a false box touches no plate; boxes on plates that the labels leave out
(`unlabelled.jsonl`) are counted apart; a read is exact when its text equals the
label's. Day and night are told apart by brightness (see `measure.is_night`). Needs no PyTorch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from agent.errors import ModelError

from .contract import DEFAULT_THRESHOLD, DETECTOR_SIZES, MODELS, READER_NAME
from .folders import load_folder
from .measure import Observation, observe, open_detector, open_reader, tally, time_models
from .progress import say
from .tables import Figures, figure_table, table

WIDTH_BINS_PX = ((0, 24), (24, 64), (64, 96), (96, 160), (160, 10_000))
SWEEP = tuple(round(0.1 + 0.05 * step, 2) for step in range(17))


def evaluate(
    folder: Path,
    detector: Path,
    reader: Path | None,
    *,
    threshold: float = DEFAULT_THRESHOLD,
    narrowest_px: float = 0.0,
    sweep: bool = False,
) -> dict[str, Figures]:
    """All figures of one folder, by group.

    Args:
        folder: With `labels.jsonl`.
        detector: ONNX file in the end-to-end contract.
        reader: ONNX file in fast-plate-ocr's contract, or None.
        threshold: The detector's.
        narrowest_px: Narrower plates are left out of every figure but those by width.
        sweep: Give recall and false boxes at other thresholds too; for validation folders.

    Raises:
        FileNotFoundError: The folder's list or a picture is missing.
        ModelError: A model is missing or has another contract.
    """
    model = open_reader(reader) if reader else None
    seen = observe(load_folder(folder), open_detector(detector), model, threshold=threshold)

    def night(observation: Observation) -> bool:
        return observation.night

    def day(observation: Observation) -> bool:
        return not observation.night

    out = {"all": tally(seen, threshold=threshold, narrowest_px=narrowest_px).figures()}
    for name, counts in (("day", day), ("night", night)):
        row = tally(seen, threshold=threshold, narrowest_px=narrowest_px, counts=counts)
        if row.pictures:
            out[name] = row.figures()
    for low, high in WIDTH_BINS_PX:
        row = tally(seen, threshold=threshold, narrowest_px=low, widest_px=high)
        if row.plates:
            figures = row.figures()
            of_pictures = {"pictures", "false_per_picture", "unlabelled_per_picture"}
            out[width_name(low, high)] = {name: value for name, value in figures.items() if name not in of_pictures}
    for value in SWEEP if sweep else ():
        at = tally(seen, threshold=value, narrowest_px=narrowest_px).figures()
        out[f"threshold {value}"] = {k: v for k, v in at.items() if not k.startswith("exact")}
    return out


def width_name(low: int, high: int) -> str:
    """What a range of plate widths is called."""
    return f"{low} to {high} px wide" if (low, high) != WIDTH_BINS_PX[-1] else f"{low} px wide and more"


def write_json(figures: object, where: str | None) -> None:
    """Write figures to a file, or print them for `-`."""
    text = json.dumps(figures, indent=1)
    if where == "-":
        say(text)
    elif where is not None:
        Path(where).write_text(f"{text}\n")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure a detector and a reader on a labelled folder.")
    parser.add_argument("folder", type=Path, nargs="?", help="with labels.jsonl")
    parser.add_argument("--detector", type=Path, default=MODELS / f"{next(iter(DETECTOR_SIZES))}.onnx")
    parser.add_argument("--reader", type=Path, default=MODELS / f"{READER_NAME}.onnx")
    parser.add_argument("--threshold", type=float, default=DEFAULT_THRESHOLD, help="of the detector (%(default)s)")
    parser.add_argument("--min-width", type=float, default=0.0, help="narrowest plate that counts, pixels")
    parser.add_argument("--sweep", action="store_true", help="other thresholds as well; the reader is left out of them")
    parser.add_argument("--latency", type=Path, nargs="+", metavar="MODEL", help="time these models instead")
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON; - prints them instead of the table")
    args = parser.parse_args()
    if bool(args.latency) == bool(args.folder):
        parser.error("give a folder with labels.jsonl, or --latency MODEL...")
    try:
        if args.latency:
            times = time_models(args.latency)
            write_json(times, args.json)
            shown = table(["model", "ms, one core"], [[name, f"{ms:.2f}"] for name, ms in times.items()])
        else:
            figures = evaluate(
                args.folder,
                args.detector,
                args.reader,
                threshold=args.threshold,
                narrowest_px=args.min_width,
                sweep=args.sweep,
            )
            write_json(figures, args.json)
            shown = figure_table(figures)
    except (OSError, ValueError, KeyError, ModelError) as error:
        parser.exit(1, f"evaluate: {error}\n")
    if args.json != "-":
        say(shown.rstrip())


if __name__ == "__main__":
    main()

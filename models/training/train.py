"""Everything from nothing to the files and cards: `make train`, or `python -m models.training.train`.

Stages: render the caches, train the detector, train the reader, then `finish`: choose the threshold
on the validation folders, export, quantise, measure, write cards and manifest. Each stage goes on
where it was stopped. `--only finish` remakes the files from the checkpoints as they are, `--only finish-reader` the
reader's alone.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import replace
from pathlib import Path

import torch

from agent.errors import ModelError

from .contract import MODELS, PUBLIC_READER
from .estimate import estimate
from .finish import finish_detector, sweep_thresholds
from .finish_reader import finish_reader
from .folders import DEFAULT_DATA, TEST_FOLDERS, TRAIN_FOLDERS, VALID_FOLDERS, load_folder
from .fonts import font_files, how_to_install, missing_packages
from .loop import pick_device
from .plan import DETECTOR_STAGES, READER, READER_HEAD, READER_TUNED, Plan, share_minutes
from .progress import say
from .train_detector import train_detector
from .train_reader import train_reader

STAGES = ("detector", "reader", "finish", "finish-detector", "finish-reader")


def parse() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description="Train the built-in models, from nothing to files and cards.",
        epilog="Example: python -m models.training.train --only finish --out build/models",
    )
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA, help="folder of labelled folders (%(default)s)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="caches and checkpoints (%(default)s)")
    parser.add_argument("--public-reader", type=Path, default=PUBLIC_READER, help="labels real crops; may be missing")
    parser.add_argument("--out", type=Path, default=MODELS, help="where the models go (%(default)s)")
    parser.add_argument("--reader-from", type=Path, help="tune the reader from these weights instead of training it")
    parser.add_argument(
        "--head-only", action="store_true", help="of --reader-from, train only the last layers: minutes"
    )
    cores = len(os.sched_getaffinity(0))
    half = max(cores // 2, 1)
    drawing = max(cores - 1, 1) if pick_device().type == "cuda" else half  # a GPU waits for crops, a core trains
    # More threads than idle cores make PyTorch many times slower: each operation waits for the slowest.
    parser.add_argument("--threads", type=int, default=half, help="of PyTorch; half of the cores (%(default)s)")
    parser.add_argument("--workers", type=int, default=drawing, help="processes that draw pictures (%(default)s)")
    parser.add_argument("--detector-minutes", type=float, default=0.0, help="end the detector's training here")
    parser.add_argument("--reader-minutes", type=float, default=0.0, help="end the reader's training here")
    parser.add_argument("--machine", help="what trained the models, for the cards; default: what the checkpoints say")
    parser.add_argument("--only", choices=STAGES, help="one stage")
    parser.add_argument(
        "--kept", action="store_true", help="measure the reader on openalpr-eu too, on which nothing is decided"
    )
    parser.add_argument("--sweep", action="store_true", help="only print every threshold on the validation folders")
    args = parser.parse_args()
    if args.head_only and not args.reader_from:
        parser.error("--head-only: needs --reader-from, the weights whose trunk stays as it is")
    return args


def reader_plan(args: argparse.Namespace) -> Plan:
    """How the reader is trained."""
    tuned = READER_HEAD if args.head_only else READER_TUNED
    return replace(tuned if args.reader_from else READER, minutes=args.reader_minutes)


def check_inputs(data: Path) -> None:
    """See that fonts and data are there before hours are spent.

    Raises:
        FileNotFoundError: They are not; the message says how to get them.
    """
    font_files("plate")
    if missing := missing_packages():
        say(f"without the fonts of some packages the renderings differ; on Debian: {how_to_install(missing)}")
    for folder in (*TRAIN_FOLDERS, *VALID_FOLDERS, *TEST_FOLDERS):
        load_folder(data / folder)


def run(args: argparse.Namespace) -> None:
    """Run the stages that were asked for.

    Raises:
        FileNotFoundError: Fonts, data or a checkpoint are missing.
        ModelError: The files together are too large to ship.
    """
    torch.set_num_threads(args.threads)
    check_inputs(args.data)
    if args.sweep:
        say(sweep_thresholds(args.data, args.runs).table().rstrip())
        return
    detector = share_minutes(DETECTOR_STAGES, args.detector_minutes)
    reader = reader_plan(args)
    say(f"training on {pick_device()}, threads: {args.threads}; stop and start again as you like")
    if args.only is None:
        say(estimate(args.runs, detector, reader, workers=args.workers).line())
    if args.only in {None, "detector"}:
        train_detector(args.data, args.runs, detector, workers=args.workers)
    if args.only in {None, "reader"}:
        train_reader(args.data, args.runs, args.public_reader, reader, workers=args.workers, start=args.reader_from)
    if args.only in {None, "finish", "finish-detector"}:
        finish_detector(args.data, args.runs, args.public_reader, args.out, machine=args.machine)
    if args.only in {None, "finish", "finish-reader"}:
        finish_reader(
            args.data,
            args.runs,
            args.public_reader,
            args.out,
            reader,
            start=args.reader_from,
            machine=args.machine,
            kept=args.kept,
        )


def main() -> None:
    """Command line."""
    args = parse()
    start = time.monotonic()
    try:
        run(args)
    except KeyboardInterrupt:
        raise SystemExit("train: stopped; the same command goes on from here") from None
    except (FileNotFoundError, ModelError) as error:
        raise SystemExit(f"train: {error}") from None
    say(f"done in {(time.monotonic() - start) / 60:.0f} min")


if __name__ == "__main__":
    main()

"""The plain fast-alpr loop that plateseal is compared with: `ALPR.predict` on every frame, nothing else.

Owns: building `fast_alpr.ALPR` on the same model files, as its users get it (its own onnxruntime defaults, that is all
providers and as many threads as there are cores), and making vehicles of its texts. The loop has no notion of a
vehicle, so its texts are grouped by majority: over each span in which the truth has a plate in view, and elsewhere
over each run of frames with text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from agent.bench.truth import EDGE_FRAMES, MISREAD_CHANGES, Score, Truth, in_view, vehicle_of
from agent.config.models import VisionConfig
from agent.errors import ModelMissingError
from agent.records import Image
from agent.vision.alignment import changes
from agent.vision.manifest import DetectorEntry, ModelLibrary, open_library
from agent.vision.session import as_path, hush, session_options

MIN_FRAMES_OF_A_DUPLICATE: Final = 2
"""A further text of one vehicle counts as a duplicate from two frames on, as plateseal's default takes two looks."""

Predict = Callable[[Image], list[str]]
"""Reads one frame: the texts, as `ALPR.predict` returns them."""


def open_plain_loop(config: VisionConfig, *, threads: int | None = None) -> tuple[Predict, tuple[str, str]]:
    """Build the loop on the models that plateseal would use.

    The library takes square detectors only; where plateseal's choice is oblong, it gets the first square one there is.

    Args:
        config: Where the models are, and their names.
        threads: Threads inside one inference; left out, as many as onnxruntime takes by itself.

    Returns:
        The loop's step, and the names of detector and reader.

    Raises:
        ModelMissingError: A model is not there.
        ModelMismatchError: A file is not the one that the manifest names.
    """
    from fast_alpr import ALPR  # noqa: PLC0415  its memory would count for the other contestants
    from fast_alpr.default_ocr import DefaultOCR  # noqa: PLC0415  likewise
    from open_image_models.detection.core.yolo_v9.inference import YoloV9Detector  # noqa: PLC0415  likewise

    class _File:
        """A detector from a file; the library's own adapter takes names of its hub only."""

        def __init__(self, entry: DetectorEntry, onnx: bytes) -> None:
            with as_path(onnx) as path:
                self._detector = YoloV9Detector(
                    path, ("License Plate",), conf_thresh=entry.confidence, sess_options=options
                )

        def predict(self, frame: Image) -> Any:  # noqa: ANN401
            return self._detector.predict(frame)

    options = None if threads is None else session_options(threads)
    hush("open_image_models.detection.core.yolo_v9.inference", "fast_plate_ocr.inference.plate_recognizer")
    library = open_library(config.models)
    detector, reader = _square_detector(library, config.detector), library.reader(config.reader)
    checked = library.load(reader)
    with as_path(checked.onnx) as onnx, as_path(checked.config) as yaml:
        ocr = DefaultOCR(model_path=onnx, config_path=yaml, sess_options=options)
    alpr = ALPR(detector=_File(detector, library.load(detector).onnx), ocr=ocr)

    def predict(image: Image) -> list[str]:
        return [found.ocr.text for found in alpr.predict(image) if found.ocr is not None and found.ocr.text]

    return predict, (detector.name, reader.name)


def score_sightings(truth: Truth, sightings: Iterable[tuple[int, Sequence[str]]]) -> Score:
    """Compare the loop's texts with the truth.

    While a vehicle's plate is in view, the text that came most often counts, among equals the one that came first, and
    every further one that came on two frames. Those within one edit of the vehicle's text are its own: the most
    frequent of them says whether it is exact, the others are duplicates. The rest are spurious. Elsewhere each run of
    frames with text is one spurious reading.
    """
    texts: dict[int, Counter[str]] = {}
    outside: list[int] = []
    for frame, found in sightings:
        near = in_view(truth, frame)
        for text in found if near else ():
            owner = vehicle_of(truth, text, frame)
            texts.setdefault(near[0] if owner is None else owner, Counter())[text] += 1
        if found and not near:
            outside.append(frame)
    own = {index: _counted(counts, truth.passes[index].text) for index, counts in texts.items()}
    read = [one for one, _ in own.values() if one]
    exact = sum(one[:1] == [truth.passes[index].text] for index, (one, _) in own.items())
    return Score(
        vehicles=len(truth.passes),
        exact=exact,
        misread=len(read) - exact,
        missed=len(truth.passes) - len(read),
        duplicates=sum(len(one) - 1 for one in read),
        spurious=count_runs(outside) + sum(len(others) for _, others in own.values()),
    )


def _counted(counts: Counter[str], text: str) -> tuple[list[str], list[str]]:
    """Return the texts that count of those that came while a vehicle with this text was in view: its own, and others.

    The most frequent ones come first.
    """
    most, *further = counts.most_common()
    counting = [most[0], *(one for one, count in further if count >= MIN_FRAMES_OF_A_DUPLICATE)]
    own = [one for one in counting if changes(one, text) <= MISREAD_CHANGES]
    return own, [one for one in counting if one not in own]


def count_runs(frames: Sequence[int]) -> int:
    """Count runs of frame numbers, in order, with gaps of at most `EDGE_FRAMES`."""
    return sum(place == 0 or frame - frames[place - 1] > EDGE_FRAMES for place, frame in enumerate(frames))


def _square_detector(library: ModelLibrary, name: str | None) -> DetectorEntry:
    chosen = library.detector(name)
    for entry in (chosen, *library.manifest.detector):
        if entry.input_wh[0] == entry.input_wh[1] and library.is_present(entry):
            return entry
    raise ModelMissingError(f"fast-alpr takes square detectors only; {chosen.name} is not, and no other is there")

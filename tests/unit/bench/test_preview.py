"""Annotated pictures: which frames, what names, what is drawn, and that masks hold."""

from __future__ import annotations

from datetime import UTC, datetime

import cv2
import numpy as np

from agent.bench.preview import BOX_BGR, MOST_HELD, MOST_PICTURES, MOST_SAMPLES, Preview, annotate
from agent.config.models import MaskConfig, VisionConfig
from agent.records import Detection, Frame, Image, Picture, PlateRead
from agent.vision.pipeline import PlatePipeline
from agent.vision.regions import PAINT_BGR, Regions
from agent.vision.settings import PipelineSettings
from tests.fakes.vision import CannedDetector, CannedReader, plate

NOISE = np.random.default_rng(3).integers(0, 255, (240, 320, 3)).astype(np.uint8)
BOX = Detection(100, 100, 180, 130, 0.9)


def frame(sequence: int, image: Image = NOISE) -> Frame:
    """Return one frame of 10 a second."""
    return Frame("cam", sequence, datetime(2026, 3, 1, tzinfo=UTC), sequence / 10, Picture.of(image.copy()))


def look(sequence: int, text: str = "AB123CD") -> PlateRead:
    """Return a look at `BOX`."""
    taken = frame(sequence)
    crop = taken.image[BOX.y1 : BOX.y2, BOX.x1 : BOX.x2].copy()
    return PlateRead(sequence, taken.captured_at, taken.monotonic_s, taken.wh, BOX, plate(text), crop)


def is_read(picture: Image) -> bool:
    """Whether the box in a picture has the colour of one that was read."""
    return bool(np.abs(picture[BOX.y1, BOX.x1 + 5 : BOX.x2 - 5].mean(axis=0) - BOX_BGR).max() < 60)


class Shelf:
    """Where pictures go."""

    def __init__(self) -> None:
        """Hold nothing yet."""
        self.files: dict[str, Image] = {}
        self.preview = Preview(self.put)

    def put(self, name: str, content: bytes) -> None:
        """Take a file, which must be new."""
        assert name not in self.files
        self.files[name] = np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), np.uint8)


def test_a_frame_waits_for_its_looks_and_is_drawn_once() -> None:
    """They are read later; of frames from which nothing was read one a second is written."""
    shelf = Shelf()
    shelf.preview.begin("/somewhere/road clip.mp4")
    for sequence in range(6):
        shelf.preview.frame(frame(sequence), [BOX] if sequence < 4 else [])
    shelf.preview.read([look(2), look(3)])
    assert shelf.files == {}
    shelf.preview.finish()
    assert list(shelf.files) == [f"road_clip.mp4-00000{number}.jpg" for number in (0, 2, 3)]
    assert shelf.files["road_clip.mp4-000002.jpg"].shape == NOISE.shape
    assert [is_read(picture) for picture in shelf.files.values()] == [False, True, True]


def test_what_is_held_is_bounded() -> None:
    """The oldest frames go first; a look that comes too late is not drawn."""
    shelf = Shelf()
    shelf.preview.begin("a")
    shelf.preview.frame(frame(0), [BOX])
    for sequence in range(1, MOST_HELD + 1):
        shelf.preview.frame(frame(sequence), [BOX])
    shelf.preview.frame(frame(MOST_HELD + 1), [])
    shelf.preview.read([look(0), look(MOST_HELD)])
    shelf.preview.finish()
    assert list(shelf.files) == [f"a-{number:06}.jpg" for number in range(0, MOST_HELD + 1, 10)]
    assert [name for name, picture in shelf.files.items() if is_read(picture)] == [f"a-{MOST_HELD:06}.jpg"]


def test_frames_without_a_plate_are_shown_one_a_second() -> None:
    """For whoever wonders why nothing is read; the next source has its own, and there is a bound."""
    shelf = Shelf()
    for source in "ab":
        shelf.preview.begin(source)
        for sequence in range(25):
            shelf.preview.frame(frame(sequence), [])
    shelf.preview.finish()
    assert list(shelf.files) == [f"{source}-{number:06}.jpg" for source in "ab" for number in (0, 10, 20)]
    shelf.preview.begin("c")
    for second in range(MOST_SAMPLES + 5):
        shelf.preview.frame(frame(second * 10, np.zeros((8, 8, 3), np.uint8)), [])
    shelf.preview.finish()
    assert sum(name.startswith("c-") for name in shelf.files) == MOST_SAMPLES


def test_sources_of_one_name_do_not_meet() -> None:
    """Each has its own, and hostile names become harmless ones."""
    shelf = Shelf()
    for source in ("x/a.png", "y/a.png", "rtsp://host:554", "../..", "ä ö"):
        shelf.preview.begin(source)
        shelf.preview.picture(frame(0), [look(0)])
    names = list(shelf.files)
    assert names[:3] == ["a.png-000000.jpg", "a.png-2-000000.jpg", "host_554-000000.jpg"]
    assert all(name.isascii() and "/" not in name and not name.startswith(".") for name in names)
    assert len(set(names)) == 5


def test_a_camera_does_not_fill_the_disk() -> None:
    """Beyond the bound pictures are counted, not written."""
    shelf, tiny = Shelf(), np.zeros((8, 8, 3), np.uint8)
    shelf.preview.begin("cam")
    for sequence in range(MOST_PICTURES + 3):
        shelf.preview.picture(frame(sequence, tiny), [])
    assert len(shelf.files) == MOST_PICTURES
    assert shelf.preview.left_out == {"cam": 3}


def test_labels_stay_inside_the_picture() -> None:
    """At every edge and corner; the picture itself is not touched."""
    black = np.zeros((60, 90, 3), np.uint8)
    for box in (Detection(0, 0, 20, 8, 0.5), Detection(70, 52, 90, 60, 0.5), Detection(0, 0, 90, 60, 0.5)):
        drawn = annotate(black, [box], [])
        assert drawn.shape == black.shape
        assert drawn.any()
    assert not black.any()


def test_masked_pixels_stay_masked() -> None:
    """What a pipeline shows has its masks painted over, in streams and in stills."""
    config = VisionConfig(mask=(MaskConfig(polygon=((0.0, 0.0), (0.5, 0.0), (0.5, 0.3), (0.0, 0.3))),))
    shelf = Shelf()
    script = [[BOX]] * 6 + [[]] * 30
    pipeline = PlatePipeline(
        CannedDetector(script),
        CannedReader(plate("AB123CD")),
        PipelineSettings(regions=Regions(config.mask, config.lane)),
        watcher=shelf.preview,
    )
    shelf.preview.begin("stream")
    for sequence in range(len(script)):
        pipeline.process(frame(sequence))
    shelf.preview.begin("still")
    still = frame(0)
    shelf.preview.picture(pipeline.paint(still), pipeline.read_picture(still))
    assert len(shelf.files) >= 3
    for picture in shelf.files.values():
        masked = picture[8:64, 8:150]
        assert np.abs(masked.astype(int) - PAINT_BGR).max() < 12
        assert picture[180:, 200:].std() > 20

"""What training draws from: labelled folders, caches that go on where they stopped, pictures with true boxes."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from models.training.cache import CHUNK, build_cache, render_one
from models.training.contract import GRID, HEIGHT, PAD_INDEX, SLOTS, UNKNOWN_LABEL, WIDTH, encode_text
from models.training.detector_data import (
    MOST_PLATES,
    SMALLEST_PLATE_PX,
    Composer,
    Scene,
    between_pixels,
    load_corrections,
    overlaps,
    paint_over,
    paste,
    transform_boxes,
    visible_boxes,
)
from models.training.folders import TRAIN_FOLDERS, Text, clip_frames, load_folder
from models.training.foreign import readable
from models.training.plan import Renderings
from models.training.pseudo import RealCrop, is_label
from models.training.reader_data import CropComposer, Sources, centre_cells, crop_corners, draw_bars
from models.training.render import Plate
from tests.toy_models import render_clip

SIZE = 192


def cache_files(folder: Path) -> tuple[Path, Path]:
    """Index and pixels of the one cache in a folder."""
    return next(folder.glob("*.index.jsonl")), next(folder.glob("*.pixels"))


def grey_scene(box: tuple[float, float, float, float] = (300, 200, 400, 230)) -> Scene:
    """A scene with one plate."""
    image = np.full((400, 640, 3), 120, np.uint8)
    return Scene(image, np.array([box], np.float32), (0.4, 0.8), stretched=False, pink=False)


@pytest.fixture
def composer(tmp_path: Path, some_fonts: None) -> Composer:
    """A composer on one scene, few plates and few signs."""
    plates = build_cache(tmp_path, Renderings("plates", 12, 1), workers=0)
    signs = build_cache(tmp_path, Renderings("signs", 12, 2), workers=0)
    return Composer([[grey_scene()]], plates, signs)


@pytest.mark.usefixtures("some_fonts")
def test_a_cache_holds_what_is_rendered(tmp_path: Path) -> None:
    """Every plate of a cache is that of its number and seed, and a second build changes no file."""
    what = Renderings("plates", 9, 4)
    cache = build_cache(tmp_path, what, workers=0)
    assert len(cache) == 9
    for number in range(9):
        stored, drawn = cache.plate(number), render_one(what, number)
        assert np.array_equal(stored.image, drawn.image)
        assert (stored.box, stored.text, stored.kind) == (drawn.box, drawn.text, drawn.kind)
        assert np.allclose(np.array(stored.centres), np.array(drawn.centres), atol=0.06)
    before = [path.read_bytes() for path in cache_files(tmp_path)]
    build_cache(tmp_path, what, workers=0)
    assert [path.read_bytes() for path in cache_files(tmp_path)] == before


@pytest.mark.usefixtures("some_fonts")
@pytest.mark.parametrize("lost_bytes", [1, 60, 2000])
def test_a_cache_that_was_stopped_goes_on(tmp_path: Path, lost_bytes: int) -> None:
    """Index cut anywhere, pixels cut later: the finished cache is the same, byte for byte."""
    what = Renderings("signs", 24, 6)
    build_cache(tmp_path, what, workers=0)
    index, pixels = cache_files(tmp_path)
    whole = index.read_bytes(), pixels.read_bytes()
    index.write_bytes(whole[0][:-lost_bytes])
    pixels.write_bytes(whole[1] + b"half a rendering")
    build_cache(tmp_path, what, workers=0)
    assert (index.read_bytes(), pixels.read_bytes()) == whole


@pytest.mark.usefixtures("some_fonts")
def test_signs_have_no_text_and_a_box_of_the_whole(tmp_path: Path) -> None:
    """Nothing in a sign is a plate."""
    sign = build_cache(tmp_path, Renderings("signs", 1, 2), workers=0).plate(0)
    assert sign.text == ""
    assert sign.box == (0, 0, sign.image.shape[1], sign.image.shape[0])
    assert CHUNK > 1


def test_folders_give_boxes_and_texts(tmp_path: Path) -> None:
    """Bare boxes and boxes with a text; the picture is read as BGR."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((4, 6, 3), (1, 2, 3), np.uint8))
    rows = [
        {"file": "a.png", "plates": [[1, 2, 3, 4], {"box": [0, 0, 2, 1.5], "text": "AB12"}]},
        {"file": "gone.png", "plates": []},
    ]
    (tmp_path / "labels.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    first, gone = load_folder(tmp_path)
    assert first.boxes == ((1.0, 2.0, 3.0, 4.0), (0.0, 0.0, 2.0, 1.5))
    assert first.texts == (Text(), Text("AB12"))
    assert first.load_bgr()[0, 0].tolist() == [1, 2, 3]
    with pytest.raises(FileNotFoundError, match=r"gone\.png"):
        gone.load_bgr()


def test_a_folder_without_labels_is_named(tmp_path: Path) -> None:
    """The error says which file is missing."""
    with pytest.raises(FileNotFoundError, match=r"labels\.jsonl: no such file"):
        load_folder(tmp_path)


def test_clips_give_every_nth_frame(tmp_path: Path) -> None:
    """A clip of 42 frames gives 4 of them at every 12th; a missing clip none."""
    clip = render_clip(tmp_path / "clip.mp4", ["AB12CD"])
    assert len(clip_frames(clip.clip, 12)) == 4
    assert clip_frames(tmp_path / "none.mp4", 12) == []


def test_boxes_follow_an_affine_map() -> None:
    """Twice as large and moved; a mirrored box keeps x1 < x2."""
    boxes = np.array([[1, 2, 3, 5]], np.float32)
    assert transform_boxes(boxes, np.array([[2, 0, 10], [0, 2, 20]], np.float32)).tolist() == [[12, 24, 16, 30]]
    assert transform_boxes(boxes, np.array([[-1, 0, 0], [0, 1, 0]], np.float32)).tolist() == [[-3, 2, -1, 5]]
    assert transform_boxes(boxes[:0], np.eye(2, 3, dtype=np.float32)).shape == (0, 4)


def test_boxes_mostly_outside_or_too_narrow_are_no_targets() -> None:
    """Half of the area must be in the picture, and it must be wide enough."""
    inside, cut, outside, narrow = (
        np.array(box, np.float32)
        for box in ([10, 10, 50, 20], [-10, 0, 30, 10], [-30, 0, 10, 10], [5, 5, 5 + SMALLEST_PLATE_PX / 2, 9])
    )
    kept = visible_boxes([inside, cut, outside, narrow], SIZE)
    assert kept.tolist() == [[10, 10, 50, 20], [0, 0, 30, 10]]
    assert visible_boxes([], SIZE).shape == (0, 4)
    assert len(visible_boxes([inside] * 30, SIZE)) == MOST_PLATES


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.0])
def test_a_warp_puts_things_where_their_boxes_go(scale: float) -> None:
    """The middle of a grey square and of its box are one place, however small it is made."""
    image = np.zeros((240, 240), np.uint8)
    image[100:132, 40:88] = 200
    soft = cv2.blur(image, (9, 9))  # no edge falls between two samples
    matrix = np.array([[scale, 0, 7.3], [0, scale, 3.1]])
    box = transform_boxes(np.array([[40, 100, 88, 132]], np.float32), matrix)[0]
    seen = np.asarray(cv2.warpAffine(soft, between_pixels(matrix), (300, 480)), np.float64)
    y, x = (
        np.average(np.arange(side) + 0.5, weights=seen.sum(axis)) for side, axis in zip(seen.shape, (1, 0), strict=True)
    )
    assert [x, y] == pytest.approx([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2], abs=0.05)


def test_overlap_has_a_margin() -> None:
    """Two pixels apart overlap at a margin of three, not at one."""
    one, two = np.array([0, 0, 10, 10], np.float32), np.array([12, 0, 20, 10], np.float32)
    assert overlaps(one, [two])
    assert not overlaps(one, [two], 1.0)


def test_a_plate_is_pasted_where_its_box_says() -> None:
    """A white plate on black: the pixels that changed are those of the box that is returned."""
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    plate = Plate(np.full((40, 120, 3), 255, np.uint8), (0, 0, 120, 40), "A", "plain")
    quad = np.array([[50, 60], [130, 64], [128, 92], [52, 88]], np.float32)
    box = paste(canvas, plate, quad, np.random.default_rng(0))
    assert box.tolist() == [50, 60, 130, 92]
    ys, xs = np.nonzero(canvas.any(2))
    assert abs(xs.min() - 50) <= 2
    assert abs(xs.max() - 130) <= 2
    assert abs(ys.min() - 60) <= 2
    assert abs(ys.max() - 92) <= 2


def test_training_pictures_are_deterministic(composer: Composer) -> None:
    """The same seed gives the same picture and boxes; boxes lie in it."""
    for seed in range(12):
        image, boxes = composer.compose(np.random.default_rng(seed), SIZE)
        again, boxes_again = composer.compose(np.random.default_rng(seed), SIZE)
        assert np.array_equal(image, again)
        assert np.array_equal(boxes, boxes_again)
        assert image.shape == (SIZE, SIZE, 3)
        assert image.dtype == np.uint8
        assert boxes.dtype == np.float32
        assert ((boxes >= 0) & (boxes <= SIZE)).all()
        assert (boxes[:, 2] - boxes[:, 0] >= SMALLEST_PLATE_PX).all()


def test_training_crops_are_deterministic(tmp_path: Path, some_fonts: None) -> None:
    """The same seed gives the same crop, text and cells; a real crop has no known cells."""
    plates = build_cache(tmp_path, Renderings("plates", 12, 1), workers=0)
    real = RealCrop(np.full((60, 150, 3), 90, np.uint8), (15, 12, 135, 48), "REAL1")
    composer = CropComposer(Sources([plates], real=[real]))
    texts = set()
    for seed in range(40):
        crop, text, cells = composer.compose(np.random.default_rng(seed))
        again, text_again, cells_again = composer.compose(np.random.default_rng(seed))
        assert np.array_equal(crop, again)
        assert (text, cells) == (text_again, cells_again)
        assert crop.shape == (HEIGHT, WIDTH, 3)
        assert len(cells) == SLOTS
        known = [cell for cell in cells if cell >= 0]
        assert len(known) == (0 if text == "REAL1" else len(text))
        assert all(cell < GRID[0] * GRID[1] for cell in known)
        texts.add(text)
    assert "REAL1" in texts
    assert len(texts) > 5


def test_what_is_no_plate_has_no_text(tmp_path: Path, some_fonts: None) -> None:
    """Renderings of other things, surroundings and plates on their heads: no text, and no cells."""
    plates, notices = (build_cache(tmp_path, Renderings(kind, 6, 1), workers=0) for kind in ("plates", "notices"))
    grey = np.full((HEIGHT, WIDTH, 3), 99, np.uint8)
    composer = CropComposer(Sources([plates], notices=[notices], surroundings=[grey]))
    drawn = [composer.compose(np.random.default_rng(seed))[1:] for seed in range(120)]
    assert {0} == {sum(cell >= 0 for cell in cells) for text, cells in drawn if not text}
    assert 8 <= sum(not text for text, _ in drawn) <= 45


def test_bars_stand_beside_a_plate_and_never_in_it() -> None:
    """Where there is room; a plate that fills its crop gets none."""
    tight = np.array([[1, 0], [127, 0], [127, 63], [1, 63]], np.float32)
    loose = np.array([[30, 10], [98, 10], [98, 54], [30, 54]], np.float32)
    drawn = 0
    for seed in range(30):
        crop = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
        draw_bars(crop, tight, np.random.default_rng(seed))
        assert (crop == 77).all()
        draw_bars(crop, loose, np.random.default_rng(seed))
        assert (crop[:, 34:95] == 77).all()
        drawn += int((crop != 77).any())
    assert drawn > 10


def test_a_character_outside_the_alphabet_has_a_label_of_its_own() -> None:
    """What a reader says of it is to be unsure, not one of its own characters."""
    assert readable("AБ-1") == "A?1"
    assert encode_text("A?1")[:3] == [10, UNKNOWN_LABEL, 1]


def test_cells_are_those_of_the_characters() -> None:
    """Through the identity: the top left pixel is in the first cell, the bottom right one in the last."""
    cells = centre_cells(((0.0, 0.0), (WIDTH - 1.0, HEIGHT - 1.0)), np.eye(3))
    assert cells == [0, GRID[0] * GRID[1] - 1] + [-1] * (SLOTS - 2)


def test_crop_corners_lie_about_the_crop() -> None:
    """A plate fills about half of its crop or more, of any proportions; corners stay clockwise from the top left."""
    for seed in range(50):
        corners = crop_corners(4.0, np.random.default_rng(seed))
        assert np.ptp(corners[:, 0]) > 0.45 * WIDTH
        assert np.ptp(corners[:, 1]) > 0.45 * HEIGHT
        assert corners[0, 0] < corners[1, 0]
        assert corners[0, 1] < corners[3, 1]


def test_texts_become_padded_labels() -> None:
    """Digits come before letters, padding last; a text that is too long is cut."""
    assert encode_text("0A") == [0, 10] + [PAD_INDEX] * (SLOTS - 2)
    assert len(encode_text("A" * (SLOTS + 3))) == SLOTS


@pytest.mark.parametrize(
    ("text", "least", "taken"),
    [("ABC123", 0.9, True), ("ABC123", 0.8, False), ("AB1", 0.99, False), ("AB_123", 0.99, False)],
)
def test_pseudo_labels_need_a_sure_and_whole_text(text: str, least: float, taken: bool) -> None:
    """Unsure, short, or with a hole: no label."""
    assert is_label(text, least, sure=0.85) is taken


def test_corrections_name_boxes_of_training_pictures_only() -> None:
    """Nothing that is measured on is corrected, and every box has an inside."""
    corrections = load_corrections()
    assert corrections
    for name, correction in corrections.items():
        assert name.rsplit("/", 1)[0] in TRAIN_FOLDERS
        boxes = correction.unlabelled + correction.no_plates
        assert boxes
        assert all(x1 < x2 and y1 < y2 for x1, y1, x2, y2 in boxes)


def test_painting_over_takes_a_plate_away_and_nothing_else() -> None:
    """A white box on grey becomes grey; far from it no pixel changes."""
    image = np.full((60, 120, 3), 120, np.uint8)
    image[20:30, 40:80] = 255
    image[50:, 100:] = 7
    painted = paint_over(image, [[40, 20, 80, 30]])
    assert int(painted[20:30, 40:80].max()) < 130
    assert np.array_equal(painted[45:], image[45:])
    assert np.array_equal(paint_over(image, []), image)


def test_what_is_no_plate_is_cut_out_with_what_is_around_it() -> None:
    """The cut holds the thing, has no text, and keeps inside the picture."""
    scene = grey_scene()
    badges = np.array([[0, 0, 20, 10], [630, 390, 640, 400]], np.float32)
    first, last = Scene(scene.image, scene.boxes, scene.scales, False, False, badges).cut_no_plates()
    assert first.text == last.text == ""
    assert first.image.shape == (14, 27, 3)
    assert last.image.shape == (13, 13, 3)

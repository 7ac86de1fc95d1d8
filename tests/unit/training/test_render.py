"""The renderer: the same seed gives the same plate, and what it says of a plate is where it says it is."""

from __future__ import annotations

import numpy as np
import pytest

from models.training import foreign
from models.training.contract import SLOTS
from models.training.fonts import ALPHABET, font_files
from models.training.foreign import (
    ABSENT,
    CYRILLIC,
    FOREIGN,
    UNKNOWN,
    foreign_faces,
    foreign_masks,
    readable,
    with_foreign,
)
from models.training.formats import LAYOUTS
from models.training.hard_formats import HARD_LAYOUTS
from models.training.notices import render_notice
from models.training.render import Plate, blend, fill_pattern, line_cells, render_plate
from models.training.signs import SIGNS, overlay_caption, render_sign
from models.training.strokes import SEEDS, stroke_face

DRAWN = set(ALPHABET) | set(" -.o|")
EVERY_LAYOUT = (*LAYOUTS, *HARD_LAYOUTS)
PLATES = 150


@pytest.fixture
def plates(some_fonts: None) -> list[Plate]:
    """Plates of many kinds."""
    return [render_plate(np.random.default_rng((5, number))) for number in range(PLATES)]


@pytest.mark.parametrize("layout", EVERY_LAYOUT, ids=lambda layout: layout.name)
def test_patterns_give_texts_of_the_alphabet(layout: object) -> None:
    """Every pattern of a kind fills with characters that are drawn, and reads as 2 to 10 of the alphabet."""
    assert layout in EVERY_LAYOUT
    chosen = next(one for one in EVERY_LAYOUT if one is layout)
    drawable = DRAWN | FOREIGN if chosen.name.startswith("foreign") else DRAWN
    rng = np.random.default_rng(1)
    for pattern in chosen.patterns:
        for _ in range(20):
            drawn = fill_pattern(pattern, chosen, rng)
            assert set(drawn) <= drawable
            assert 2 <= len(readable(drawn)) <= SLOTS
            assert drawn.count("|") <= 1


@pytest.mark.usefixtures("some_fonts")
def test_hard_plates_have_a_label_for_every_character() -> None:
    """Short, long, two lines and foreign: one centre a character; foreign ones are unknown."""
    hard = [render_plate(np.random.default_rng((6, number)), HARD_LAYOUTS) for number in range(PLATES)]
    lengths = {len(plate.text) for plate in hard}
    assert {2, 3, 9, 10} <= lengths <= set(range(2, SLOTS + 1))
    for plate in hard:
        assert set(plate.text) <= set(ALPHABET) | {UNKNOWN}
        assert len(plate.centres) == len(plate.text)
        assert UNKNOWN not in plate.text or plate.kind.startswith("foreign")


@pytest.mark.usefixtures("some_fonts")
def test_a_character_that_a_font_lacks_is_not_drawn() -> None:
    """Pillow's own font has no character beyond ASCII: its sign for a missing one is not taken for one."""
    path = font_files("plate")[0]
    assert foreign_masks(path) == {}
    assert foreign_faces("AB") == font_files("plate")
    assert foreign_faces(CYRILLIC[0]) == ()


@pytest.mark.usefixtures("some_fonts")
def test_a_foreign_character_is_as_high_as_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However high a font draws it, dots and all."""
    path = font_files("plate")[1]
    inks = {"\u00d6": np.full((90, 40), 255, np.uint8), ABSENT: np.full((50, 30), 255, np.uint8)}
    monkeypatch.setattr(foreign, "_ink", lambda _, character: inks.get(character, inks[ABSENT]))
    foreign_masks.cache_clear()
    face = with_foreign(path)
    foreign_masks.cache_clear()
    assert face.masks["\u00d6"].shape[0] == face.masks["H"].shape[0]
    assert FOREIGN & face.masks.keys() == {"\u00d6"}


@pytest.mark.usefixtures("some_fonts")
def test_notices_are_pictures_of_many_proportions() -> None:
    """Boards with writing, windows of them, slats, signs; the same seed gives the same pixels."""
    notices = [render_notice(np.random.default_rng((7, number))) for number in range(60)]
    assert np.array_equal(notices[3], render_notice(np.random.default_rng((7, 3))))
    assert all(notice.ndim == 3 and notice.dtype == np.uint8 and min(notice.shape[:2]) >= 4 for notice in notices)
    ratios = [notice.shape[1] / notice.shape[0] for notice in notices]
    assert min(ratios) < 2
    assert max(ratios) > 4


@pytest.mark.usefixtures("some_fonts")
def test_the_same_seed_gives_the_same_plate() -> None:
    """Pixels, box, text and centres are functions of the seed; another seed gives another plate."""
    one, two, other = (render_plate(np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(one.image, two.image)
    assert (one.box, one.text, one.kind, one.centres) == (two.box, two.text, two.kind, two.centres)
    assert one.text != other.text


def test_texts_are_of_the_alphabet_and_fit_the_slots(plates: list[Plate]) -> None:
    """A label that the reader cannot say would be trained in vain."""
    assert len(plates) == PLATES
    for plate in plates:
        assert 1 <= len(plate.text) <= SLOTS
        assert set(plate.text) <= set(ALPHABET)


def test_boxes_lie_in_the_image_and_hold_the_characters(plates: list[Plate]) -> None:
    """The box is inside the picture; every character's centre is inside the box, one for each character."""
    assert len(plates) == PLATES
    for plate in plates:
        height, width = plate.image.shape[:2]
        x1, y1, x2, y2 = plate.box
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        assert len(plate.centres) == len(plate.text)
        assert all(x1 <= x <= x2 and y1 <= y <= y2 for x, y in plate.centres)


def test_characters_are_drawn_where_their_centres_are(plates: list[Plate]) -> None:
    """Around each centre the picture is not of one colour: there is ink."""
    assert len(plates) == PLATES
    for plate in plates:
        for x, y in plate.centres:
            near = plate.image[max(int(y) - 16, 0) : int(y) + 17, max(int(x) - 12, 0) : int(x) + 13]
            assert np.ptp(near.astype(int), axis=(0, 1)).max() > 20, plate.kind


def test_many_kinds_are_drawn(plates: list[Plate]) -> None:
    """No kind has all the weight."""
    assert len({plate.kind for plate in plates}) > len(LAYOUTS) // 2


@pytest.mark.usefixtures("some_fonts")
@pytest.mark.parametrize("draw", list(dict.fromkeys(SIGNS)), ids=lambda draw: draw.__name__)
def test_signs_are_pictures_and_deterministic(draw: object) -> None:
    """Each kind of sign is uint8 RGB, and the same for the same seed."""
    sign = next(one for one in SIGNS if one is draw)
    for seed in range(10):
        image = sign(np.random.default_rng(seed))
        assert image.dtype == np.uint8
        assert image.ndim == 3
        assert image.shape[2] == 3
        assert min(image.shape[:2]) > 4
        assert np.array_equal(image, sign(np.random.default_rng(seed)))


@pytest.mark.usefixtures("some_fonts")
def test_any_sign_may_be_drawn() -> None:
    """The mix is deterministic too."""
    assert np.array_equal(render_sign(np.random.default_rng(8)), render_sign(np.random.default_rng(8)))


@pytest.mark.usefixtures("some_fonts")
def test_captions_change_the_picture_in_place() -> None:
    """A caption is written into the picture, which keeps its size."""
    for seed in range(10):
        image = np.full((192, 192, 3), 100, np.uint8)
        overlay_caption(image, np.random.default_rng(seed))
        assert image.shape == (192, 192, 3)
        assert (image != 100).any()


def test_blend_drops_what_is_outside() -> None:
    """A mask that hangs over the edge paints only the canvas; one wholly outside paints nothing."""
    canvas = np.zeros((4, 4, 3), np.uint8)
    full = np.full((3, 3), 255, np.uint8)
    blend(canvas, full, (-2, -2), (10, 20, 30))
    assert canvas[0, 0].tolist() == [10, 20, 30]
    assert canvas.sum() == 60
    blend(canvas, full, (9, 9), (1, 1, 1))
    assert canvas.sum() == 60


def test_cells_of_a_line_follow_each_other() -> None:
    """Two characters of width 10 and a gap of 2: edges at 0 and 12, the end at 22."""
    assert line_cells("AB", [10.0, 10.0], 2.0, 5.0) == [0.0, 12.0, 22.0]


def test_stroke_faces_have_every_character_in_the_frame_that_faces_have() -> None:
    """All masks of a face have the same rows, and the ink of an H reaches from cap line to base line."""
    assert SEEDS > 37
    for seed in range(0, SEEDS, 37):
        face = stroke_face(seed)
        assert set(face.masks) == set(ALPHABET)
        rows = {mask.shape[0] for mask in face.masks.values()}
        margin = (rows.pop() - face.cap_px) // 2
        assert not rows
        inked = np.flatnonzero(face.masks["H"].max(1) > 127)
        assert abs(inked[0] - margin) <= 1
        assert abs(inked[-1] - (margin + face.cap_px - 1)) <= 1


def test_stroke_faces_differ_and_repeat() -> None:
    """The same seed draws the same pixels; two seeds draw another 8; no two characters of a face are the same."""
    assert np.array_equal(stroke_face(3).masks["8"], stroke_face.__wrapped__(3).masks["8"])
    assert stroke_face(3).masks["8"].shape != stroke_face(4).masks["8"].shape or (
        not np.array_equal(stroke_face(3).masks["8"], stroke_face(4).masks["8"])
    )
    drawn = [mask.tobytes() for character, mask in stroke_face(3).masks.items() if character not in "0O"]
    assert len(set(drawn)) == len(drawn)

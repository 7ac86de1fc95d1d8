"""Pictures that are converted when somebody looks at them, and the frames that carry them."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from agent.records import Frame, Image, Picture

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
IMAGE = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def test_a_picture_is_converted_when_it_is_first_looked_at_and_once() -> None:
    """Its size and its brightness are known before; what comes out is read-only."""
    conversions = []

    def convert() -> Image:
        conversions.append(1)
        return IMAGE.copy()

    frame = Frame("cam", 0, NOW, 0.0, Picture((6, 4), convert, luma=lambda: IMAGE[..., 0]))
    assert frame.wh == (6, 4)
    assert (frame.picture.luma == IMAGE[..., 0]).all()
    assert not conversions
    assert (frame.image == IMAGE).all()
    assert frame.image is frame.picture.bgr
    assert not frame.image.flags.writeable
    assert len(conversions) == 1


def test_the_brightness_of_a_picture_without_its_own_is_green() -> None:
    """Of pixels that are BGR already, and of a conversion that is put off."""
    for picture in (Picture.of(IMAGE.copy()), Picture((6, 4), IMAGE.copy)):
        assert picture.wh == (6, 4)
        assert (picture.luma == IMAGE[..., 1]).all()


def test_pixels_that_are_there_become_read_only() -> None:
    """Whoever made them cannot change them under somebody who looks."""
    image = IMAGE.copy()
    Picture.of(image)
    assert not image.flags.writeable


@pytest.mark.parametrize("image", [np.zeros((4, 6), np.uint8), np.zeros((4, 6, 4), np.uint8), np.zeros((4, 6, 3))])
def test_what_is_no_picture_is_refused(image: Image) -> None:
    """At once where the pixels are there, and else when they are made."""
    with pytest.raises(ValueError, match="expected uint8"):
        Picture.of(image)
    late = Picture((6, 4), lambda: image)
    with pytest.raises(ValueError, match="expected uint8"):
        _ = late.bgr


def test_a_frame_needs_a_time_with_its_zone_and_shows_no_pixels() -> None:
    """What is printed of a frame goes to logs."""
    with pytest.raises(ValueError, match="aware"):
        Frame("cam", 0, NOW.replace(tzinfo=None), 0.0, Picture.of(IMAGE.copy()))
    assert "array" not in repr(Frame("cam", 0, NOW, 0.0, Picture.of(IMAGE.copy())))

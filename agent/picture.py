"""Pixels: what a decoder hands out, converted no earlier than somebody looks. Pure: no file, no network, no clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

if TYPE_CHECKING:
    # Upload, receiver and the owner's commands have no pictures: a fifth or more of their start went into NumPy.
    import numpy as np
    import numpy.typing as npt

Image: TypeAlias = "npt.NDArray[np.uint8]"
"""uint8, shape (H, W, 3), BGR."""
Plane: TypeAlias = "npt.NDArray[np.uint8]"
"""uint8, shape (H, W): one number a pixel."""
SAMPLES_ACROSS: Final = 160
"""Pixels of a picture's sample across its longer side. A readable plate, 60 of 1280 pixels or more, is then 8 wide, and
its vehicle 30 and more."""
_T = TypeVar("_T", bound="np.generic")


class Picture:
    """One captured picture, which is converted to BGR when somebody first looks at it.

    Decoders deliver brightness and colour apart, and making BGR of them costs as much as decoding. Whoever needs the
    brightness alone (the motion gate, the watch for frozen cameras) takes `luma`, and a picture that nobody looks at
    otherwise is never converted. It is looked at by one thread at a time.
    """

    __slots__ = ("_convert", "_image", "_luma", "_plane", "_sample", "wh")

    def __init__(
        self, wh: tuple[int, int], convert: Callable[[], Image], *, luma: Callable[[], Plane] | None = None
    ) -> None:
        """Keep the way to the pixels.

        Args:
            wh: Width and height, pixels.
            convert: Returns the picture in BGR. It is called once at most, at any later time and from another thread,
                and must not fail: a source hands out only what it has decoded.
            luma: Returns the brightness without a conversion, once at most. If left out, green is taken for it, which
                is most of it.
        """
        self.wh = wh
        self._convert = convert
        self._luma = luma
        self._image: Image | None = None
        self._plane: Plane | None = None
        self._sample: Plane | None = None

    @classmethod
    def of(cls, image: Image) -> Picture:
        """Return the picture of pixels that are BGR already; they become read-only.

        Raises:
            ValueError: Another shape or dtype than an image has.
        """
        check_image(image)
        image.flags.writeable = False
        return cls((image.shape[1], image.shape[0]), lambda: image)

    @property
    def bgr(self) -> Image:
        """The pixels: uint8, shape (H, W, 3), BGR, read-only.

        Raises:
            ValueError: The conversion made something else.
        """
        if self._image is None:
            image = self._convert()
            check_image(image)
            image.flags.writeable = False
            self._image = image
        return self._image

    @property
    def luma(self) -> Plane:
        """The brightness: uint8, shape (H, W); not to be written to."""
        if self._plane is None:
            self._plane = self.bgr[..., 1] if self._luma is None else self._luma()
        return self._plane

    @property
    def sample(self) -> Plane:
        """A small picture of the brightness, about 14,000 pixels of it; not to be written to.

        It is copied when it is first asked for. A source asks at once, while the decoder's pixels are still in the
        processor's cache: fetching them later, from another core, takes many times as long.
        """
        if self._sample is None:
            self._sample = every_nth(self.luma).copy()
        return self._sample


def every_nth(plane: npt.NDArray[_T]) -> npt.NDArray[_T]:
    """Return a view of every nth pixel, about 160 of them across; no resizing, which would read every pixel."""
    return plane[_grid(plane.shape)]


@lru_cache(maxsize=64)
def _grid(shape: tuple[int, ...]) -> tuple[slice, ...]:
    step = max(round(max(shape) / SAMPLES_ACROSS), 1)
    return tuple(slice(min(step // 2, side - 1), None, step) for side in shape)


def check_image(image: Image) -> None:
    """Check that pixels are a picture.

    Raises:
        ValueError: Another shape or dtype than an image has.
    """
    if image.dtype != "uint8" or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"expected uint8 (H, W, 3), got {image.dtype} {image.shape}")

"""A camera that OpenCV reads: V4L2 and GStreamer."""

from __future__ import annotations

import numpy as np

from agent.capture.opencv import check_size, cv2
from agent.errors import SourceLostError
from agent.records import Picture


class OpenCvStream:
    """An open camera."""

    lost = 0
    """OpenCV does not tell."""
    wall_s = None
    """Nor this."""

    def __init__(self, capture: cv2.VideoCapture, *, name: str) -> None:
        """Take a capture that was just opened; `name` is what the camera is called in messages.

        Raises:
            SourceLostError: It was not.
        """
        self._capture = capture
        self._name = name
        if not capture.isOpened():
            capture.release()
            raise SourceLostError(f"{name}: the camera cannot be opened, or another program has it")

    def grab(self) -> float | None:
        """Wait for the next frame and return its time in the stream, seconds; 0 where there is no such clock.

        Raises:
            SourceLostError: The camera stopped delivering.
        """
        try:
            came = self._capture.grab()
        except cv2.error:
            came = False
        if not came:
            raise SourceLostError(f"{self._name}: the camera stopped delivering")
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def picture(self) -> Picture:
        """Return the frame that was grabbed last, converted: OpenCV forgets it with the next one.

        Raises:
            SourceLostError: It cannot be decoded.
            SourceError: It has an absurd size.
        """
        try:
            done, image = self._capture.retrieve()
        except cv2.error:
            done, image = False, None
        if not done or image is None:
            raise SourceLostError(f"{self._name}: a frame cannot be decoded")
        check_size(image.shape[1], image.shape[0], where=self._name)
        return Picture.of(np.asarray(image, dtype=np.uint8))

    def close(self) -> None:
        """Let the camera go."""
        self._capture.release()

"""From a passage to the plaintext that is sealed."""

from __future__ import annotations

from typing import Final

import cv2

from agent import __version__
from agent.config.models import CameraConfig
from agent.errors import InferenceError
from agent.records import ClockState, Image, Passage, Plaintext
from agent.wire.plaintext import MAX_TEXT_CHARS

THOUSANDTHS: Final = 1000
MICRODEGREES: Final = 1_000_000


def describe(
    passage: Passage,
    camera: CameraConfig,
    *,
    clock_state: ClockState,
    detector_digest: bytes,
    reader_digest: bytes,
) -> Plaintext:
    """Write down one passage as its owner will read it.

    Raises:
        InferenceError: The crop cannot be encoded, or the text is longer than any plate's.
    """
    if len(passage.text) > MAX_TEXT_CHARS:
        raise InferenceError(f"a text of {len(passage.text)} characters, at most {MAX_TEXT_CHARS} are allowed")
    best = passage.best
    position = camera.position
    return Plaintext(
        camera=camera.camera_id,
        captured_at=best.captured_at,
        clock=clock_state,
        text=passage.text,
        confidences=tuple(_thousandths(share) for share in passage.confidences),
        votes=passage.votes,
        region=passage.region,
        detector_confidence=_thousandths(best.detection.confidence),
        box=best.detection.xyxy,
        frame_sequence=best.sequence,
        frame_wh=best.frame_wh,
        first_seen=passage.first_seen,
        last_seen=passage.last_seen,
        direction=passage.direction,
        crop=encode_jpeg(best.crop, quality=camera.vision.jpeg_quality) if camera.vision.crop else b"",
        detector_digest=detector_digest,
        reader_digest=reader_digest,
        agent_version=__version__,
        site=camera.site,
        position=None if position is None else (_microdegrees(position[0]), _microdegrees(position[1])),
        lane=passage.lane,
        seen=passage.seen,
        format=passage.format,
    )


def encode_jpeg(image: Image, *, quality: int) -> bytes:
    """Encode a picture in memory.

    Args:
        image: uint8, shape (h, w, 3), BGR.
        quality: 1 to 100.

    Raises:
        InferenceError: The encoder refused.
    """
    done, buffer = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise InferenceError(f"a picture of {image.shape[1]}x{image.shape[0]} cannot be encoded as JPEG")
    return bytes(buffer)


def _thousandths(share: float) -> int:
    return min(max(round(share * THOUSANDTHS), 0), THOUSANDTHS)


def _microdegrees(degrees: float) -> int:
    return round(degrees * MICRODEGREES)

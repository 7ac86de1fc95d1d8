#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless): a frame that FFmpeg decoded cannot be kept unconverted and converted later.
# CAP_PROP_CONVERT_RGB = 0 sounds like "the raw frame": of a yuv420p stream it gives the brightness alone, and the colours are
# gone, with a warning about an unsupported format for each frame. So a program that drops most frames pays for the
# conversion to BGR of all of them, or sees grey. (FFmpeg's own bindings hand out all three planes.) Seen:
#   converted: (240, 320, 3)
#   not converted: (240, 320), of the (360, 320) bytes of a yuv420p frame
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$scratch"
OPENCV_LOG_LEVEL=ERROR venv/bin/python - <<'END'
import cv2
import numpy as np

out = cv2.VideoWriter("blue.mp4", cv2.VideoWriter_fourcc(*"mp4v"), 25, (320, 240))
for _ in range(5):
    out.write(np.full((240, 320, 3), (255, 0, 0), np.uint8))
out.release()


def first(convert):
    video = cv2.VideoCapture("blue.mp4", cv2.CAP_FFMPEG)
    assert video.set(cv2.CAP_PROP_CONVERT_RGB, convert)
    found, picture = video.read()
    assert found
    return picture


converted, raw = first(1), first(0)
print(f"converted: {converted.shape}")
print(f"not converted: {raw.shape}, of the {(240 * 3 // 2, 320)} bytes of a yuv420p frame")
assert converted.shape == (240, 320, 3)
assert raw.shape == (240, 320) and raw.std() < 2, "one plane: the blue cannot be had back from it"
END

#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless): after one damaged packet `read()` says False once, and then goes on.
# False is the only sign of a recording's end too, so the loop that every tutorial has (`if not ok: break`) drops the rest
# of the clip without a word, here 62 of 100 pictures. PyAV raises InvalidDataError for that packet only. Seen:
#   whole: 100 x True, then False for ever
#   one of 100 packets damaged: 38 x True, 1 x False, 54 x True, then False for ever
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$scratch"
OPENCV_FFMPEG_LOGLEVEL=-8 venv/bin/python - 2>/dev/null <<'END'
from itertools import groupby
from pathlib import Path

import av
import cv2
import numpy as np

with av.open("whole.mp4", "w") as out:
    stream = out.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt, stream.gop_size = 320, 240, "yuv420p", 10
    stream.codec_context.thread_count = 1
    for number in range(100):
        picture = np.full((240, 320, 3), 128, np.uint8)
        picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    out.mux(stream.encode())

with av.open("whole.mp4") as file:
    packets = sorted((packet.pts, packet.pos, packet.size) for packet in file.demux(video=0) if packet.size)
_, start, size = packets[40]
data = bytearray(Path("whole.mp4").read_bytes())
data[start : start + size] = b"\xff" * size
Path("damaged.mp4").write_bytes(data)


def said(path):
    video = cv2.VideoCapture(path)
    return [(ok, len(list(run))) for ok, run in groupby(video.read()[0] for _ in range(200))]


for path in ("whole.mp4", "damaged.mp4"):
    print(path, ", ".join(f"{count} x {ok}" for ok, count in said(path)))
assert said("whole.mp4") == [(True, 100), (False, 100)]
before, gap, after, end = said("damaged.mp4")
assert before[0] and gap == (False, 1) and after[0] and after[1] > 50 and not end[0]

errors = pictures = 0
with av.open("damaged.mp4") as file:
    for packet in file.demux(video=0):
        try:
            pictures += len(packet.decode())
        except av.error.InvalidDataError:
            errors += 1
print(f"PyAV: {pictures} pictures, {errors} error")
assert errors == 1 and pictures > 90
END

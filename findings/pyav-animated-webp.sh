#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): an animated WebP is opened as one stream of WebP, and none of its frames can be decoded.
# The wheel has a demuxer and a decoder of that name, and a still picture decodes. Of an animated one the whole file comes as
# one packet, which the decoder calls invalid data: a good file looks damaged. OpenCV decodes all frames of it. Seen:
#   still.webp: codec webp, 1 frame; OpenCV 1
#   moving.webp: codec webp, InvalidDataError; OpenCV 8
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import av
import cv2
import numpy as np

animation = cv2.Animation()
animation.frames = [np.full((120, 160, 3), 30 * number, np.uint8) for number in range(8)]
animation.durations = [100] * 8
assert cv2.imwriteanimation("moving.webp", animation)
assert cv2.imwrite("still.webp", animation.frames[0])


def came(path):
    with av.open(path) as file:
        stream = file.streams.video[0]
        try:
            count = sum(1 for _ in file.decode(stream))
            return stream.codec_context.name, f"{count} frame"
        except av.error.FFmpegError as error:
            return stream.codec_context.name, type(error).__name__


for path, by_pyav, by_opencv in (("still.webp", "1 frame", 1), ("moving.webp", "InvalidDataError", 8)):
    codec, seen = came(path)
    frames = len(cv2.imreadanimation(path)[1].frames)
    print(f"{path}: codec {codec}, {seen}; OpenCV {frames}")
    assert (codec, seen, frames) == ("webp", by_pyav, by_opencv)
END

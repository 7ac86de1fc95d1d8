#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless): `read()` of interlaced video says True and gives something that is not the picture.
# The frames of an interlaced H.264 clip come as arrays with another content; the same pictures coded progressively come
# right, and PyAV reads both right. Nothing that a program could ask tells: isOpened() and every read() are True. Seen:
#   progressive: 25 x True, every picture right
#   interlaced: 25 x True, 0 pictures right
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$scratch"
OPENCV_FFMPEG_LOGLEVEL=-8 venv/bin/python - 2>/dev/null <<'END'
import av
import cv2
import numpy as np

AV_CODEC_FLAG_INTERLACED_DCT, AV_CODEC_FLAG_INTERLACED_ME = 1 << 18, 1 << 29


def pictures():
    for number in range(25):
        picture = np.full((240, 320, 3), 200, np.uint8)
        picture[:, 8 * number : 8 * number + 40] = (0, 0, 255)
        yield picture


def write(path, interlaced):
    with av.open(path, "w") as out:
        stream = out.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        if interlaced:
            stream.codec_context.flags |= AV_CODEC_FLAG_INTERLACED_DCT | AV_CODEC_FLAG_INTERLACED_ME
        for picture in pictures():
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode())


def is_right(seen, picture):
    return float(np.abs(seen.astype(int) - picture).mean()) < 10


for name, interlaced in (("progressive", False), ("interlaced", True)):
    write(f"{name}.ts", interlaced)
    video, said, right = cv2.VideoCapture(f"{name}.ts"), 0, 0
    for picture in pictures():
        ok, seen = video.read()
        said += ok
        right += ok and is_right(seen, picture)
    with av.open(f"{name}.ts") as file:
        frames = list(file.decode(video=0))
    assert [frame.interlaced_frame for frame in frames] == [interlaced] * 25
    assert all(is_right(f.to_ndarray(format="bgr24"), p) for f, p in zip(frames, pictures(), strict=True))
    print(f"{name}: {said} x True, {right} of 25 pictures right; PyAV: all right")
    assert (said, right) == (25, 0 if interlaced else 25)
END

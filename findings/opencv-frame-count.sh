#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless): CAP_PROP_FRAME_COUNT of a Matroska file counts the sound's length.
# One second of video (25 pictures) with four seconds of sound is said to have 100 frames: the count is the file's duration
# times its rate, not a count. A progress bar never ends, and `set(CAP_PROP_POS_FRAMES, count - 1)` finds nothing. Seen:
#   without sound: 25 frames said, 25 read
#   with 4 s of sound: 100 frames said, 25 read
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$scratch"
OPENCV_FFMPEG_LOGLEVEL=-8 venv/bin/python - <<'END'
import av
import cv2
import numpy as np


def write(path, sound_s):
    with av.open(path, "w") as out:
        video = out.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 320, 240, "yuv420p"
        sound = out.add_stream("aac", rate=48000) if sound_s else None
        for number in range(25):
            picture = np.full((240, 320, 3), 10 * number, np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(video.encode())
        for block in range(sound_s * 48000 // 1024 if sound else 0):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48000, block * 1024
            out.mux(sound.encode(frame))
        if sound:
            out.mux(sound.encode())


for name, sound_s in (("silent.mkv", 0), ("long-sound.mkv", 4)):
    write(name, sound_s)
    video = cv2.VideoCapture(name)
    count, read = int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0
    while video.read()[0]:
        read += 1
    print(f"{name}: {count} frames said, {read} read")
    assert read == 25
    assert count == 25 if not sound_s else count > 90
END

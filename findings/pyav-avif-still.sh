#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): the first video stream of an animated AVIF is a still of one frame.
# The file holds its first picture as an item, and the animation as a track. FFmpeg makes a stream of each, the still first,
# and both are marked as default: `decode(video=0)`, as most examples have it, gives one frame and then the end, without an
# error. All streams together give one frame too many. `streams.best("video")` finds the track. Seen, of eight pictures:
#   streams say [1, 8] frames, default [True, True]
#   decode(video=0): 1, decode(): 9, decode(streams.best("video")): 8
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
from av.stream import Disposition

animation = cv2.Animation()
animation.frames = [np.full((120, 160, 3), 30 * number, np.uint8) for number in range(8)]
animation.durations = [100] * 8
assert cv2.imwriteanimation("eight.avif", animation)


def came(choose):
    with av.open("eight.avif") as file:
        return sum(1 for _ in choose(file))


with av.open("eight.avif") as file:
    said = [stream.frames for stream in file.streams]
    default = [Disposition.default in stream.disposition for stream in file.streams]
first = came(lambda file: file.decode(video=0))
every = came(lambda file: file.decode())
best = came(lambda file: file.decode(file.streams.best("video")))
print(f"streams say {said} frames, default {default}")
print(f'decode(video=0): {first}, decode(): {every}, decode(streams.best("video")): {best}')
assert said == [1, 8] and default == [True, True]
assert (first, every, best) == (1, 9, 8)
END

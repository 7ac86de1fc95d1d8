#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): the average rate of an animated PNG is three times what it is.
# Twelve pictures, the first for a second and each other for 40 ms, are 8.33 a second: what FFmpeg says of the same animation
# as a GIF. Of the PNG it says 25, and no length and no number of frames to correct it by. Its packets' own times and durations
# are right. Seen:
#   gif: 25/3 a second, 12 frames, 1.44 s; by its packets 12 in 1.44 s
#   png: 25 a second, 0 frames, None s; by its packets 12 in 1.44 s
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
animation.frames = [np.full((120, 160, 3), 20 * number, np.uint8) for number in range(12)]
animation.durations = [1000] + [40] * 11

for kind, expected in (("gif", ("25/3", 12, 1.44)), ("png", ("25", 0, None))):
    assert cv2.imwriteanimation(f"twelve.{kind}", animation)
    with av.open(f"twelve.{kind}") as file:
        stream = file.streams.video[0]
        said = str(stream.average_rate), stream.frames, file.duration and file.duration / av.time_base
        packets = [packet for packet in file.demux(stream) if packet.size]
        length_s = float(sum(packet.duration for packet in packets) * stream.time_base)
    print(f"{kind}: {said[0]} a second, {said[1]} frames, {said[2]} s; by its packets {len(packets)} in {length_s} s")
    assert said == expected and (len(packets), length_s) == (12, 1.44)
END

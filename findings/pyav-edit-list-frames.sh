#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): `Stream.frames` of a trimmed MP4 counts frames that nobody gets.
# An edit list says where showing begins, so that a cut needs no new encoding. The stream says 130 frames. FFmpeg leaves out
# what lies before the key frame that it needs, marks five packets more as ones to decode and not to show, and 100 frames
# come: a player who compares takes a whole file for one that lost 30. The stream's length, 4 s, is that of the 100. Seen:
#   130 frames said, 105 packets, 5 of them to be discarded, 100 frames in 4.0 s
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
from fractions import Fraction

import av
import numpy as np

with av.open("trimmed.mp4", "w") as out:
    stream = out.add_stream("libx264", rate=25, options={"bf": "0", "g": "25", "sc_threshold": "0"})
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    for number in range(130):
        picture = np.full((240, 320, 3), 128, np.uint8)
        picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
        frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
        frame.pts, frame.time_base = number - 30, Fraction(1, 25)  # what is before 0 is not shown
        out.mux(stream.encode(frame))
    out.mux(stream.encode())

with av.open("trimmed.mp4") as file:
    stream = file.streams.video[0]
    said, length_s = stream.frames, float(stream.duration * stream.time_base)
    packets = [packet for packet in file.demux(stream) if packet.size]
with av.open("trimmed.mp4") as file:
    came = sum(1 for _ in file.decode(video=0))
discarded = sum(packet.is_discard for packet in packets)
print(f"{said} frames said, {len(packets)} packets, {discarded} of them to be discarded, {came} frames in {length_s} s")
assert (said, len(packets), discarded, came, length_s) == (130, 105, 5, 100, 4.0)
END

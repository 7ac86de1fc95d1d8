#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): zeros in the middle of a fragmented MP4 are its end, without an error.
# Cameras write fragments so that a recording outlives a power cut, and a file system may fill with zeros what was not
# written. A box of length 0 goes on to the end of the file, says the standard, and FFmpeg takes four zeros for that, though
# the kind of the box is zeros too. The fragments behind are whole and never come, and the length is that of what came, so
# that nothing seems to be missing. Where a box of the kind `free` covers the same hole, they come. Seen, of four fragments
# of a second each, the third of which is gone:
#   whole: 4.0 s, 100 frames, 0 errors
#   zeros in place of the third: 2.0 s, 50 frames, 0 errors
#   "free" in place of the third: 4.0 s, 75 frames, 0 errors
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
from pathlib import Path

import av
import numpy as np

with av.open("whole.mp4", "w", options={"movflags": "frag_keyframe+empty_moov"}) as out:
    stream = out.add_stream("libx264", rate=25, options={"g": "25", "bf": "0"})
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    for number in range(100):
        picture = np.full((240, 320, 3), 128, np.uint8)
        picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    out.mux(stream.encode())
whole = Path("whole.mp4").read_bytes()
first, second, third, fourth = (at - 4 for at in range(len(whole)) if whole.startswith(b"moof", at))


def play(content):
    """Return the length in seconds, and how many frames and errors come."""
    frames = errors = 0
    Path("played.mp4").write_bytes(content)
    with av.open("played.mp4") as file:
        for packet in file.demux(video=0):
            try:
                frames += len(packet.decode())
            except av.error.FFmpegError:
                errors += 1
        return file.duration / 1e6, frames, errors


hole = fourth - third
for name, filling, expected in (
    ("whole", whole[third:fourth], (4.0, 100, 0)),
    ("zeros in place of the third", bytes(hole), (2.0, 50, 0)),
    ('"free" in place of the third', hole.to_bytes(4, "big") + b"free" + bytes(hole - 8), (4.0, 75, 0)),
):
    seen = play(whole[:third] + filling + whole[fourth:])
    print(f"{name}: {seen[0]} s, {seen[1]} frames, {seen[2]} errors")
    assert seen == expected
END

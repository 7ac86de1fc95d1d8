#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): after a part of an AVI file that cannot be read, every frame has too early a time.
# AVI states no times: a frame's number among all chunks is its time, and the file's index says that number. FFmpeg reads the
# index, and yet counts the packets that came: ten unreadable frames of a worn card make all behind them 0.4 s early, without
# an error. The index entries' own times are right. Seen, of 100 frames at 25 a second:
#   whole: the last frame at 3.96 s, by the index at 3.96 s
#   ten chunks zeroed: the last frame at 3.56 s, by the index at 3.96 s
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

HEAD_BYTES = 8

with av.open("whole.avi", "w") as out:
    stream = out.add_stream("mjpeg", rate=25)
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuvj420p"
    stream.codec_context.thread_count = 1
    for number in range(100):
        picture = np.full((240, 320, 3), 128, np.uint8)
        picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    out.mux(stream.encode())


def times(path):
    """Return how many packets come, the time of the last one, and its time by the index; seconds."""
    with av.open(path) as file:
        stream = file.streams.video[0]
        came = [packet for packet in file.demux(stream) if packet.size]
        by_index = {entry.pos + HEAD_BYTES: entry.timestamp for entry in stream.index_entries}
        last = came[-1]
        return len(came), float(last.dts * stream.time_base), float(by_index[last.pos] * stream.time_base)


with av.open("whole.avi") as file:
    chunks = [(packet.pos - HEAD_BYTES, packet.pos + packet.size) for packet in file.demux(video=0) if packet.size]
data = bytearray(Path("whole.avi").read_bytes())
for start, end in chunks[30:40]:
    data[start:end] = bytes(end - start)
Path("zeroed.avi").write_bytes(data)
for name, path, expected in (
    ("whole", "whole.avi", (100, 3.96, 3.96)),
    ("ten chunks zeroed", "zeroed.avi", (90, 3.56, 3.96)),
):
    seen = times(path)
    print(f"{name}: the last frame at {seen[1]} s, by the index at {seen[2]} s")
    assert seen == expected
END

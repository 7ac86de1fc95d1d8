#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): one wrong bit in 10 kB of H.264 costs a second of it, and the decoder raises nothing.
# The bit is in a parameter set, which cameras repeat with each key frame. The set that comes with this one is of another
# profile then, can be read, and takes the place of the one that holds for all frames before. Those that follow are each
# accepted and come to nothing, up to the next key frame: no error, no mark, fewer frames. Had it been left out, all would
# have come. One bit in the picture itself costs no frame, and is told by a mark. Seen, of 100 frames with a key frame each 25:
#   untouched: 100 frames, 0 errors, 0 marked as corrupt
#   second key frame, a bit of its parameter set: 75 frames, 0 errors, 0 marked as corrupt
#   second key frame, without its parameter set: 100 frames, 0 errors, 0 marked as corrupt
#   second key frame, a bit of its picture: 100 frames, 0 errors, 1 marked as corrupt
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import av
import numpy as np

with av.open("clip.h264", "w") as out:
    stream = out.add_stream("libx264", rate=25, options={"g": "25", "bf": "0"})
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    for number in range(100):
        picture = np.full((240, 320, 3), 128, np.uint8)
        picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    out.mux(stream.encode())
with av.open("clip.h264") as file:
    packets = [bytes(packet) for packet in file.demux(video=0) if packet.size]


def play(key_frame):
    """Return how many frames, errors and marks come, with this in place of the second key frame."""
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    frames, errors = [], 0
    for content in [*packets[:25], key_frame, *packets[26:], None]:
        try:
            frames += context.decode(None if content is None else av.Packet(content))
        except av.error.FFmpegError:
            errors += 1
    return len(frames), errors, sum(frame.is_corrupt for frame in frames)


def turned(content, at):
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


key_frame = packets[25]
start, end = key_frame.index(b"\0\0\1\x67"), key_frame.index(b"\0\0\1\x68")
profile = start + 4
for name, changed, expected in (
    ("untouched", key_frame, (100, 0, 0)),
    ("second key frame, a bit of its parameter set", turned(key_frame, profile), (75, 0, 0)),
    ("second key frame, without its parameter set", key_frame[:start] + key_frame[end:], (100, 0, 0)),
    ("second key frame, a bit of its picture", turned(key_frame, len(key_frame) - 20), (100, 0, 1)),
):
    seen = play(changed)
    print(f"{name}: {seen[0]} frames, {seen[1]} errors, {seen[2]} marked as corrupt")
    assert seen == expected
END

#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): a packet that the decoder refuses as invalid is what makes the next one decodable.
# H.264 cameras and files may send their parameter sets (SPS and PPS) in a packet of their own. The decoder stores them, finds
# no picture beside them, and raises InvalidDataError. Who takes that for "this packet came to nothing", and does not hand it
# in again, is right by chance; who counts errors counts a good stream as damaged. Seen, of one key frame:
#   the picture alone: InvalidDataError, 0 frames
#   parameter sets, then the picture: InvalidDataError, 1 frame
#   both in one packet: no error, 1 frame
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
    stream = out.add_stream("libx264", rate=25)
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    out.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((240, 320, 3), 128, np.uint8), format="bgr24")))
    out.mux(stream.encode())
with av.open("clip.h264") as file:
    whole = next(bytes(packet) for packet in file.demux(video=0))
units = [b"\0\0\1" + unit for unit in whole.split(b"\0\0\1") if unit.strip(b"\0")]
sets = b"".join(unit for unit in units if unit[3] & 0x1F in (7, 8))
picture = b"".join(unit for unit in units if unit[3] & 0x1F in (1, 5))


def play(*contents):
    """Return the names of the errors, and how many frames come."""
    context, frames, errors = av.CodecContext.create("h264", "r"), 0, []
    for content in [*contents, None]:
        try:
            frames += len(context.decode(None if content is None else av.Packet(content)))
        except av.error.FFmpegError as error:
            errors.append(type(error).__name__)
    return errors, frames


for name, contents, expected in (
    ("the picture alone", (picture,), (["InvalidDataError"], 0)),
    ("parameter sets, then the picture", (sets, picture), (["InvalidDataError"], 1)),
    ("both in one packet", (sets + picture,), ([], 1)),
):
    seen = play(*contents)
    print(f"{name}: {', '.join(seen[0]) or 'no error'}, {seen[1]} {'frame' if seen[1] == 1 else 'frames'}")
    assert seen == expected
END

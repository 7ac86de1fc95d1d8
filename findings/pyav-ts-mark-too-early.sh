#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): a lost packet of a transport stream marks the frame before the damaged one as corrupt.
# The demuxer sees the gap in the right frame: with `discardcorrupt` it drops that one. Its mark goes through the parser that
# makes packets of frames, and comes out one too early: `packet.is_corrupt` is set on a whole frame, and the short one is
# clean. Where a frame is lost as a whole, both are wrong: two frames before is marked, one before is dropped. Seen:
#   one of the TS packets of frame 40 lost: short [40], marked [39], missing []
#   the same, discardcorrupt: short [], marked [], missing [40]
#   all TS packets of frame 40 lost: short [], marked [38], missing [40]
#   the same, discardcorrupt: short [], marked [], missing [39, 40]
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

VIDEO_PID, TS_BYTES = 256, 188

random = np.random.default_rng(7)
with av.open("whole.ts", "w") as out:
    stream = out.add_stream("libx264", rate=25, options={"g": "100", "tune": "zerolatency"})
    stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
    stream.codec_context.thread_count = 1
    for number in range(100):
        picture = random.integers(100, 140, (240, 320, 3), dtype=np.uint8)
        out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
    out.mux(stream.encode())
data = Path("whole.ts").read_bytes()
pieces = [data[start : start + TS_BYTES] for start in range(0, len(data), TS_BYTES)]
video = [number for number, piece in enumerate(pieces) if int.from_bytes(piece[1:3], "big") & 0x1FFF == VIDEO_PID]
starts = [number for number in video if pieces[number][1] & 0x40]
of_40 = [number for number in video if starts[40] <= number < starts[41]]


def packets(lost, options):
    """Return size and mark of the stream's packets by their time, without the TS packets that are lost."""
    Path("clip.ts").write_bytes(b"".join(piece for number, piece in enumerate(pieces) if number not in lost))
    with av.open("clip.ts", options=options) as file:
        return {packet.pts: (packet.size, packet.is_corrupt) for packet in file.demux(video=0) if packet.size}


whole = packets([], {})
assert len(whole) == 100 and len(of_40) > 3 and not any(mark for _, mark in whole.values())
for name, lost, options, expected in (
    ("one of the TS packets of frame 40 lost", of_40[2:3], {}, ([40], [39], [])),
    ("the same, discardcorrupt", of_40[2:3], {"fflags": "+discardcorrupt"}, ([], [], [40])),
    ("all TS packets of frame 40 lost", of_40, {}, ([], [38], [40])),
    ("the same, discardcorrupt", of_40, {"fflags": "+discardcorrupt"}, ([], [], [39, 40])),
):
    seen = packets(lost, options)
    short = [number for number, pts in enumerate(whole) if pts in seen and seen[pts][0] < whole[pts][0]]
    marked = [number for number, pts in enumerate(whole) if pts in seen and seen[pts][1]]
    missing = [number for number, pts in enumerate(whole) if pts not in seen]
    print(f"{name}: short {short}, marked {marked}, missing {missing}")
    assert (short, marked, missing) == expected
END

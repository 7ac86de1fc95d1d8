#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): of an HEVC stream, frames whose reference is lost never come, without an error or a mark.
# One packet of 100 is missing. H.264 and MPEG-2 hand out the 99 others, patched up as well as they can. HEVC hands out none
# of the 70 behind the gap, until the next key frame: each packet is accepted, nothing is raised, no frame is corrupt. Who
# counts frames sees a shorter recording. Only `err_detect=explode` makes each of the 70 an error. Seen:
#   libx264: 99 packets, 99 frames, 0 errors
#   mpeg2video: 99 packets, 99 frames, 0 errors
#   libx265: 99 packets, 29 frames, 0 errors
#   libx265, err_detect=explode: 99 packets, 29 frames, 70 errors
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import av
import numpy as np

KEY_FRAMES = {"libx265": {"x265-params": "log-level=0:keyint=100:bframes=0"}}


def record(path, codec):
    with av.open(path, "w") as out:
        stream = out.add_stream(codec, rate=25, options=KEY_FRAMES.get(codec, {"g": "100"}))
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(100):
            picture = np.full((240, 320, 3), 128, np.uint8)
            picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode())


def play(path, options):
    """Decode all but the thirtieth packet; return the numbers of packets, frames and errors."""
    frames, errors = [], 0
    with av.open(path) as file:
        context = file.streams.video[0].codec_context
        context.thread_count, context.options = 1, options
        packets = [packet for packet in file.demux(video=0) if packet.size]
        del packets[29]
        for packet in [*packets, None]:
            try:
                frames += context.decode(packet)
            except av.error.InvalidDataError:
                errors += 1
    assert not any(frame.is_corrupt for frame in frames)
    return len(packets), len(frames), errors


for codec, options, expected in (
    ("libx264", {}, (99, 99, 0)),
    ("mpeg2video", {}, (99, 99, 0)),
    ("libx265", {}, (99, 29, 0)),
    ("libx265", {"err_detect": "explode"}, (99, 29, 70)),
):
    record("clip.mkv", codec)
    seen = play("clip.mkv", options)
    name = ", ".join([codec, *(f"{key}={value}" for key, value in options.items())])
    print(f"{name}: {seen[0]} packets, {seen[1]} frames, {seen[2]} errors")
    assert seen == expected
END

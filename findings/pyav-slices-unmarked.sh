#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): whether damage in H.264 is marked depends on the number of threads that decode it.
# Ten of 100 packets have eight wrong bytes. Each picture is cut into two slices, as encoders do that should not be late. With
# one thread all ten frames are marked (`is_corrupt`). With two threads on slices, which is what PyAV takes by itself on a
# machine of two cores, none is: as many frames, no error, no mark. With two threads on frames all are marked again. Seen:
#   two slices, 1 thread: 100 frames, 0 errors, 10 marked as corrupt
#   two slices, 2 threads on slices: 100 frames, 0 errors, 0 marked as corrupt
#   two slices, 2 threads on frames: 100 frames, 0 errors, 10 marked as corrupt
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import av
import numpy as np


def record():
    noise = np.random.default_rng(7).integers(100, 140, (240, 320, 3), dtype=np.uint8)
    with av.open("clip.h264", "w") as out:
        options = {"g": "10", "tune": "zerolatency", "slices": "2", "x264-params": "sliced-threads=0"}
        stream = out.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        stream.codec_context.thread_count = 1
        for number in range(100):
            picture = noise.copy()
            picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode())
    with av.open("clip.h264") as file:
        return [bytes(packet) for packet in file.demux(video=0) if packet.size]


def damaged(content):
    middle = len(content) * 3 // 4
    return content[:middle] + b"\xff" * 8 + content[middle + 8 :]


def play(packets, threads, kind):
    context = av.CodecContext.create("h264", "r")
    context.thread_count, context.thread_type = threads, kind
    frames, errors = [], 0
    for number, content in enumerate([*packets, None]):
        if content is not None and number % 10 == 9:
            content = damaged(content)
        try:
            frames += context.decode(None if content is None else av.Packet(content))
        except av.error.FFmpegError:
            errors += 1
    return f"{len(frames)} frames, {errors} errors, {sum(frame.is_corrupt for frame in frames)} marked as corrupt"


packets = record()
seen = [
    ("two slices, 1 thread", play(packets, 1, "SLICE")),
    ("two slices, 2 threads on slices", play(packets, 2, "SLICE")),
    ("two slices, 2 threads on frames", play(packets, 2, "FRAME")),
]
context = av.CodecContext.create("h264", "r")
assert (context.thread_type.name, context.thread_count) == ("SLICE", 0), "PyAV no longer shares out slices by itself"
for what, result in seen:
    print(f"{what}: {result}")
marked, unmarked = "100 frames, 0 errors, 10 marked as corrupt", "100 frames, 0 errors, 0 marked as corrupt"
assert [result for _, result in seen] == [marked, unmarked, marked], "this has changed"
END

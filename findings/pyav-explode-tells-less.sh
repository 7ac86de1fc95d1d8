#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): `err_detect=explode`, which is to fail on any error, makes MPEG-2 tell less.
# Ten packets of 100 have eight wrong bytes. By default MPEG-2 marks all ten frames (`is_corrupt`). With the option it raises
# ten errors, keeps the frames all the same, and hands nine of them out later without the mark: as good ones. MJPEG is the
# other way round: it marks nothing and raises nothing unless it is asked to. No one setting is right for both. Seen:
#   mpeg2video, default: 0 errors, 10 marked, 0 damaged frames pass as good
#   mpeg2video, explode: 10 errors, 1 marked, 9 damaged frames pass as good
#   mjpeg, default: 0 errors, 0 marked, 10 damaged frames pass as good
#   mjpeg, explode: 10 errors, 0 marked, 0 damaged frames pass as good
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import av
import numpy as np


def record(path, codec, layout):
    noise = np.random.default_rng(7).integers(100, 140, (240, 320, 3), dtype=np.uint8)
    with av.open(path, "w") as out:
        stream = out.add_stream(codec, rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 320, 240, layout
        stream.codec_context.thread_count = 1
        for number in range(100):
            picture = noise.copy()
            picture[60:160, 2 * number : 2 * number + 60] = (0, 0, 255)
            picture[60 + number : 80 + number, :40] = 4 * number % 256
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        out.mux(stream.encode())


def damaged(packet):
    data = bytearray(bytes(packet))
    middle = len(data) // 2
    data[middle : middle + 8] = b"\xff" * 8
    other = av.Packet(bytes(data))
    other.pts, other.dts, other.time_base = packet.pts, packet.dts, packet.time_base
    return other


def play(path, options):
    """Decode with every tenth packet damaged; count errors, marked frames, and damaged frames that have no mark."""
    frames, errors, hit = {}, 0, set()
    with av.open(path) as file:
        context = file.streams.video[0].codec_context
        context.thread_count, context.options = 1, options
        for number, packet in enumerate(file.demux(video=0)):
            if number % 10 == 5:
                hit.add(packet.pts)
                packet = damaged(packet)
            try:
                frames.update((frame.pts, frame.is_corrupt) for frame in context.decode(packet if packet.size else None))
            except av.error.InvalidDataError:
                errors += 1
    assert len(hit) == 10
    return errors, sum(frames.values()), sum(not marked for pts, marked in frames.items() if pts in hit)


for codec, layout, expected in (
    ("mpeg2video", "yuv420p", {"default": (0, 10, 0), "explode": (10, 1, 9)}),
    ("mjpeg", "yuvj420p", {"default": (0, 0, 10), "explode": (10, 0, 0)}),
):
    record("clip.mkv", codec, layout)
    for name, options in (("default", {}), ("explode", {"err_detect": "explode"})):
        seen = play("clip.mkv", options)
        print(f"{codec}, {name}: {seen[0]} errors, {seen[1]} marked, {seen[2]} damaged frames pass as good")
        assert seen == expected[name]
END

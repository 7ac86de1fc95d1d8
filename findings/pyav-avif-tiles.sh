#!/usr/bin/env bash
# PyAV 18.1.0 (FFmpeg 8.1.2): an AVIF that is made of tiles is a video of its upper left tile.
# Large AVIF pictures are a grid of smaller ones, as the standard has it (ISO/IEC 23008-12, 6.6.2.3). FFmpeg makes a video
# stream of each, in what it calls a stream group, and PyAV has no stream groups: `decode(video=0)` and `best` give a quarter
# of the picture, whole in itself, without an error. The one sign is that the streams are marked as dependent. Seen, for four
# tiles of 160x120, each of another grey (30, 90, 150, 210):
#   Pillow: 320x240, of 30, 90, 150, 210
#   PyAV: 4 streams, all dependent; best: 160x120, of 30
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check av==18.1.0 pillow==13.0.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
from io import BytesIO
from pathlib import Path

import av
from av.stream import Disposition
from PIL import Image

WIDTH, HEIGHT, GREYS, PLAIN = 160, 120, [30, 90, 150, 210], bytes(4)


def numbers(size, *values):
    return b"".join(value.to_bytes(size, "big") for value in values)


def box(kind, *parts):
    body = b"".join(parts)
    return numbers(4, len(body) + 8) + kind + body


def box_in(content, kind):
    at = content.index(kind) - 4
    return content[at : at + int.from_bytes(content[at : at + 4], "big")]


def picture(grey):
    file = BytesIO()
    Image.new("RGB", (WIDTH, HEIGHT), (grey,) * 3).save(file, "AVIF")
    return file.getvalue()


def meta(items, at):
    """Return what describes the items, the grid and its tiles, which stand in the file from a place on."""
    places = kinds = b""
    for number, item in enumerate(items, 1):
        places += numbers(2, number, 0, 1) + numbers(4, at, len(item))
        kinds += box(b"infe", b"\2\0\0\0", numbers(2, number, 0), b"grid\0" if number == 1 else b"av01\0")
        at += len(item)
    sizes = [box(b"ispe", PLAIN, numbers(4, times * WIDTH, times * HEIGHT)) for times in (2, 1)]
    shared = [box_in(tiles[0], kind) for kind in (b"pixi", b"av1C", b"colr")]
    uses = numbers(2, 1) + bytes([3, 1, 3, 5]) + b"".join(numbers(2, n) + bytes([4, 2, 3, 0x84, 5]) for n in range(2, 6))
    properties = box(b"iprp", box(b"ipco", *sizes, *shared), box(b"ipma", PLAIN, numbers(4, 5), uses))
    listed = box(b"iloc", PLAIN, b"\x44\0", numbers(2, 5), places) + box(b"iinf", PLAIN, numbers(2, 5), kinds)
    made_of = box(b"iref", PLAIN, box(b"dimg", numbers(2, 1, 4, 2, 3, 4, 5)))
    head = box(b"hdlr", bytes(8), b"pict", bytes(13)) + box(b"pitm", PLAIN, numbers(2, 1))
    return box(b"meta", PLAIN, head, listed, made_of, properties)


tiles = [picture(grey) for grey in GREYS]
items = [bytes([0, 0, 1, 1]) + numbers(2, 2 * WIDTH, 2 * HEIGHT), *(box_in(tile, b"mdat")[8:] for tile in tiles)]
kind = box_in(tiles[0], b"ftyp")
first = len(kind) + len(meta(items, 0)) + 8
Path("tiles.avif").write_bytes(kind + meta(items, first) + box(b"mdat", *items))
with Image.open("tiles.avif") as whole:
    greys = [whole.getpixel((x, y))[0] for y in (10, 230) for x in (10, 310)]
    print(f"Pillow: {whole.width}x{whole.height}, of {', '.join(map(str, greys))}")
    assert (whole.size, greys) == ((2 * WIDTH, 2 * HEIGHT), GREYS)
with av.open("tiles.avif") as file:
    dependent = [stream.disposition == Disposition.dependent for stream in file.streams.video]
    frame = next(file.decode(file.streams.best("video")))
grey = int(frame.to_ndarray(format="gray")[10, 10])
print(f"PyAV: {len(dependent)} streams, {'all' if all(dependent) else 'not all'} dependent; ", end="")
print(f"best: {frame.width}x{frame.height}, of {grey}")
assert dependent == [True] * 4 and (frame.width, frame.height, grey) == (WIDTH, HEIGHT, 30)
END

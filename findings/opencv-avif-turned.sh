#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93: a picture that was taken upright lies on its side if it is an AVIF.
# OpenCV turns a JPEG as its EXIF data say. An AVIF has a property of its own for that (`irot`), which everybody who shows the
# picture must apply, and which libavif leaves to its caller: Pillow and FFmpeg hand it on, OpenCV drops it. Only the
# shape tells, and nothing does where the picture is square. Seen, for a picture of 160x120 to be turned by a quarter:
#   jpg: OpenCV 120x160, Pillow 120x160
#   avif: OpenCV 160x120, Pillow 120x160
#   avif by PyAV: 160x120 to be turned by -90
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 pillow==13.0.0 \
    av==18.1.0 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import av
import cv2
from PIL import Image, ImageOps

ORIENTATION, QUARTER = 0x112, 6
seen = {}
for kind in ("jpg", "avif"):
    exif = Image.Exif()
    exif[ORIENTATION] = QUARTER
    Image.new("RGB", (160, 120), (200, 100, 50)).save(f"turned.{kind}", exif=exif)
    height, width, _ = cv2.imread(f"turned.{kind}").shape
    with Image.open(f"turned.{kind}") as picture:
        seen[kind] = (width, height), ImageOps.exif_transpose(picture).size
with av.open("turned.avif") as file:
    frame = next(file.decode(video=0))
for kind, sizes in seen.items():
    print(f"{kind}:", ", ".join(f"{who} {size[0]}x{size[1]}" for who, size in zip(("OpenCV", "Pillow"), sizes)))
print(f"avif by PyAV: {frame.width}x{frame.height} to be turned by {frame.rotation}")
assert b"irot" in open("turned.avif", "rb").read()
assert seen == {"jpg": ((120, 160), (120, 160)), "avif": ((160, 120), (120, 160))}
assert (frame.width, frame.height, frame.rotation) == (160, 120, -90)
END

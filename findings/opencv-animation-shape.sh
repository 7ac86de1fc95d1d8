#!/usr/bin/env bash
# opencv-python-headless 4.14.0.94: an animated WebP or AVIF is decoded from a file, and from the same bytes in memory is not.
# `imdecodeanimation` says False and gives no frames, without an exception, for the array of shape (n,) that `np.frombuffer`
# makes and that `imdecode` takes. Animated PNG and GIF decode from it. In shape (1, n) all four do; in 5.0.0.93 either is
# taken. Seen, frames of the file, (n,) and (1, n):
#   4.14.0.94: webp 8 0 8; avif 8 0 8; png 8 8 8; gif 8 8 8;
#   5.0.0.93: webp 8 8 8; avif 8 8 8; png 8 8 8; gif 8 8 8;
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
cd "$scratch"
frames() {  # VERSION: prints how many frames come of a file, of its bytes, and of its bytes in a row
    venv/bin/pip install --quiet --disable-pip-version-check "opencv-python-headless==$1" numpy==2.4.6
    OPENCV_LOG_LEVEL=SILENT venv/bin/python - <<'PYTHON'
import cv2
import numpy as np

animation = cv2.Animation()
animation.frames = [np.full((120, 160, 3), 30 * number, np.uint8) for number in range(8)]
animation.durations = [100] * 8
for kind in ("webp", "avif", "png", "gif"):
    path = f"eight.{kind}"
    assert cv2.imwriteanimation(path, animation)
    data = np.fromfile(path, np.uint8)
    seen = cv2.imreadanimation(path), cv2.imdecodeanimation(data), cv2.imdecodeanimation(data.reshape(1, -1))
    print(kind, *(len(came.frames) if done else 0 for done, came in seen), end="; ")
PYTHON
}
four="$(frames 4.14.0.94)" five="$(frames 5.0.0.93)"
printf '4.14.0.94: %s\n5.0.0.93: %s\n' "$four" "$five"
[ "$four" = "webp 8 0 8; avif 8 0 8; png 8 8 8; gif 8 8 8; " ]
[ "$five" = "webp 8 8 8; avif 8 8 8; png 8 8 8; gif 8 8 8; " ]

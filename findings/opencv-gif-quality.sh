#!/usr/bin/env bash
# OpenCV 5.0.0.93 (opencv-python-headless): a GIF of 160 greys, written by it, is far off, and more so at a better quality.
# A GIF has 256 colours of its writer's choice, so such a picture loses nothing in other programs. OpenCV dithers it with a fixed
# table that has hardly a grey. `IMWRITE_GIF_QUALITY` goes from 1 to 8, where 2 is the default; from 3 on the error grows. Even a
# picture of one grey comes back as a pattern of four colours, none of them grey. Seen:
#   mean error of 255 levels, quality 1 to 8: 16.3, 17.0, 84.2, 84.2, 27.9, 27.9, 27.9, 27.9
#   one grey of 128 (blue, green, red): [85, 108, 108], [85, 144, 144], [170, 108, 108], [170, 144, 144]
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 numpy==2.4.6
cd "$scratch"
venv/bin/python - <<'END'
import cv2
import numpy as np


def again(picture, *options):
    done, data = cv2.imencode(".gif", picture, options)
    assert done
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


ramp = np.linspace(0, 255, 160).astype(np.uint8)[None, :, None].repeat(120, axis=0).repeat(3, axis=2)
assert len(np.unique(ramp)) == 160
off = [np.abs(again(ramp, cv2.IMWRITE_GIF_QUALITY, quality).astype(int) - ramp).mean() for quality in range(1, 9)]
print(f"mean error of 255 levels, quality 1 to 8: {', '.join(f'{one:.1f}' for one in off)}")
assert np.abs(again(ramp).astype(int) - ramp).mean() == off[1] and off[1] > 10
assert all(better > 1.5 * off[1] for better in off[2:])

colours = np.unique(again(np.full((120, 160, 3), 128, np.uint8)).reshape(-1, 3), axis=0).tolist()
print(f"one grey of 128 (blue, green, red): {', '.join(map(str, colours))}")
assert len(colours) == 4 and all(blue != green for blue, green, _ in colours)
END

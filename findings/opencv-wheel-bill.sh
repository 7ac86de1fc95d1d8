#!/usr/bin/env bash
# opencv-python-headless 5.0.0.93: the bill of materials inside the wheel (PEP 770) leaves out FFmpeg.
# auditwheel writes it, and it knows only libraries that a package of the build machine owns. What was compiled there
# (FFmpeg, libvpx, libaom, libpng, libavif) lies beside them and is not named: who looks up known weaknesses in that bill
# finds none of FFmpeg's. OpenSSL is named, twice. Seen:
#   15 libraries; named: libdrm, libgfortran, libquadmath, openblas-threads, openssl-libs; not named: libaom, libavcodec, ...
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps opencv-python-headless==5.0.0.93
cd "$scratch"
venv/bin/python - <<'END'
import json
import re
from importlib.metadata import distribution
from pathlib import Path

site = Path(distribution("opencv-python-headless").locate_file(""))
(bill,) = site.glob("opencv_python_headless-*.dist-info/sboms/*.json")
named = [one["name"] for one in json.loads(bill.read_text())["components"] if not one["name"].startswith("opencv")]
files = sorted(re.split(r"[-.]", path.name)[0] for path in site.glob("opencv_python_headless.libs/*.so*"))
print(f"{bill.name}: {', '.join(named)}")
print(f"libraries in the wheel: {', '.join(files)}")
built = {"libavcodec", "libavformat", "libavutil", "libswscale", "libvpx", "libaom", "libpng16", "libavif"}
assert built <= set(files)
assert not any(word in name for name in named for word in ("ffmpeg", "av", "vpx", "aom", "png"))
assert named.count("openssl-libs") == 2
END

#!/usr/bin/env bash
# PyAV 18.1.0, its wheel for Linux: FFmpeg's library in it says that it is under the LGPL, and is linked to x264 and x265, which are
# under the GPL. FFmpeg's own build refuses these two without --enable-gpl, which would make it say "GPL"; so one would expect that
# a library which says LGPL holds neither, and that one may pass it on under the LGPL. It does not load without them. Seen:
#   license: LGPL version 3 or later
#   configured with: --enable-libx264 --enable-libx265, --enable-gpl is not there
#   libavcodec needs: libx264, libx265
set -euo pipefail
command -v readelf >/dev/null || { echo "readelf is needed: apt-get install binutils" >&2; exit 2; }
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check av==18.1.0
venv/bin/python - <<'END'
import pathlib
import re
import subprocess

import av
from av._core import library_meta

told = library_meta["libavcodec"]
options = told["configuration"].split()
encoders = [option for option in options if option in ("--enable-libx264", "--enable-libx265")]
libraries = pathlib.Path(av.__file__).parent.parent / "av.libs"
(codec,) = libraries.glob("libavcodec-*")
needed = subprocess.run(["readelf", "-d", codec], capture_output=True, text=True, check=True).stdout
linked = sorted(set(re.findall(r"NEEDED.*\[(libx26[45])", needed)))
print(f"license: {told['license']}")
print(f"configured with: {' '.join(encoders)}, --enable-gpl is {'there' if '--enable-gpl' in options else 'not there'}")
print(f"libavcodec needs: {', '.join(linked)}")
assert told["license"] == "LGPL version 3 or later"
assert len(encoders) == 2 and "--enable-gpl" not in options
assert linked == ["libx264", "libx265"]
END

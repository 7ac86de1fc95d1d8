#!/usr/bin/env bash
# GNU strip 2.40 (Debian 12), numpy 2.4.6: `strip` says that all went well, and the loader refuses what it wrote.
# auditwheel has rewritten the libraries in a wheel with patchelf, which adds segments to them. `strip` moves those to places
# where no page begins, and exits with 0: only an import tells. elfutils' `eu-strip` leaves segments where they are. Needs
# binutils and elfutils. Seen, of the library of OpenBLAS:
#   as it came: exit 0, numpy loads
#   strip: exit 0, ELF load command address/offset not page-aligned
#   eu-strip: exit 0, numpy loads
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check --target "$scratch/numpy" numpy==2.4.6
cd "$scratch"
strip --version | head -n 1
seen() {  # COMMAND: changes the library of a copy of numpy by it, and says what comes of an import
    local code=0 said
    cp -r numpy changed
    "$@" changed/numpy.libs/libscipy_openblas64_-*.so || code=$?
    said="$(PYTHONPATH=changed venv/bin/python -c 'import numpy; print("numpy loads")' 2>&1)" || true
    rm -r changed
    echo "exit $code, $(grep -o -m 1 -e 'numpy loads' -e 'ELF load command.*' <<<"$said")"
}
untouched="$(seen true)" by_strip="$(seen strip --strip-unneeded)" by_eu_strip="$(seen eu-strip)"
printf '%s\n' "as it came: $untouched" "strip: $by_strip" "eu-strip: $by_eu_strip"
[ "$untouched" = "exit 0, numpy loads" ]
[ "$by_strip" = "exit 0, ELF load command address/offset not page-aligned" ]
[ "$by_eu_strip" = "exit 0, numpy loads" ]

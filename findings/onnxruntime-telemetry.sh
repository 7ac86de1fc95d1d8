#!/usr/bin/env bash
# onnxruntime 1.31.1 (wheel for Linux): `import onnxruntime` alone switches telemetry on.
# It writes a device number and a database of events into the user's cache before any function of it can be called, so
# `disable_telemetry_events()` comes too late for them. Only ORT_DISABLE_TELEMETRY=1, set before the import, leaves nothing.
# With an InferenceSession and 25 seconds, strace also showed a question to the name server for
# mobile.events.data.microsoft.com. Seen:
#   import: .cache/Microsoft/DeveloperTools/.onnxruntime/deviceid, .../onnxruntime.db, tmp/.ses
#   import, then disable_telemetry_events(): the same
#   ORT_DISABLE_TELEMETRY=1: nothing
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check onnxruntime==1.31.1 numpy==2.4.6
cd "$scratch"

left_by() {  # CODE [VARIABLE=VALUE]: names what it leaves in a new home
    mkdir -p home/tmp
    env -u XDG_CACHE_HOME -u ORT_DISABLE_TELEMETRY HOME="$scratch/home" TMPDIR="$scratch/home/tmp" "${@:2}" \
        venv/bin/python -c "$1"
    (cd home && find . -type f ! -name '*-wal' ! -name '*-shm' | sort | tr '\n' ' ')
    rm -rf home
}

imported="$(left_by 'import onnxruntime')"
switched="$(left_by 'import onnxruntime; onnxruntime.disable_telemetry_events()')"
opted_out="$(left_by 'import onnxruntime' ORT_DISABLE_TELEMETRY=1)"
printf 'import: %s\nimport, then disable_telemetry_events(): %s\nORT_DISABLE_TELEMETRY=1: %s\n' \
    "$imported" "$switched" "${opted_out:-nothing}"
cache=./.cache/Microsoft/DeveloperTools/.onnxruntime
expected="$cache/deviceid $cache/onnxruntime.db ./tmp/.ses "
[ "$imported" = "$expected" ]
[ "$switched" = "$expected" ]
[ -z "$opted_out" ]
grep -qa mobile.events.data.microsoft.com venv/lib/python3*/site-packages/onnxruntime/capi/onnxruntime_pybind11_state*.so

#!/usr/bin/env bash
# fast-plate-ocr 1.1.0: `import fast_plate_ocr` asks for the user's home folder, though nothing is downloaded: where there is none, the
# import itself fails. A service's user by number (systemd's User=64123, a container's) has no entry in the table of users, and
# systemd sets no HOME for it. Any HOME helps, one that does not exist too. Run it as root. Seen:
#   without HOME: RuntimeError: Could not determine home directory.
#   with HOME=/nonexistent: imported
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
chmod 0755 "$scratch"
cd "$scratch"
/usr/bin/python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check 'fast-plate-ocr==1.1.0' onnxruntime==1.20.1 opencv-python-headless==4.12.0.88
seen() {
    env -i PATH=/usr/bin:/bin "$@" setpriv --reuid=64123 --regid=64123 --clear-groups \
        "$scratch/venv/bin/python" -c 'import fast_plate_ocr; print("imported")' 2>&1 | tail -n 1 || true
}
without="$(seen)"
with="$(seen HOME=/nonexistent)"
echo "without HOME: $without"
echo "with HOME=/nonexistent: $with"
[ "$without" = "RuntimeError: Could not determine home directory." ]
[ "$with" = imported ]

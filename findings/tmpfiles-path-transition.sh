#!/usr/bin/env bash
# systemd-tmpfiles 252 (Debian 12): a line that makes a link is refused where a folder of root's lies below one of another
# user's, though root owns the folder that the link goes into. Debian's own prometheus-node-exporter makes its folders like that
# (/var/lib/prometheus belongs to prometheus, node-exporter in it to root), so no package can put a link there by tmpfiles.d; one
# would expect root to write into a folder of its own. Run it as root. Seen:
#   below root's folder: exit 0, made
#   below another user's: exit 73, not made: unsafe path transition
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
chmod 0755 "$scratch"
systemd-tmpfiles --version | head -n 1
for owner in root nobody; do
    mkdir -p "$scratch/$owner/own"
    chown "$owner" "$scratch/$owner"
    echo "L $scratch/$owner/own/link - - - - /run/somewhere" >"$scratch/$owner.conf"
done
seen() {
    local code=0 said
    said="$(systemd-tmpfiles --create "$scratch/$1.conf" 2>&1)" || code=$?
    said="$(grep -o 'unsafe path transition' <<<"$said" || true)"
    echo "exit $code, $([ -L "$scratch/$1/own/link" ] && echo made || echo "not made: $said")"
}
under_root="$(seen root)"
under_another="$(seen nobody)"
echo "below root's folder: $under_root"
echo "below another user's: $under_another"
[ "$under_root" = "exit 0, made" ]
[ "$under_another" = "exit 73, not made: unsafe path transition" ]

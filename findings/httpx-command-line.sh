#!/usr/bin/env bash
# httpx 0.28.1: `import httpx` loads a command line program: click, rich and pygments, wherever they happen to be installed.
# The package imports its own `_main` inside a `try`, so an environment that has rich for something else pays for it in every
# process that only wants a client: the same import takes several times as long. There is no switch. Seen:
#   alone: none of them
#   with click, rich and pygments: all three
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check httpx==0.28.1
cd "$scratch"

loaded() {
    venv/bin/python -c 'import httpx, sys; print(*(name for name in ("click", "rich", "pygments") if name in sys.modules))'
}

alone="$(loaded)"
venv/bin/pip install --quiet --disable-pip-version-check click==8.5.1 rich==15.0.0 pygments==2.21.0
beside="$(loaded)"
printf 'alone: %s\nwith click, rich and pygments: %s\n' "${alone:-none}" "$beside"
[ -z "$alone" ]
[ "$beside" = "click rich pygments" ]

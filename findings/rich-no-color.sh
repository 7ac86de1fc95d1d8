#!/usr/bin/env bash
# rich 15.0.0: under NO_COLOR a console says that it has a colour system.
# `Console.color_system` is "standard", "256" or "truecolor", and None for a terminal without colours. With NO_COLOR set no
# colour is ever written, and yet it says "standard"; only `no_color` tells. Who draws with colours alone (half blocks, one
# colour above the other) where the console has a colour system, shows a wall of equal blocks. Seen:
#   colours allowed: color_system standard, "ab" in red and blue is written in 2 colours
#   NO_COLOR=1: color_system standard, "ab" in red and blue is written in 0 colours
set -euo pipefail
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
python3 -m venv "$scratch/venv"
"$scratch/venv/bin/pip" install --quiet --disable-pip-version-check rich==15.0.0
cd "$scratch"
venv/bin/python - <<'END'
import io
import re

from rich.console import Console
from rich.text import Text

for name, environment, expected in (("colours allowed", {}, 2), ("NO_COLOR=1", {"NO_COLOR": "1"}, 0)):
    terminal = {"TERM": "xterm", **environment}
    console = Console(file=io.StringIO(), force_terminal=True, _environ=terminal)
    console.print(Text.assemble(("a", "red"), ("b", "blue")))
    colours = len(re.findall(r"\x1b\[3[14]m", console.file.getvalue()))
    print(f'{name}: color_system {console.color_system}, "ab" in red and blue is written in {colours} colours')
    assert (console.color_system, colours) == ("standard", expected)
END

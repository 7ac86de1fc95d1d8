#!/usr/bin/env bash
# CPython 3.11.7 with GNU readline 8.2: `import readline` gives children two variables that the process does not have itself.
# readline writes LINES and COLUMNS into C's environment at once, without a terminal and without a line being read. Python's
# `os.environ` is a copy made before. A child started without `env` inherits C's, one started with `env=dict(os.environ)` or
# `{**os.environ, ..}` does not, though both are said to be the same. What looks for COLUMNS (argparse, rich, ps) then breaks
# its lines elsewhere. pytest imports readline: so does each of its tests. Seen:
#   before: nothing more; after: COLUMNS, LINES; after, with env=dict(os.environ): nothing more; os.environ: nothing more
set -euo pipefail
env -u LINES -u COLUMNS python3 - <<'END'
import os
import subprocess


def names(**how):
    """Return the names of the variables that a child finds."""
    said = subprocess.run(["env", "-0"], capture_output=True, text=True, check=True, **how).stdout
    return {line.partition("=")[0] for line in said.split("\0") if line}


before, own = names(), set(os.environ)
import readline

assert "GNU readline" in readline.__doc__, "this Python has another library in its place"
seen = {
    "before": set(),
    "after": names() - before,
    "after, with env=dict(os.environ)": names(env=dict(os.environ)) - before,
    "os.environ": set(os.environ) - own,
}
print("; ".join(f"{when}: {', '.join(sorted(more)) or 'nothing more'}" for when, more in seen.items()))
assert list(seen.values()) == [set(), {"COLUMNS", "LINES"}, set(), set()]
END

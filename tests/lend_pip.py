"""What a Debian root needs so that pip in it works as on this machine, as options of systemd-nspawn, one a line.

`python -m tests.lend_pip ROOT`. Settings travel as variables, because a root has no configuration of pip's own; files
and folders that a setting names are bound read-only: local indexes, certificates, constraints.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

OF_THE_NETWORK: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""Variables besides pip's own that say how to reach an index; proxies in small letters too."""
ALWAYS: Final = ("/etc/hosts", "/etc/ssl/certs")
_PATH: Final = re.compile(r"(?:file:/*)?(/[^\s#]+)")


def settings(listing: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return pip's settings as variables.

    Args:
        listing: What `pip config list` printed, lines of `section.name='value'`.
        environ: This machine's variables, which win over files as they do in pip.
    """
    found: dict[str, str] = {}
    for line in listing.splitlines():
        name, _, value = line.partition("=")
        section, _, option = name.rpartition(".")
        if section in ("global", "install"):
            found[f"PIP_{option.upper().replace('-', '_')}"] = " ".join(ast.literal_eval(value).split())
    wanted = {*OF_THE_NETWORK, *map(str.lower, OF_THE_NETWORK)}
    return found | {name: value for name, value in environ.items() if name.startswith("PIP_") or name in wanted}


def paths(values: Iterator[str] | list[str], root: Path) -> list[Path]:
    """Return the files and folders of this machine that the values name, each as widely as the root lacks it.

    A local index refers to its neighbours, so of /srv/index/simple the whole of /srv/index is lent where the root has
    nothing of that name; what the root has too is replaced as narrowly as possible.
    """
    named = (Path(match) for value in values for match in _PATH.findall(value) if "://" not in match)
    return sorted({_widest(path, root) for path in named if path.exists()})


def _widest(path: Path, root: Path) -> Path:
    """Return the outermost folder that the root lacks, at least two names deep so that /srv itself is never lent."""
    for ancestor in (*list(path.parents)[-3::-1], path):
        inside = root / ancestor.relative_to("/")
        # Folders without a file: where an earlier run bound the same.
        if not inside.exists() or (inside.is_dir() and all(below.is_dir() for below in inside.rglob("*"))):
            return ancestor
    return path


def options(root: Path, listing: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the options, for one call of systemd-nspawn."""
    lent = settings(listing, environ)
    yield from (f"--setenv={name}={value}" for name, value in lent.items())
    for path in paths([*lent.values(), *ALWAYS], root):
        yield f"--bind-ro={path}"


def main() -> None:
    """Print the options."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for option in options(Path(sys.argv[1]), listing, os.environ):
        sys.stdout.write(f"{option}\n")


if __name__ == "__main__":
    main()

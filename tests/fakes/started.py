"""A program that prints, as JSON, what a process finds when it is started.

python -P -m tests.fakes.started [WORDS...]
"""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Final, TextIO

NOT_OURS: Final = ("COLUMNS", "LINES", "LC_CTYPE")
"""Variables that C libraries set behind Python's back: readline in a process of tests, Python itself at its start."""


def main() -> None:
    """Print it, with what comes on standard input, and end with status 7 and a word on standard error."""
    signals = sorted(signal.valid_signals() & set(signal.Signals))
    found = {
        "arguments": sys.argv,
        "all words": sys.orig_argv,
        "shown words": Path("/proc/self/cmdline").read_bytes().decode().rstrip("\0").split("\0"),
        "name": __name__,
        "package": __package__,
        "path": sys.path,
        "parent": os.getppid(),
        "is session": os.getsid(0) == os.getpid(),
        "group": os.getpgrp() - (os.getpid() if os.getsid(0) == os.getpid() else 0),
        "folder": str(Path.cwd()),
        "variables": {name: value for name, value in sorted(os.environ.items()) if name not in NOT_OURS},
        "time zone": time.tzname,
        "temporary": tempfile.gettempdir(),
        "signals": {one.name: str(signal.getsignal(one)) for one in signals},
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "mask": _umask(),
        "streams": [_facts(each) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "open files": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],  # noqa: PTH208  its own is last
        "threads": [thread.name for thread in threading.enumerate()],
        "typed": sys.stdin.read(),
    }
    sys.stdout.write(json.dumps(found))
    sys.stderr.write("started\n")
    sys.exit(7)


def _facts(stream: TextIO) -> list[object]:
    assert isinstance(stream, io.TextIOWrapper)
    return [stream.fileno(), stream.encoding, stream.errors, stream.line_buffering, stream.write_through]


def _umask() -> int:
    umask = os.umask(0)
    os.umask(umask)
    return umask


if __name__ == "__main__":
    main()

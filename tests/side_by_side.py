"""The whole suite, as one pytest run for each folder of `tests`, two at a time: most tests wait more than they work.

python -m tests.side_by_side [pytest's options]

Coverage of every run lies in a file of its own, for `coverage combine`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

TESTS: Final = Path("tests")
LONGEST_FIRST: Final = ("torture", "e2e", "unit", "faults")
"""The other folders follow."""
AT_A_TIME: Final = min(2, os.cpu_count() or 1)
_writing: Final = threading.Lock()


def main() -> int:
    """Run every part, print a summary, and return 1 if a part failed."""
    began_s = time.monotonic()
    parts = list(_parts())
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        codes = dict(zip(parts, pool.map(_run, parts), strict=True))
    failed = [part for part, code in codes.items() if code]
    minutes, seconds = divmod(round(time.monotonic() - began_s), 60)
    verdict = f"failed: {', '.join(failed)}" if failed else "all pass"
    _say(f"{len(parts)} parts of the suite in {minutes} min {seconds} s, {verdict}\n")
    return int(bool(failed))


def _parts() -> Iterator[str]:
    """Yield every folder with tests, and the files beside them, as pytest's arguments."""
    folders = {path.name for path in TESTS.iterdir() if any(path.rglob("test_*.py"))}
    yield from (str(TESTS / name) for name in LONGEST_FIRST if name in folders)
    yield from (str(TESTS / name) for name in sorted(folders.difference(LONGEST_FIRST)))
    yield from map(str, sorted(TESTS.glob("test_*.py")))


def _run(part: str) -> int:
    """Run pytest on a part; show its lines as they come."""
    command = [sys.executable, "-m", "coverage", "run", "-m", "pytest", part, *sys.argv[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            _say(line)
    return process.returncode


def _say(line: str) -> None:
    with _writing:
        sys.stdout.write(line)
        sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())

"""Every property with examples that nobody has tried: `make test` takes the same ones each time, this row never does.

A red run prints its seed, and `python -m pytest` with the profile, the seed and the files below runs it again.
"""

from __future__ import annotations

import random
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tests.torture.report import Result

ROOT: Final = Path(__file__).parents[2]
REDUCED: Final = "tests/unit/upload/test_pace.py"
REDUCED_SEED: Final = 1
"""`make test` is the same each time."""
TARGET: Final = "no property has a counterexample, with other examples in each run"


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Run all properties with thousands of examples each; reduced, those of one file, to see that the row works."""
    began_s = time.monotonic()
    seed = random.SystemRandom().randrange(1 << 32) if full else REDUCED_SEED
    profile = "random-long" if full else "random"
    options = [f"--hypothesis-profile={profile}", f"--hypothesis-seed={seed}", *(_files() if full else [REDUCED])]
    say(f"to run it again: python -m pytest -m hypothesis {' '.join(options)}")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-o", "addopts=--import-mode=importlib", "-p", "no:cacheprovider", "-q",
         "-m", "hypothesis", "--hypothesis-show-statistics", *options],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    passed = re.search(r"(\d+) passed", done.stdout)
    examples = sum(map(int, re.findall(r"(\d+) passing", done.stdout)))
    holds = done.returncode == 0 and examples > 0
    if done.returncode != 0:
        say(done.stdout + done.stderr)
    figures = f"{passed[1] if passed else 0} properties, {examples} examples, seed {seed}"
    return Result("properties", TARGET, figures, holds, time.monotonic() - began_s)


def _files() -> list[str]:
    """Return the test files that have properties."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [str(path.relative_to(ROOT)) for path in files if "from hypothesis import" in path.read_text()]

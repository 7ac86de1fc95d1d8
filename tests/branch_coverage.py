"""Fail unless the named packages of `agent` have at least a share of their branches covered.

python tests/branch_coverage.py 90 envelope seal
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path


def main() -> int:
    """Print one line per package and return 1 if one is below the share."""
    least, packages = float(sys.argv[1]), sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "coverage.json"
        subprocess.run([sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(report)], check=True)
        files: dict[str, dict[str, dict[str, int]]] = json.loads(report.read_text())["files"]
    failed = False
    for package in packages:
        summaries = [entry["summary"] for path, entry in files.items() if path.startswith(f"agent/{package}/")]
        total = sum(summary["num_branches"] for summary in summaries)
        covered = sum(summary["covered_branches"] for summary in summaries)
        share = 100 * covered / total if total else 0.0
        failed |= share < least
        sys.stdout.write(f"agent/{package}: {covered} of {total} branches covered, {share:.1f} % (least {least:g} %)\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""What the daemons check before they touch anything."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.config.test_load import GOOD


@pytest.mark.parametrize(("daemon", "checks"), [("capture", "CAPTURE_CHECKS"), ("upload", "UPLOAD_CHECKS")])
def test_a_failed_self_test_keeps_a_daemon_from_starting(tmp_path: Path, daemon: str, checks: str) -> None:
    """In a process of its own: exit code 14, one line that names the primitive, no file made."""
    (tmp_path / "unit.toml").write_text(GOOD)
    script = (
        "import sys\n"
        "from agent.cli.main import main\n"
        "from agent.seal import selftest\n"
        f"selftest.{checks}['SHA-256'] = lambda: False\n"
        f"sys.argv = ['plateseal', '{daemon}', '--config', 'unit.toml']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 14, done.stderr
    assert done.stderr.startswith("plateseal: self-test: SHA-256 of this machine give")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["unit.toml"]

"""onnxruntime reports nothing and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = "import {}; import onnxruntime"


@pytest.mark.parametrize(
    "module",
    [
        "agent.vision",
        *(
            pytest.param(module, marks=pytest.mark.needs("campaigns"))
            for module in (
                "agent.vision.session",
                "agent.vision.detector",
                "agent.vision.reader",
                "agent.unit.capture.daemon",
            )
        ),
    ],
)
def test_no_file_of_a_telemetry_is_written(tmp_path: Path, module: str) -> None:
    """Whichever module is loaded first: no device number, no database, no session file, in no folder of the user."""
    variables = {name: str(tmp_path) for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | variables
    command = [sys.executable, "-c", SCRIPT.format(module)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    assert list(tmp_path.rglob("*")) == []

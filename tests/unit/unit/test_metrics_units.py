"""The units that hand the metrics to node_exporter: their script, run by a real shell on real files."""

from __future__ import annotations

import re
import stat
import subprocess
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.unit.status.metrics import MetricsFiles
from agent.unit.status.samples import Sample

SERVICE = Path(__file__).resolve().parents[3] / "systemd" / "plateseal-metrics.service"


@pytest.fixture
def script(tmp_path: Path) -> str:
    """Return the service's script as systemd hands it to the shell, with its folders below `tmp_path`."""
    text = SERVICE.read_text().replace("\\\n", "")
    match = re.search(r"^ExecStart=/bin/sh -c '(.*)'$", text, re.MULTILINE)
    assert match is not None
    found = match[1].replace("$$", "$")
    for folder, place in (("/run/plateseal", "run"), ("/var/lib/prometheus/node-exporter", "collected")):
        assert folder in found
        found = found.replace(folder, str(tmp_path / place))
        (tmp_path / place).mkdir()
    return found


def write(tmp_path: Path, daemon: str, *samples: Sample) -> None:
    """Write a daemon's metrics as it does; its umask closes the file to others."""
    MetricsFiles(tmp_path / "run", daemon, lambda: samples).write()
    (tmp_path / "run" / f"{daemon}.prom").chmod(0o600)


def collected(tmp_path: Path) -> dict[str, float]:
    """Return what node_exporter finds: every file that ends in .prom, each a whole exposition of its own."""
    found: dict[str, float] = {}
    for path in sorted((tmp_path / "collected").iterdir()):
        assert path.suffix == ".prom"
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        for family in text_string_to_metric_families(path.read_text()):
            found |= {f"{sample.name}{sorted(sample.labels.items())}": sample.value for sample in family.samples}
    return found


def test_both_files_arrive_whole_and_open_to_all(script: str, tmp_path: Path) -> None:
    """Under names of their own, beside one another; the next run takes their place."""
    write(tmp_path, "capture", Sample("sealed", 7.0), Sample("config_serial", 3.0, ("capture",)))
    write(tmp_path, "upload", Sample("pending", 2.0), Sample("config_serial", 4.0, ("upload",)))
    for sealed in (7.0, 8.0):
        write(tmp_path, "capture", Sample("sealed", sealed), Sample("config_serial", 3.0, ("capture",)))
        subprocess.run(["/bin/sh", "-c", script], check=True)
        assert collected(tmp_path) == {
            "plateseal_sealed_total[]": sealed,
            "plateseal_config_serial[('daemon', 'capture')]": 3.0,
            "plateseal_pending[]": 2.0,
            "plateseal_config_serial[('daemon', 'upload')]": 4.0,
        }


def test_a_daemon_that_never_ran_is_no_failure(script: str, tmp_path: Path) -> None:
    """The other one's metrics arrive all the same."""
    subprocess.run(["/bin/sh", "-c", script], check=True)
    assert collected(tmp_path) == {}
    write(tmp_path, "upload", Sample("pending", 2.0))
    subprocess.run(["/bin/sh", "-c", script], check=True)
    assert collected(tmp_path) == {"plateseal_pending[]": 2.0}

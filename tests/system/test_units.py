"""The unit files by systemd's own checks: they are right, and how much a service that is taken over could reach."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"
SERVICES = {"capture": 0.6, "upload": 1.1, "receiver": 1.5}
"""The most that `systemd-analyze security` may say of each; 10 is the worst."""
FILES = sorted(path for path in UNITS.iterdir() if path.suffix in (".service", ".timer"))
ANALYZE = shutil.which("systemd-analyze")

pytestmark = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed here")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_locked_in(name: str) -> None:
    """Its overall exposure is at most what we say."""
    done = analyze("security", "--offline=true", "--no-pager", UNITS / f"plateseal-{name}.service")
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert match is not None, done.stderr
    assert float(match[1]) <= SERVICES[name]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_unit_file_is_clean(path: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say; the program, which is not installed here, is one that is."""
    for unit in UNITS.glob("plateseal*"):
        text = unit.read_text().replace("/usr/bin/plateseal", shutil.which("true") or "/bin/true")
        (tmp_path / unit.name).write_text(text)
    done = analyze("verify", "--man=no", tmp_path / path.name)
    said = [line for line in done.stderr.splitlines() if "plateseal" in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_says_what_the_daemons_need(name: str) -> None:
    """Notify and a watchdog that kills without a dump, restarts for ever at a bounded rate, no swap, no core."""
    text = (UNITS / f"plateseal-{name}.service").read_text()
    for line in ("Type=notify", "WatchdogSec=60", "WatchdogSignal=SIGKILL", "Restart=on-failure", "RestartSec=10",
                 "StartLimitIntervalSec=10min", "StartLimitBurst=60", "MemorySwapMax=0", "LimitCORE=0",
                 "UMask=0077"):  # fmt: skip
        assert f"\n{line}\n" in text, line


def test_capture_has_no_network_and_upload_no_devices() -> None:
    """The line between the process with the pixels and the one with the network."""
    capture = (UNITS / "plateseal-capture.service").read_text()
    upload = (UNITS / "plateseal-upload.service").read_text()
    assert "\nPrivateNetwork=yes\n" in capture
    assert "\nRestrictAddressFamilies=AF_UNIX\n" in capture
    assert "\nLoadCredential=signing.key:" in capture
    assert "tls.key" not in capture
    assert "\nPrivateDevices=yes\n" in upload
    assert "\nSocketBindDeny=any\n" in upload
    assert "\nLoadCredential=tls.key:" in upload
    assert "signing.key" not in upload

"""The optional units that trim the spool's flash: they parse, fit each other, and give fstrim no more than it needs."""

from __future__ import annotations

import configparser
import subprocess
from pathlib import Path

import pytest

SYSTEMD = Path(__file__).resolve().parents[3] / "systemd"
SERVICE, TIMER = SYSTEMD / "plateseal-fstrim.service", SYSTEMD / "plateseal-fstrim.timer"


def load(path: Path) -> configparser.ConfigParser:
    """Return a unit file's sections; a key that stands twice is refused."""
    unit = configparser.ConfigParser(interpolation=None, delimiters=("=",), comment_prefixes=("#",))
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    return unit


def test_the_service_trims_one_directory_once() -> None:
    """The file system it waits for is the one it trims; one run, no network, no more capabilities than the ioctl's."""
    service = load(SERVICE)
    program, *options, directory = service["Service"]["ExecStart"].split()
    assert program == "/sbin/fstrim"
    assert all(option.startswith("--") for option in options)
    assert service["Unit"]["RequiresMountsFor"] == directory
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["PrivateNetwork"] == "yes"
    assert set(service["Service"]["CapabilityBoundingSet"].split()) == {"CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH"}


def test_the_timer_starts_the_service_of_its_name() -> None:
    """No `Unit=`: systemd takes the service of the same name, which is there; it is enabled only by hand."""
    timer = load(TIMER)
    assert "Unit" not in timer["Timer"]
    assert TIMER.with_suffix(".service") == SERVICE
    assert timer["Install"]["WantedBy"] == "timers.target"
    assert not SERVICE.read_text().count("[Install]")


@pytest.mark.needs("systemd-analyze")
def test_systemd_finds_nothing_wrong() -> None:
    """`systemd-analyze verify` knows every key and says nothing."""
    done = subprocess.run(
        ["systemd-analyze", "verify", str(SERVICE), str(TIMER)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

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

pytestmark = pytest.mark.needs("systemd-analyze")


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze."""
    return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_locked_in(name: str) -> None:
    """Its overall exposure is at most what we say."""
    done = analyze("security", "--offline=true", "--no-pager", UNITS / f"plateseal-{name}.service")
    match = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert match is not None, done.stderr
    assert float(match[1]) <= SERVICES[name]


def verified(folder: Path, name: str, drop_in: str = "") -> tuple[int, list[str]]:
    """Return the status of `systemd-analyze verify`, and what it says of our units, whose program is one that is there.

    Args:
        folder: Where the units are copied to.
        name: The unit.
        drop_in: What `systemctl edit` would add to it.
    """
    for unit in UNITS.glob("plateseal*"):
        text = unit.read_text().replace("/usr/bin/plateseal", shutil.which("true") or "/bin/true")
        (folder / unit.name).write_text(text)
    if drop_in:
        (folder / f"{name}.d").mkdir()
        (folder / f"{name}.d" / "override.conf").write_text(drop_in)
    done = analyze("verify", "--man=no", folder / name)
    return done.returncode, [line for line in done.stderr.splitlines() if "plateseal" in line]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_unit_file_is_clean(path: Path, tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say."""
    assert verified(tmp_path, path.name) == (0, [])


@pytest.mark.parametrize("page", ["ENROL", "INSTALL-PI", "INSTALL-JETSON"])
def test_the_drop_ins_of_the_pages_are_clean(page: str, tmp_path: Path) -> None:
    """Those for network cameras, CSI cameras and the GPU, as one would paste them; a slip in one would show."""
    text = (UNITS.parent / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"```ini\n(\[Service\]\n.*?)```", text, re.DOTALL)
    assert blocks
    for number, block in enumerate(blocks):
        (tmp_path / str(number)).mkdir()
        assert verified(tmp_path / str(number), "plateseal-capture.service", block) == (0, [])
    _, said = verified(tmp_path, "plateseal-capture.service", blocks[0] + "IPAdressAllow=192.0.2.11\n")
    assert any("IPAdressAllow" in line for line in said)


def test_encrypted_keys_are_a_setting_that_systemd_knows(tmp_path: Path) -> None:
    """As ENROL.md says it, for both daemons; whether a machine can open them is that machine's matter."""
    page = (UNITS.parent / "docs" / "ENROL.md").read_text()
    match = re.search(r"`(LoadCredentialEncrypted=signing\.key:\S+)`", page)
    assert match is not None
    for name, line in (("capture", match[1]), ("upload", match[1].replace("signing.key", "tls.key"))):
        (tmp_path / name).mkdir()
        drop_in = f"[Service]\nLoadCredential=\n{line}\n"
        assert verified(tmp_path / name, f"plateseal-{name}.service", drop_in) == (0, [])


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

"""Everything that we ask of systemd is held against what Debian 12's, 252, knows: it passes over the rest in silence.

A directive or a value that came later would lock nothing in there, and nobody would see it.
"""

from __future__ import annotations

import itertools
import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

from agent.unit.doctor.confinement import PROPERTIES, Child
from agent.unit.doctor.diagnosis import load_unit
from tests.needs import SYSTEMD

ROOT: Final = Path(__file__).parents[2]
UNITS: Final = ROOT / "systemd"
FILES: Final = sorted(path for path in UNITS.iterdir() if path.suffix in (".service", ".timer"))
SECTIONS: Final = ("Unit", "Service", "Timer", "Install")

BOOLEANS: Final = frozenset({"yes", "no", "true", "false", "on", "off", "1", "0"})
VALUES: Final = {
    "DevicePolicy": {"auto", "closed", "strict"},
    "IOSchedulingClass": {"none", "realtime", "best-effort", "idle"},
    "KeyringMode": {"inherit", "private", "shared"},
    "NotifyAccess": {"none", "main", "exec", "all"},
    "ProcSubset": {"all", "pid"},
    "ProtectHome": BOOLEANS | {"read-only", "tmpfs"},
    "ProtectProc": {"noaccess", "invisible", "ptraceable", "default"},
    "ProtectSystem": BOOLEANS | {"full", "strict"},
    "Restart": {"no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always"},
    "RestrictAddressFamilies": {"none", "AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"},
    "RestrictNamespaces": BOOLEANS | {"cgroup", "ipc", "net", "mnt", "pid", "user", "uts"},
    "RuntimeDirectoryPreserve": BOOLEANS | {"restart"},
    "SystemCallArchitectures": {"native"},
    "Type": {"simple", "exec", "forking", "oneshot", "dbus", "notify", "idle"},
}
"""Words that a directive takes. Source: systemd.exec(5), systemd.service(5), systemd.resource-control(5) of 252."""
FREE: Final = frozenset(
    {
        "AccuracySec", "After", "AmbientCapabilities", "CapabilityBoundingSet", "ConditionPathExists",
        "ConditionVirtualization", "Description", "DeviceAllow", "Documentation", "Environment", "ExecStart", "Group",
        "IPAddressAllow", "IPAddressDeny", "LimitCORE", "LimitDATA", "LimitFSIZE", "LimitNOFILE", "LoadCredential",
        "LoadCredentialEncrypted", "MemorySwapMax", "Nice", "OOMScoreAdjust", "OnCalendar", "RandomizedDelaySec",
        "ReadWritePaths", "RequiresMountsFor", "RestartSec", "RuntimeDirectory", "RuntimeDirectoryMode",
        "RuntimeMaxSec", "SocketBindAllow", "SocketBindDeny", "StartLimitBurst", "StartLimitIntervalSec",
        "StateDirectory", "StateDirectoryMode", "SupplementaryGroups", "SystemCallErrorNumber", "SystemCallFilter",
        "TimeoutStartSec", "TimeoutStopSec", "UMask", "User", "WantedBy", "Wants", "WatchdogSec", "WatchdogSignal",
    }
)  # fmt: skip
"""Directives whose values are no fixed words; sets of system calls have a check of their own."""
TMPFILES: Final = frozenset("fwdDevqQpLcbCxXrRzZtThHaA")
TMPFILES_MODIFIERS: Final = "+!-=~^"
"""Source: tmpfiles.d(5) of 252."""
SYSUSERS: Final = frozenset("ugmr")
"""Source: sysusers.d(5) of 252."""


def known(lines: str) -> dict[str, dict[str, str]]:
    """Return the kinds of values by section and directive, of systemd's own list."""
    found: dict[str, dict[str, str]] = {}
    for line in lines.splitlines():
        if line.startswith("["):
            names = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            name, _, kind = line.partition("=")
            names[name] = kind
    return found


KNOWN: Final = known((Path(__file__).parent / "systemd-252.txt").read_text())


def unknown(text: str) -> list[str]:
    """Return the lines of a unit file or drop-in that 252 does not know, or not with this value."""
    found, section = [], ""
    for line in text.replace("\\\n", "").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            if not is_known(section, name, value):
                found.append(f"[{section}] {line}")
    return found


def is_known(section: str, name: str, value: str) -> bool:
    """Whether 252 takes a line."""
    kind = KNOWN.get(section, {}).get(name)
    words = [word.lstrip("~") for word in value.split()]
    if kind is None:
        return False
    if kind == "BOOLEAN":
        return value in BOOLEANS
    if name == "SystemCallFilter":
        return all(word in KNOWN["SystemCallFilter"] for word in words if word.startswith("@"))
    return name in FREE or set(words) <= VALUES.get(name, frozenset())


def child_properties(tmp_path: Path) -> str:
    """Return what the doctor's child is started with, as a unit file; both shares, and a network camera."""
    (tmp_path / "keys").mkdir()
    for name in ("signing.key", "tls.key", "camera.login"):
        (tmp_path / "keys" / name).touch(mode=0o600)
    text = (
        (ROOT / "deb/unit.toml")
        .read_text()
        .replace('"/dev/video0"', '"rtsp://camera"\ncredential = "credential:camera.login"')
    )
    (tmp_path / "unit.toml").write_text(text)
    unit = load_unit(tmp_path / "unit.toml", credentials=tmp_path / "keys")
    words = [
        word
        for share in ("way", "vision")
        for word in Child(unit, tmp_path / "unit.toml", tmp_path / "keys", 0, share)._by_systemd()
    ]
    lines = [word for before, word in itertools.pairwise(words) if before == "-p"]
    assert len(lines) > 2 * len(PROPERTIES)
    return "[Service]\nExecStart=/bin/true\n" + "\n".join(lines) + "\n"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_line_of_a_unit_file_is_known(path: Path) -> None:
    """Directives in their sections, booleans that are some, words that it takes, sets of system calls that it has."""
    assert unknown(path.read_text()) == []


def test_every_drop_in_and_directive_of_the_documents_is_known() -> None:
    """What a person pastes, and what the text names."""
    pages = [*(ROOT / "docs").glob("*.md"), *(ROOT / "docs/adr").glob("*.md")]
    blocks = [block for page in pages for block in re.findall(r"```ini\n(\[.*?)```", page.read_text(), re.DOTALL)]
    named = {name for page in pages for name in re.findall(r"`([A-Z][a-z]+[A-Za-z]*)=", page.read_text())}
    assert len(blocks) >= 3
    assert [line for block in blocks for line in unknown(block)] == []
    assert {"LoadCredential", "LoadCredentialEncrypted"} <= named
    assert named <= {name for section in SECTIONS for name in KNOWN[section]}


def test_every_property_of_the_doctors_child_is_known(tmp_path: Path) -> None:
    """Those that `systemd-run` is given."""
    assert unknown(child_properties(tmp_path)) == []


def test_users_and_folders_are_made_with_what_is_known() -> None:
    """The types of their lines."""
    for name, types, modifiers in (("tmpfiles", TMPFILES, TMPFILES_MODIFIERS), ("sysusers", SYSUSERS, "")):
        lines = (UNITS / f"plateseal.{name}").read_text().splitlines()
        used = {line.split()[0].rstrip(modifiers) for line in lines if line and not line.startswith("#")}
        assert used
        assert used <= types


@pytest.mark.parametrize(
    "line",
    ["PrivateTmp=disconnected", "ProtectControlGroups=private", "PrivateUsers=identity", "Type=notify-reload",
     "PrivatePIDs=yes", "ProtectSystem=all", "SystemCallFilter=@sandbox", "MemoryZSwapWriteback=no",
     "OnCalendar=hourly"],
)  # fmt: skip
def test_what_came_later_or_is_nothing_is_found(line: str) -> None:
    """Directives and values of later systemds, a slip, and a directive in another's section."""
    assert unknown(f"[Service]\n{line}\n") == [f"[Service] {line}"]


@pytest.mark.needs("systemd-252")
def test_the_list_is_what_systemd_252_says_of_itself() -> None:
    """Its own dump, and the sets of system calls that it lists."""
    dump = subprocess.run([SYSTEMD, "--dump-configuration-items"], capture_output=True, text=True, check=True).stdout
    found = known(dump)
    assert {section: found[section] for section in SECTIONS} == {section: KNOWN[section] for section in SECTIONS}
    lines = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert {line for line in lines if line.startswith("@")} == set(KNOWN["SystemCallFilter"])


@pytest.mark.needs("systemd-252", "systemd-analyze")
def test_systemd_252_takes_the_values_of_the_doctors_child(tmp_path: Path) -> None:
    """Its own check says nothing of them, and names one that it does not take. Unit files: `test_units.py`."""
    text = child_properties(tmp_path)
    for more, is_clean in (("", True), ("ProtectProc=hidden\n", False)):
        unit = tmp_path / "child.service"
        unit.write_text(text + more)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True, check=False
        )
        assert ("child.service" not in done.stderr) is is_clean, done.stderr

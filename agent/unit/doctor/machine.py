"""The doctor's look at the machine: clock, disk, swap, core dumps, sockets, and how the services are locked in.

Owns: what Linux and systemd say. Every path that is read is a parameter, so that tests can
stand for machines that nobody has at hand.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.config.models import RTSP_PREFIXES, UnitConfig
from agent.health.assess import Level, assess_clock, assess_disk
from agent.unit.doctor.finding import Finding, Outcome, of_health
from agent.unit.doctor.running import running
from agent.unit.status.report import clock_state, disk_space

PROC: Final = Path("/proc")
CGROUP: Final = Path("/sys/fs/cgroup")
BLOCK: Final = Path("/sys/block")
VOLATILE: Final = frozenset({"tmpfs", "ramfs", "overlay"})
SYSTEMCTL_TIMEOUT_S: Final = 10.0
LISTEN, UNCONNECTED = "0A", "07"
"""States of TCP and UDP sockets in /proc/net (include/net/tcp_states.h)."""
SERVICES: Final = {"capture": "plateseal-capture.service", "upload": "plateseal-upload.service"}
LOCKED: Final = {
    "CapabilityBoundingSet": "",
    "LimitCORE": "0",
    "MemoryDenyWriteExecute": "yes",
    "MemorySwapMax": "0",
    "NoNewPrivileges": "yes",
    "PrivateTmp": "yes",
    "ProtectHome": "yes",
    "ProtectSystem": "strict",
    "RestrictNamespaces": "yes",
}
"""What both services say of themselves in `systemctl show`, and what a drop-in should not take back."""

_DAEMON: Final = re.compile(r"(^|/)plateseal$|^agent\.cli\.main$")


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running daemon of ours.

    Attributes:
        name: `capture` or `upload`.
        pid: Id of its main process; 0 while it does not run.
    """

    name: str
    pid: int


def examine_machine(unit: UnitConfig, config: Path) -> Iterator[Finding]:
    """Look at the machine that runs the unit of a configuration file."""
    daemons = running_daemons(config, PROC)
    yield clock(unit)
    yield disk(unit, PROC)
    yield sockets(daemons, PROC)
    yield swap(daemons, PROC, CGROUP, BLOCK)
    yield core_dumps(daemons, PROC)
    yield from running(unit)
    yield from hardening(unit, {name: shown(service) for name, service in SERVICES.items()})


def clock(unit: UnitConfig) -> Finding:
    """Whether times can be believed."""
    found = assess_clock(clock_state(unit))
    if found is None:
        return Finding("clock", Outcome.GOOD, "synchronised")
    return of_health(found)


def disk(unit: UnitConfig, proc: Path) -> Finding:
    """Whether the spool lies on a disk that lasts and has room."""
    directory = unit.spool.directory
    kind = _file_system(directory, proc)
    if kind in VOLATILE:
        return Finding(
            "disk",
            Outcome.FAULT,
            f"{directory} lies on {kind}, which is lost with the power",
            "accepted reads must survive a power cut",
            "set spool.directory to a folder on the disk, as /var/lib/plateseal/spool",
        )
    free_bytes, size_bytes = disk_space(directory)
    used = _tree_bytes(directory)
    needed = max(unit.spool.max_bytes - used, 0)
    short = assess_disk(free_bytes, size_bytes)
    room = short.words if short else f"{free_bytes / 1e9:.1f} GB free"
    may_take = f"the spool may take {needed / 1e9:.1f} GB more"
    if free_bytes >= needed and short is None:
        return Finding("disk", Outcome.GOOD, f"{room}, {may_take}")
    if short is not None and free_bytes >= needed:
        return of_health(short, more=f", {may_take}")
    is_urgent = not size_bytes or (short is not None and short.level is Level.TROUBLE)
    return Finding(
        "disk",
        Outcome.FAULT if is_urgent else Outcome.WARNING,
        f"{room}, and {may_take}",
        "the disk is full before the spool is, and whatever else writes to it fails too",
        f"make room where {directory} is, or set spool.max_bytes to at most {int(used + free_bytes * 0.9)}",
    )


def running_daemons(config: Path, proc: Path) -> tuple[Daemon, ...]:
    """Return the daemons that run with a configuration file, whoever started them."""
    found: list[Daemon] = []
    for path in proc.glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has ended meanwhile
        at = next((place for place, word in enumerate(words) if _DAEMON.search(word)), len(words))
        name, *options = words[at + 1 :] or [""]
        if name in SERVICES and "--config" in options[:-1]:
            named = Path(options[options.index("--config") + 1])
            if (path.parent / "cwd" / named).resolve() == config.resolve():
                found.append(Daemon(name, int(path.parent.name)))
    return tuple(sorted(found, key=lambda daemon: (daemon.name, daemon.pid)))


def sockets(daemons: tuple[Daemon, ...], proc: Path) -> Finding:
    """Whether anything of ours listens."""
    if not daemons:
        return Finding("sockets", Outcome.SKIPPED, "neither daemon runs")
    open_ones = [f"{daemon.name}: {line}" for daemon in daemons for line in listening(daemon.pid, proc)]
    if not open_ones:
        return Finding("sockets", Outcome.GOOD, "nothing listens")
    return Finding(
        "sockets",
        Outcome.FAULT,
        f"{', '.join(open_ones)}",
        "a unit that listens can be attacked from its network",
        "systemctl restart plateseal-capture plateseal-upload; if it is still there, report it as a defect",
    )


def listening(pid: int, proc: Path) -> list[str]:
    """Return the sockets of a process that take what comes: `tcp 8080`, `udp6 5353`."""
    own: set[str] = set()
    with suppress(OSError):
        for link in (proc / str(pid) / "fd").iterdir():
            with suppress(OSError):
                own.add(str(link.readlink()))
    found: list[str] = []
    for name, state in (("tcp", LISTEN), ("tcp6", LISTEN), ("udp", UNCONNECTED), ("udp6", UNCONNECTED)):
        with suppress(OSError):  # a machine without IPv6
            for line in (proc / str(pid) / "net" / name).read_text().splitlines()[1:]:
                columns = line.split()
                if columns[3] == state and f"socket:[{columns[9]}]" in own:
                    found.append(f"{name} {int(columns[1].rpartition(':')[2], 16)}")
    return sorted(set(found))


def swap(daemons: tuple[Daemon, ...], proc: Path, cgroup: Path, block: Path) -> Finding:
    """Whether memory with pictures and plates can reach a disk."""
    with suppress(OSError):
        lines = (proc / "swaps").read_text().splitlines()[1:]
        on_disk = [name for name in (line.split()[0] for line in lines) if not _stays_in_memory(name, block)]
        if not on_disk:
            return Finding("swap", Outcome.GOOD, "none on a disk")
        if daemons and all(_never_swaps(daemon, proc, cgroup) for daemon in daemons):
            return Finding("swap", Outcome.GOOD, f"{', '.join(on_disk)}, which the services may not use")
        return Finding(
            "swap",
            Outcome.FAULT,
            f"{', '.join(on_disk)}, and nothing keeps the daemons out of it",
            "plates that are being read would lie on the disk in clear",
            "swapoff -a, and take it out of /etc/fstab; or run the services, which may not be swapped",
        )
    return Finding("swap", Outcome.SKIPPED, "/proc/swaps cannot be read")


def core_dumps(daemons: tuple[Daemon, ...], proc: Path) -> Finding:
    """Whether a crash would write memory to a disk."""
    if not daemons:
        return Finding("core dumps", Outcome.SKIPPED, "neither daemon runs")
    for daemon in daemons:
        with suppress(OSError):
            limits = (proc / str(daemon.pid) / "limits").read_text()
            if not re.search(r"^Max core file size\s+0\s+0\s", limits, re.MULTILINE):
                return Finding(
                    "core dumps",
                    Outcome.FAULT,
                    f"{daemon.name} (process {daemon.pid}) may write one",
                    "plates and keys in its memory would lie on the disk in clear",
                    f"systemctl restart {SERVICES[daemon.name]}",
                )
    return Finding("core dumps", Outcome.GOOD, "none are written")


def shown(service: str) -> Mapping[str, str] | None:
    """Return what systemd says of a service; None where there is no systemd."""
    program = shutil.which("systemctl")
    if program is None or not Path("/run/systemd/system").is_dir():
        return None
    names = ["LoadState", "PrivateNetwork", "PrivateDevices", "IPAddressAllow", "IPAddressDeny", *LOCKED]
    command = [program, "show", service, "--no-pager", f"--property={','.join(names)}"]
    try:
        done = subprocess.run(  # noqa: S603  our own arguments
            command, capture_output=True, text=True, timeout=SYSTEMCTL_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


def hardening(unit: UnitConfig, services: Mapping[str, Mapping[str, str] | None]) -> Iterator[Finding]:
    """Whether systemd keeps the daemons apart and locked in."""
    for name, found in services.items():
        check, service = f"{name} service", SERVICES[name]
        if found is None:
            yield Finding(check, Outcome.SKIPPED, "no systemd runs here")
        elif found.get("LoadState") != "loaded":
            yield Finding(
                check,
                Outcome.WARNING,
                f"{service} is not installed",
                "without it nothing takes network, devices and files away from the daemon, and nothing restarts it",
                "apt install ./plateseal_VERSION_ARCH.deb",
            )
        else:
            yield _hardening_of(unit, name, found)


def _hardening_of(unit: UnitConfig, name: str, found: Mapping[str, str]) -> Finding:
    check, service = f"{name} service", SERVICES[name]
    loose = [f"{key}={found[key]}" for key, wanted in LOCKED.items() if key in found and found[key] != wanted]
    needs_network = name == "capture" and any(
        camera.source.uri.lower().startswith(RTSP_PREFIXES) for camera in unit.cameras
    )
    if name == "upload" and found.get("PrivateDevices") != "yes":
        loose.append("PrivateDevices=no")
    if name == "capture" and found.get("PrivateNetwork") != "yes":
        is_narrow = found.get("IPAddressDeny", "") != "" and found.get("IPAddressAllow", "") != ""
        if not (needs_network and is_narrow):
            loose.append("PrivateNetwork=no without IPAddressDeny=any and IPAddressAllow= of the camera")
    if loose:
        return Finding(
            check,
            Outcome.WARNING,
            f"{service} is less locked in than it comes: {', '.join(loose)}",
            "a fault in what reads pictures or talks to the network reaches further than it should",
            f"systemctl cat {service}, then take the line out of the drop-in, or systemctl revert {service}",
        )
    if needs_network and found.get("PrivateNetwork") == "yes":
        return Finding(
            check,
            Outcome.FAULT,
            f"{service} has no network, and a camera is an RTSP stream",
            "the camera cannot be reached",
            f"systemctl edit {service}: the drop-in of docs/ENROL.md, with the camera's address",
        )
    return Finding(check, Outcome.GOOD, "locked in as it comes")


def _stays_in_memory(swap_name: str, block: Path) -> bool:
    """Whether a swap space is compressed memory that writes nothing back to a disk.

    Source: kernel.org, Documentation/admin-guide/blockdev/zram.rst, "writeback".
    """
    if not swap_name.startswith("/dev/zram"):
        return False
    try:
        return (block / Path(swap_name).name / "backing_dev").read_text().strip() == "none"
    except OSError:
        return True  # a kernel that cannot write back has no such file


def _never_swaps(daemon: Daemon, proc: Path, cgroup: Path) -> bool:
    with suppress(OSError, StopIteration):
        lines = (proc / str(daemon.pid) / "cgroup").read_text().splitlines()
        group = next(line for line in lines if line.startswith("0::")).removeprefix("0::/")
        return (cgroup / group / "memory.swap.max").read_text().strip() == "0"
    return False


def _file_system(path: Path, proc: Path) -> str | None:
    """Return the kind of file system that a path lies on."""
    resolved = path.resolve()
    best: tuple[int, str | None] = (-1, None)
    with suppress(OSError):
        for line in (proc / "self/mounts").read_text().splitlines():
            _, point, kind, *_ = line.split()
            point = point.replace("\\040", " ")
            if resolved.is_relative_to(point) and len(point) >= best[0]:
                best = (len(point), kind)
    return best[1]


def _tree_bytes(directory: Path) -> int:
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):
                total += (Path(folder) / name).lstat().st_size
    return total

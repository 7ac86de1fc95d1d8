"""The doctor's checks under the service's user and limits, for whoever asks as root.

Owns: whose checks they are, the command that runs them, and reading what they found. Leaves to others: the checks
themselves (`child`, `parts`).

As root the doctor would open cameras, models, the spool, and the network with every right there is. Where systemd is at
work, it starts the child as it starts the services: their user, their groups, no capabilities, hardly a folder to write
to, and copies of the private keys that nobody else sees, of those only that the share needs. Elsewhere the child gives
up root's rights and has limits, and reads what its user may read.

Invariant: what the child writes is text of a process that may have been taken over. It becomes findings of one line
each, or a fault.
"""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from agent.config.models import RTSP_PREFIXES, SERVICE_STATE, UnitConfig
from agent.keys.identity import NEXT_SUFFIX
from agent.unit.doctor.finding import Finding, Outcome
from agent.unit.process.child import own_module
from agent.wire.health import one_line

SERVICE_USER: Final = "plateseal"
SYSTEMD: Final = Path("/run/systemd/system")
"""Is there while systemd is at work (sd_booted(3))."""
LIMITS: Final = {"core": "0", "fsize": str(16 << 20), "nofile": "1024", "data": str(8 << 30)}
"""As prlimit(1) calls them: no core dump, bytes of a file, open files, bytes of memory that is written to. A Jetson's
libraries reserve more addresses than that, which this does not count."""
ENVIRONMENT: Final = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/nonexistent"}
"""Of the child. fast_plate_ocr asks for a home when it is imported, also of a user who has none."""
PROPERTIES: Final = (
    f"Environment=HOME={ENVIRONMENT['HOME']}",
    "UMask=0077",
    *(f"Limit{name.upper()}={value}" for name, value in LIMITS.items()),
    "MemorySwapMax=0",
    "OOMScoreAdjust=1000",
    "Nice=10",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "KeyringMode=private",
    "LockPersonality=yes",
    "NoNewPrivileges=yes",
    "PrivateMounts=yes",
    "PrivateUsers=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "RestrictSUIDSGID=yes",
    "SocketBindDeny=any",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "SystemCallFilter=~@privileged @resources",
)
"""What both services have and no drop-in of the documents takes back."""
ALLOWED_S: Final = {"way": 180, "vision": 120}
CAMERA_ALLOWED_S: Final = 60
"""For each camera more: its models, and 15 s for a picture."""
CLIENT_GRACE_S: Final = 15
"""systemd ends the child; this is for its client, which then says so."""
MAX_LINE_BYTES: Final = 16 << 10
MAX_FINDINGS: Final = 256


@dataclass(frozen=True, slots=True)
class Child:
    """How one share is looked at.

    Attributes:
        unit: What the file says.
        config: The file.
        credentials: Where the services' private keys lie.
        uid: The user's number.
        share: `way` or `vision`.
    """

    unit: UnitConfig
    config: Path
    credentials: Path
    uid: int
    share: str

    @property
    def within_s(self) -> int:
        """How long it may take, in seconds."""
        return ALLOWED_S[self.share] + (CAMERA_ALLOWED_S * len(self.unit.cameras) if self.share == "vision" else 0)

    @property
    def command(self) -> list[str]:
        """Return the command that runs it."""
        module = own_module(
            "agent.unit.doctor.child", str(self.config.resolve()), str(self.credentials.resolve()), self.share
        )
        return [*(self._by_systemd() if SYSTEMD.is_dir() else self._by_hand()), *module]

    def _by_systemd(self) -> list[str]:
        properties = [f"User={self.uid}", f"RuntimeMaxSec={self.within_s}", *PROPERTIES]
        properties += [f"ReadWritePaths={_quoted(f'-{self.unit.spool.directory}')}"]
        properties += [f"LoadCredential={path.name}:{path}" for path in self._credentials()]
        if self.share == "way":
            properties += ["PrivateDevices=yes"]
        else:
            properties += ["SupplementaryGroups=video", f"PrivateNetwork={'no' if self._needs_network() else 'yes'}"]
        options = [word for each in properties for word in ("-p", each)]
        return ["systemd-run", "--quiet", "--collect", "--pipe", "--wait", "--service-type=exec", *options]

    def _by_hand(self) -> list[str]:
        try:
            user = pwd.getpwuid(self.uid)
            group, groups = user.pw_gid, os.getgrouplist(user.pw_name, user.pw_gid)
        except KeyError:  # a number without a name
            group, groups = self.uid, [self.uid]
        limits = [f"--{name}={value}" for name, value in LIMITS.items()]
        rights = [f"--reuid={self.uid}", f"--regid={group}", f"--groups={','.join(map(str, groups))}"]
        rights += ["--no-new-privs", "--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"]
        return ["prlimit", *limits, f"--cpu={self.within_s * 4}", "setpriv", *rights]

    def _credentials(self) -> list[Path]:
        """Return the files that a share needs and that only root can read, those of a rotation with them."""
        unit = self.unit
        logins = [camera.source.credential for camera in unit.cameras if camera.source.credential is not None]
        named = logins if self.share == "vision" else [unit.seal.signing_key, unit.upload.key]
        files = [path for each in named for path in (each, each.with_name(each.name + NEXT_SUFFIX))]
        return [path for path in dict.fromkeys(files) if path.parent == self.credentials and path.is_file()]

    def _needs_network(self) -> bool:
        return any(camera.source.uri.lower().startswith(RTSP_PREFIXES) for camera in self.unit.cameras)


def service_uid(unit: UnitConfig) -> int:
    """Return whose user the daemons have: the package's for its folder, else whose the state is, else who asks."""
    if unit.state_dir.is_relative_to(SERVICE_STATE):
        try:
            return pwd.getpwnam(SERVICE_USER).pw_uid
        except KeyError:
            pass
    try:
        return unit.state_dir.stat().st_uid
    except OSError:
        return os.geteuid()


def must_confine(unit: UnitConfig) -> bool:
    """Whether root asks about a unit that is another user's."""
    return os.geteuid() == 0 and service_uid(unit) != 0


def examine_confined(child: Child) -> Iterator[Finding]:
    """Look at a share in a process of its own; one that does not come to its end is a fault."""
    with tempfile.TemporaryFile() as said:
        try:
            process = _start(child, said)
        except OSError as error:
            yield _unfinished(child, f"{child.command[0]}: {error.strerror}")
            return
        assert process.stdout is not None
        timer = threading.Timer(child.within_s + CLIENT_GRACE_S, process.kill)
        timer.start()
        try:
            yield from _read(process.stdout, child)
            process.stdout.close()
            status = process.wait()
        finally:
            timer.cancel()
            process.kill()  # where nobody reads on
            process.wait()
        if status:
            yield _unfinished(child, f"status {status}{_last_words(said)}")


def _start(child: Child, said: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start it without the terminal: what has that can type into it."""
    return subprocess.Popen(  # noqa: S603  our own arguments
        child.command,
        cwd="/",
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=said,
        start_new_session=True,
    )


def _read(stream: IO[bytes], child: Child) -> Iterator[Finding]:
    for count, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b"")):
        if count >= MAX_FINDINGS:
            yield _unfinished(child, f"more than {MAX_FINDINGS} findings")
            return
        try:
            told = json.loads(line)
            outcome = Outcome(told["outcome"])
            check, what, why, mend = (
                one_line(str(told[name]), max_chars=MAX_LINE_BYTES) for name in ("check", "what", "why", "mend")
            )
        except (ValueError, TypeError, KeyError, RecursionError):
            yield _unfinished(child, "it wrote something else than findings")
            return
        yield Finding(check, outcome, what, why, mend)


def _unfinished(child: Child, how: str) -> Finding:
    """Say that the rest of a share is not known."""
    looked_at = "models and cameras" if child.share == "vision" else "keys, spool and receiver"
    what = f"the process that looks at {looked_at} with the daemons' rights (user {child.uid}) did not finish: {how}"
    return Finding(
        looked_at, Outcome.FAULT, what, "what it had not looked at is not known", "journalctl -e; then again"
    )


def _last_words(said: IO[bytes]) -> str:
    size = said.seek(0, os.SEEK_END)
    said.seek(max(size - 1024, 0))
    lines = said.read().decode(errors="replace").strip().splitlines()
    return f", {one_line(lines[-1])}" if lines else ""


def _quoted(text: str) -> str:
    """Return a path as systemd takes it in a list: one word."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'

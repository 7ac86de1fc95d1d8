"""A whole bench of real processes for end-to-end tests: receiver, capture and upload on loopback."""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from agent.bench.demo import await_port, device_config, open_store, set_up_parts, start_receiver
from agent.custody.opener import OpenedRead
from agent.records import SpoolState
from agent.spool.newest import parse_mark
from agent.unit.process.run import start_daemon, stop_daemon
from agent.unit.status.metrics import read_snapshots
from agent.unit.status.samples import Snapshot
from tests.fakes.waiting import WITHIN_S, wait_until


@dataclass
class LiveBench:
    """The parts of a demo, each of which a test may start, kill and start again.

    Attributes:
        root: As the demo's work folder.
        processes: Running processes by name.
        seen: Ids of all envelopes that were ever seen in the spool's pending folder: accepted reads.
    """

    root: Path
    clip: Path
    models: Path
    port: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def set_up(self, *, pace: str = "fast") -> None:
        """Make keys and certificates, start the receiver, and write the unit's configuration."""
        set_up_parts(self.root)
        self.start("receiver")
        config = device_config(self.root / "receiver", port=self.port, clip=self.clip, models=self.models)
        config = config.replace("[vision]", f'pace = "{pace}"\n[vision]')
        self.config.write_text(config.replace("poll_s = 0.2", "poll_s = 0.05\nretry_most_s = 0.5"))

    @property
    def config(self) -> Path:
        """The unit's configuration file."""
        return self.root / "device" / "unit.toml"

    @property
    def spool(self) -> Path:
        """The unit's spool."""
        return self.root / "device" / "spool"

    def start(self, name: str) -> None:
        """Start a part; the receiver keeps its port across restarts."""
        log_path = self.root / f"{name}.log"
        with log_path.open("ab") as log:
            if name == "receiver":
                port_file = self.root / "port"
                port_file.unlink(missing_ok=True)
                process = start_receiver(self.root / "receiver", port_file, log=log, port=self.port)
                self.processes[name] = process
                self.port = await_port(port_file, process, log_path)
            else:
                self.processes[name] = start_daemon(name, self.config, log=log)

    def kill(self, name: str) -> None:
        """SIGKILL a running part in the middle of its work."""
        self.look()
        process = self.processes.pop(name)
        assert process.poll() is None, f"{name} ended before it could be killed"
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Stop everything in order."""
        for name in ("capture", "upload", "receiver"):
            if name in self.processes:
                stop_daemon(self.processes.pop(name))

    def look(self) -> None:
        """Note which reads lie accepted in the spool."""
        self.seen |= {path.name for path in (self.spool / SpoolState.PENDING).glob("*")}

    def wait_until(self, done: Callable[[], bool], *, within_s: float = WITHIN_S, looks: int = 1) -> None:
        """Poll, noting accepted reads, until `done`; fail if a part dies or nothing comes of it.

        Args:
            done: What is waited for.
            within_s: What it has for that, seconds.
            looks: Look so often for each time that `done` is asked, which may cost more.
        """
        turns = itertools.count(1)
        wait_until(
            lambda: next(turns) % looks == 0 and done(), meanwhile=self._look_after, within_s=within_s, every_s=0.01
        )

    def _look_after(self) -> None:
        self.look()
        for name, process in self.processes.items():
            assert process.poll() in (None, 0), f"{name}: {(self.root / f'{name}.log').read_text()[-2000:]}"

    def capture_ended(self) -> bool:
        """Whether the clip has been played."""
        return self.processes["capture"].poll() == 0

    def is_drained(self) -> bool:
        """Whether nothing is on its way any more."""
        folders = ("incoming", "pending", "shredding")
        return not any(
            path.is_file() and parse_mark(path.name) is None
            for name in folders
            for path in (self.spool / name).glob("*")
        )

    def measured(self) -> Snapshot:
        """Return what the daemons measured last."""
        return read_snapshots(self.root / "device" / "state" / "run")

    def quarantined(self) -> list[Path]:
        """Return what was set aside."""
        return list((self.spool / SpoolState.QUARANTINE).glob("*"))

    def opened(self) -> list[OpenedRead]:
        """Open everything at the receiver with the owner's keys."""
        return open_store(self.root / "receiver", self.root / "owner")

"""A bench of real processes to kill: one receiver, and units that each capture and upload.

Every process is forked from one that has loaded the code before (multiprocessing's forkserver), so that a process
spends its short life at work instead of importing. What runs in it is the daemon itself, from its configuration on.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Final

from agent.bench.demo import device_config, open_store
from agent.config.load import load_config
from agent.custody.keys import KEYRING, OWNER_PUBLIC, make_keys
from agent.custody.opener import OpenedRead
from agent.errors import ReceiverError
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import init_receiver
from agent.receiver.intake.server import serve
from agent.receiver.intake.verification import ChainReport, verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.spool.newest import parse_mark
from agent.unit.upload.daemon import run_upload
from agent.wire.suites import KeyType
from tests.fakes.pki import add_device
from tests.fakes.waiting import WITHIN_S, wait_until
from tests.torture.capture_process import ACCEPT_LINE_BYTES, Load, accepted_ids, run_canned_capture

POLL_S: Final = 0.02
BRISK: Final = "retry_first_s = 0.05\nretry_most_s = 0.3\n"
"""Settings of `[upload]` for a receiver that is never away for long."""
RECEIVER: Final = "receiver"

WARM: Final = multiprocessing.get_context("forkserver")


@dataclass(frozen=True, slots=True)
class Unit:
    """One camera unit.

    Attributes:
        name: Also its folder's name.
        directory: Keys and configuration.
        disk: Spool, state and logs; a folder of its own, so that a row can put it on another file system.
        accepted: Its accept log.
    """

    name: str
    directory: Path
    disk: Path
    accepted: Path

    @property
    def config(self) -> Path:
        """The unit's configuration file."""
        return self.directory / "unit.toml"

    @property
    def spool(self) -> Path:
        """The unit's spool."""
        return self.disk / "spool"

    def left(self) -> int:
        """Return how many files are on their way; those in quarantine are not."""
        return sum(self.left_by_folder().values())

    def left_by_folder(self) -> dict[str, int]:
        """Return where they are."""
        return {name: sum(1 for _ in _names(self.spool / name)) for name in ("incoming", "pending", "shredding")}

    def accepted_bytes(self) -> int:
        """Return how long the accept log is."""
        return self.accepted.stat().st_size if self.accepted.exists() else 0

    def set_aside(self) -> int:
        """Return how many files are in quarantine."""
        return sum(1 for _ in _names(self.spool / "quarantine"))


@dataclass(slots=True)
class Fleet:
    """The parts, each of which a row may kill and start again.

    Attributes:
        root: Holds `receiver`, `owner` and the units.
        load: What the units capture.
        units: As made by `add_unit`.
        port: Where the units send to: the receiver's once it has listened, or that of what stands in front of it.
        processes: Those that run, by name: `receiver`, `UNIT capture`, `UNIT upload`.
    """

    root: Path
    load: Load
    units: list[Unit] = field(default_factory=list)
    port: int = 0
    processes: dict[str, ForkServerProcess] = field(default_factory=dict)

    @property
    def receiver(self) -> Path:
        """The receiver's folder."""
        return self.root / "receiver"

    @property
    def owner(self) -> Path:
        """The owner's folder."""
        return self.root / "owner"

    def set_up_receiver(self) -> ReceiverLayout:
        """Make the receiver's folder and the owner's keys; start nothing."""
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        make_keys(
            self.owner,
            recipients=["agency"],
            key_type=KeyType.X25519,
            start=today,
            epochs=2,  # a campaign that runs over midnight finds the next epoch's key
            epoch=timedelta(days=1),
            passphrase=None,
        )
        return init_receiver(self.receiver)

    def add_units(self, count: int, *, disk: Path | None = None, settings: str = "") -> None:
        """Make and enrol units that send to `port`.

        Args:
            count: How many.
            disk: Where the only unit keeps spool, state and logs; a folder beside its keys if None.
            settings: TOML lines for the end of the section `[upload]`.
        """
        for _ in range(count):
            self._add_unit(f"unit-{len(self.units)}", disk, settings)

    def parts(self) -> list[str]:
        """Return the names of all processes of the units."""
        return [f"{unit.name} {part}" for unit in self.units for part in ("capture", "upload")]

    def start(self, name: str) -> None:
        """Start a part; the receiver keeps its port."""
        target: Callable[..., None]
        arguments: tuple[object, ...]
        if name == RECEIVER:
            port_file = self.root / "port"
            port_file.unlink(missing_ok=True)
            target, arguments = _receive, (self.receiver, self.port, port_file, self.root / "receiver.log")
        else:
            owner, part = name.split()
            unit = next(unit for unit in self.units if unit.name == owner)
            log = unit.disk / f"{part}.log"
            if part == "capture":
                target, arguments = _capture, (unit.config, unit.accepted, self.load, log)
            else:
                target, arguments = _upload, (unit.config, log)
        process = WARM.Process(target=target, args=arguments, name=name, daemon=True)
        process.start()
        self.processes[name] = process
        if name == RECEIVER and self.port == 0:
            self.wait_until(port_file.exists)
            self.port = int(port_file.read_text())

    def kill(self, name: str) -> None:
        """SIGKILL a part, whatever it does."""
        process = self.processes.pop(name)
        self._require_running(process)
        process.kill()
        process.join()
        process.close()

    def stop(self, name: str) -> None:
        """Ask a part to stop in order, and see that it does."""
        process = self.processes.pop(name)
        self._require_running(process)
        process.terminate()
        process.join(WITHIN_S)
        # One that was started just now may not listen to signals yet, and ends by the signal itself.
        assert process.exitcode in (0, -signal.SIGTERM), f"{process.name} ended with {process.exitcode}"
        process.close()

    def end(self) -> None:
        """Kill whatever is left."""
        for process in self.processes.values():
            process.kill()
            process.join()
        self.processes.clear()

    def settle(self) -> None:
        """Stop capturing, wait until everything is delivered, and stop the rest."""
        for unit in self.units:  # one that was started just now has still to clear what the one before it left
            before = unit.accepted_bytes()
            self.wait_until(lambda: unit.accepted_bytes() > before)  # noqa: B023  used at once
            self.stop(f"{unit.name} capture")
        while left := self._left():
            self.wait_until(lambda: self._left() < left)
        for unit in self.units:
            self.stop(f"{unit.name} upload")
        if RECEIVER in self.processes:
            self.stop(RECEIVER)

    def wait_until(self, done: Callable[[], bool]) -> None:
        """Poll until `done`; break off if a part dies by itself or nothing comes of it."""
        wait_until(done, meanwhile=self._require_all_running, otherwise=self._what_is_left, every_s=POLL_S)

    def _require_all_running(self) -> None:
        for process in self.processes.values():
            self._require_running(process)

    def _what_is_left(self) -> str:
        return f"nothing came of it in time; left: {[unit.left_by_folder() for unit in self.units]}"

    def accepted(self) -> set[str]:
        """Return the ids of all reads that any unit counted as accepted."""
        return set().union(*(accepted_ids(unit.accepted) for unit in self.units))

    def progress(self) -> tuple[int, int]:
        """Return how many reads have been accepted, and how many are stored; the latter is 0 where one cannot look."""
        sizes = [unit.accepted_bytes() for unit in self.units]
        stored = 0
        with suppress(ReceiverError), SqliteStore.open_read_only(ReceiverLayout(self.receiver).store) as store:
            stored = store.totals().envelopes
        return sum(sizes) // ACCEPT_LINE_BYTES, stored

    def stored(self) -> list[str]:
        """Return the ids that the receiver's log holds, in its order."""
        with SqliteStore.open_read_only(ReceiverLayout(self.receiver).store) as store:
            return [row.id.hex() for row in sorted(store.chain_rows(), key=lambda row: row.log)]

    def opened(self) -> list[OpenedRead]:
        """Open every stored read with the owner's keys."""
        return open_store(self.receiver, self.owner)

    def chains(self) -> list[ChainReport]:
        """Return what `receiver verify` says."""
        layout = ReceiverLayout(self.receiver)
        with SqliteStore.open_read_only(layout.store) as store:
            return verify_store(store, DeviceBook(layout.devices))

    def _left(self) -> int:
        return sum(unit.left() for unit in self.units)

    def _add_unit(self, name: str, disk: Path | None, settings: str) -> None:
        directory, layout = self.root / name, ReceiverLayout(self.receiver)
        directory.mkdir(mode=0o700)
        add_device(layout, directory / "identity", name=name)
        for path in (self.owner / KEYRING, self.owner / OWNER_PUBLIC, layout.ca, layout.receipt_public):
            shutil.copyfile(path, directory / path.name)
        unit = Unit(name, directory, disk or directory / "disk", self.root / f"{name}.accepted")
        unit.disk.mkdir(exist_ok=True)
        text = device_config(self.receiver, port=self.port, clip=directory / "no-clip", models=None)
        text = text.replace('state_dir = "state"', f'state_dir = "{unit.disk / "state"}"')
        text = text.replace('directory = "spool"', f'directory = "{unit.spool}"')
        text = text.replace("[seal]", '[seal]\ncipher = "A256GCM"')
        text = text.replace("poll_s = 0.2", f"poll_s = 0.05\n{settings}")
        unit.config.write_text(text)
        self.units.append(unit)

    def _require_running(self, process: ForkServerProcess) -> None:
        if process.exitcode is not None:
            name, _, part = process.name.partition(" ")
            log = next(
                (unit.disk / f"{part}.log" for unit in self.units if unit.name == name), self.root / f"{name}.log"
            )
            last = log.read_text().splitlines()[-3:]
            raise AssertionError(f"{process.name} ended by itself with {process.exitcode}: {' / '.join(last)}")


@contextmanager
def running(fleet: Fleet) -> Iterator[Fleet]:
    """Kill whatever is left of a fleet at the end."""
    try:
        yield fleet
    finally:
        fleet.end()


def _receive(directory: Path, port: int, port_file: Path, log: Path) -> None:
    _log_to(log)
    serve(directory, host="127.0.0.1", port=port, port_file=port_file)


def _upload(config: Path, log: Path) -> None:
    _log_to(log)
    run_upload(load_config(config))


def _capture(config: Path, accepted: Path, load: Load, log: Path) -> None:
    _log_to(log)
    run_canned_capture(load_config(config), accepted, load)


def _log_to(path: Path) -> None:
    """Become like a process of its own: its log, and the signals as they are by default."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(fd, sys.stdout.fileno())
    os.dup2(fd, sys.stderr.fileno())
    os.close(fd)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


def _names(directory: Path) -> Iterator[str]:
    if directory.is_dir():
        with os.scandir(directory) as listing:
            yield from (entry.name for entry in listing if parse_mark(entry.name) is None)


WARM.set_forkserver_preload([__name__])

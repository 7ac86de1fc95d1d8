"""The demo: every part as its own process on loopback, from a recorded clip to reads that the owner opens.

```
WORKDIR/device/     all that a camera unit would hold: identity, keyring, spool, state, logs
WORKDIR/receiver/   the receiver's keys, enrolled devices and store
WORKDIR/owner/      the owner's private keys
```

Owns: setting the parts up, watching them, and the count. The parts themselves are the products', not the demo's.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Final

from agent.bench.demo_report import DemoOutcome, DemoReport
from agent.bench.plaintext_scan import count_hits, count_hits_in, plaintext_pattern
from agent.bench.truth import ScoredPassage, Truth, score
from agent.config.bundle import unit_toml
from agent.custody.keys import KEYRING, OWNER_PUBLIC, load_private_keys, make_keys
from agent.custody.opener import OpenedRead, open_read
from agent.errors import DemoError, FormatError
from agent.keys.identity import create_identity
from agent.keys.keyfiles import write_public
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import open_store as open_envelopes
from agent.records import SpoolState
from agent.spool.newest import parse_mark
from agent.unit.process.child import own_environment, own_module
from agent.unit.process.run import start_daemon, stop_daemon
from agent.unit.status.metrics import read_snapshots
from agent.unit.status.samples import Snapshot
from agent.wire.envelope import parse_envelope, verify_envelope
from agent.wire.suites import KeyType

CAMERA: Final = "demo"
DEMO_CLIP: Final = Path(__file__).resolve().parent / "clips" / "demo.mp4"
"""What is played unless a clip is named; `clips/README.md` says how it was made."""
LOOPBACK: Final = "127.0.0.1"
"""A number: on a machine that cannot resolve `localhost` the demo works too."""
LOOK_EVERY_S: Final = 0.2
START_WITHIN_S: Final = 60.0
"""A process of the demo that has not started by then will not; a cold Python start on a Pi takes a few seconds."""
DRAIN_WITHIN_S: Final = 120.0
"""Longest wait for the last envelopes after the clip's end, without any of them moving."""


@dataclass(frozen=True, slots=True)
class _Bench:
    """The places of one demo."""

    root: Path

    @property
    def device(self) -> Path:
        return self.root / "device"

    @property
    def receiver(self) -> Path:
        return self.root / "receiver"

    @property
    def owner(self) -> Path:
        return self.root / "owner"

    @property
    def config(self) -> Path:
        return self.device / "unit.toml"

    @property
    def spool(self) -> Path:
        return self.device / "spool"

    @property
    def state(self) -> Path:
        return self.device / "state"

    def log(self, name: str) -> Path:
        """The device's daemons log on the device; the receiver logs beside it."""
        return (self.root if name == "receiver" else self.device) / f"{name}.log"


def run_demo(
    clip: Path,
    *,
    workdir: Path,
    models: Path | None,
    truth: Truth | None,
    watch: Callable[[Snapshot], None],
    is_stopped: Callable[[], bool] = lambda: False,
) -> DemoOutcome:
    """Play a clip the whole way and count.

    Args:
        clip: A recording.
        workdir: An empty or new folder; its parent must exist.
        models: Folder of model files; the built-in ones if None.
        truth: The clip's ground truth, for a score.
        watch: Called a few times a second with the metrics of all parts.
        is_stopped: Asked a few times a second; once it says yes, the parts are stopped and nothing is counted.

    Raises:
        DemoError: A process failed, or `is_stopped` said yes.
        PlatesealError: A part could not be set up.
    """
    began_s = time.monotonic()
    bench = _Bench(workdir)
    with _receiver(bench, is_stopped) as port:
        _set_up_device(bench, port, clip, models)
        _play(bench, watch, is_stopped)
    return _count_up(bench, truth, began_s)


def set_up_parts(bench_root: Path) -> None:
    """Make the receiver, the owner's keys and an enrolled device in `bench_root`; start nothing.

    Raises:
        PlatesealError: A part could not be made; the folder must be new or empty.
    """
    bench = _Bench(bench_root)
    try:
        bench.root.mkdir(mode=0o700, exist_ok=True)
        bench.device.mkdir(mode=0o700)
    except OSError as error:
        raise DemoError(f"{error.filename}: {error.strerror}") from None
    layout = init_receiver(bench.receiver)
    identity = bench.device / "identity"
    create_identity(identity, name=CAMERA)
    certificate = enrol(bench.receiver, identity / "enrolment.json")
    write_public(identity / "tls.pem", certificate.pem)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    make_keys(
        bench.owner,
        recipients=["agency"],
        key_type=KeyType.HYBRID,
        start=today,
        epochs=2,  # a demo that runs over midnight finds the next epoch's key
        epoch=timedelta(days=1),
        passphrase=None,  # a bench: its owner, receiver and unit lie side by side anyway
    )
    for source in (bench.owner / KEYRING, bench.owner / OWNER_PUBLIC, layout.ca, layout.receipt_public):
        shutil.copyfile(source, bench.device / source.name)


def device_config(receiver: Path, *, port: int, clip: Path, models: Path | None) -> str:
    """Return the demo unit's configuration as TOML."""
    layout = ReceiverLayout(receiver)
    return unit_toml(
        {
            "camera_id": CAMERA,
            "state_dir": "state",
            "source": {"uri": str(clip.resolve()), "started_at": datetime.now(UTC).isoformat()},
            "vision": {} if models is None else {"models": str(models.resolve())},
            "seal": {"keyring": KEYRING, "owner_key": OWNER_PUBLIC, "signing_key": "identity/signing.key"},
            "spool": {"directory": "spool"},
            "upload": {
                "url": f"https://{LOOPBACK}:{port}",
                "ca": layout.ca.name,
                "certificate": "identity/tls.pem",
                "key": "identity/tls.key",
                "receiver_key": layout.receipt_public.name,
                "poll_s": 0.2,
            },
        }
    )


def start_receiver(directory: Path, port_file: Path, *, log: IO[bytes], port: int = 0) -> subprocess.Popen[bytes]:
    """Start the reference receiver as a process of its own; the port it got is written to `port_file`."""
    where = ("--host", LOOPBACK, "--port", str(port), "--port-file", str(port_file))
    command = own_module("agent.cli.main", "receiver", "serve", str(directory), *where)
    return subprocess.Popen(  # noqa: S603  our own module
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=own_environment()
    )


def await_port(
    port_file: Path, process: subprocess.Popen[bytes], log: Path, is_stopped: Callable[[], bool] = lambda: False
) -> int:
    """Wait until a receiver says which port it listens on.

    Raises:
        DemoError: It ended, or said nothing in time, or `is_stopped` said yes.
    """
    deadline_s = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline_s:
        if port_file.exists():
            return int(port_file.read_text())
        if process.poll() is not None:
            raise DemoError(f"the receiver ended with status {process.returncode}: {_last_line(log)}")
        _pause(is_stopped)
    raise DemoError(f"the receiver did not listen within {START_WITHIN_S:g} s: {_last_line(log)}")


def open_store(receiver: Path, owner: Path) -> list[OpenedRead]:
    """Verify every envelope in a receiver's store and open the reads with the owner's keys, in the store's order.

    Raises:
        PlatesealError: A read cannot be verified or opened.
    """
    keys, book = load_private_keys(owner), DeviceBook(ReceiverLayout(receiver).devices)
    opened = []
    with open_envelopes(ReceiverLayout(receiver).store, read_only=True) as store:
        for row in store.pages():
            assert row.body is not None  # the demo drops nothing
            envelope = parse_envelope(row.body)
            device = book.by_key_id(envelope.device_kid)
            if device is None:
                raise DemoError(f"envelope {envelope.envelope_id[:16]} is stored but its device is not enrolled")
            verify_envelope(envelope, device.signing_key)
            if envelope.tombstone is not None:
                continue  # counts and times; nothing in it to open
            opened.append(open_read(envelope, keys))
    return opened


@contextmanager
def _receiver(bench: _Bench, is_stopped: Callable[[], bool]) -> Iterator[int]:
    set_up_parts(bench.root)
    port_file, log_path = bench.root / "port", bench.log("receiver")
    with log_path.open("wb") as log:
        process = start_receiver(bench.receiver, port_file, log=log)
        try:
            yield await_port(port_file, process, log_path, is_stopped)
        finally:
            stop_daemon(process)


def _set_up_device(bench: _Bench, port: int, clip: Path, models: Path | None) -> None:
    bench.config.write_text(device_config(bench.receiver, port=port, clip=clip, models=models))


def _play(bench: _Bench, watch: Callable[[Snapshot], None], is_stopped: Callable[[], bool]) -> None:
    with ExitStack() as stack:
        upload, capture = (_start(bench, name, stack) for name in ("upload", "capture"))
        _watch_capture(bench, capture, upload, watch, is_stopped)
        _watch_drain(bench, upload, watch, is_stopped)
    watch(_measured(bench))


def _start(bench: _Bench, name: str, stack: ExitStack) -> subprocess.Popen[bytes]:
    log = stack.enter_context(bench.log(name).open("wb"))
    process = start_daemon(name, bench.config, log=log)
    stack.callback(stop_daemon, process)
    return process


def _watch_capture(
    bench: _Bench,
    capture: subprocess.Popen[bytes],
    upload: subprocess.Popen[bytes],
    watch: Callable[[Snapshot], None],
    is_stopped: Callable[[], bool],
) -> None:
    while capture.poll() is None:
        _require_alive(bench, "upload", upload)
        watch(_measured(bench))
        _pause(is_stopped)
    if capture.returncode:
        raise DemoError(f"capture ended with status {capture.returncode}: {_last_line(bench.log('capture'))}")


def _watch_drain(
    bench: _Bench,
    upload: subprocess.Popen[bytes],
    watch: Callable[[Snapshot], None],
    is_stopped: Callable[[], bool],
) -> None:
    left, moved_s = _left_in_spool(bench), time.monotonic()
    while left:
        _require_alive(bench, "upload", upload)
        watch(_measured(bench))
        _pause(is_stopped)
        before, left = left, _left_in_spool(bench)
        if left != before:
            moved_s = time.monotonic()
        elif time.monotonic() - moved_s > DRAIN_WITHIN_S:
            return  # the count names what is left


def _pause(is_stopped: Callable[[], bool]) -> None:
    time.sleep(LOOK_EVERY_S)
    if is_stopped():
        raise DemoError("stopped by a signal")


def _require_alive(bench: _Bench, name: str, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise DemoError(f"{name} ended with status {process.returncode}: {_last_line(bench.log(name))}")


def _left_in_spool(bench: _Bench) -> int:
    """Files in every folder of the spool but quarantine, whose files stay for ever."""
    return sum(path.parent.name != SpoolState.QUARANTINE for path in _waiting(bench))


def _waiting(bench: _Bench) -> Iterator[Path]:
    """Yield the files in the spool, but for the mark of the newest erased envelope, which holds nothing."""
    return (path for path in bench.spool.rglob("*") if path.is_file() and parse_mark(path.name) is None)


def _measured(bench: _Bench) -> Snapshot:
    return read_snapshots(bench.state / "run")


def _count_up(bench: _Bench, truth: Truth | None, began_s: float) -> DemoOutcome:
    measured = _measured(bench)
    opened = open_store(bench.receiver, bench.owner)
    envelopes = {item.envelope.envelope_id: item.envelope for item in opened}
    places = {(envelope.position.chain, envelope.position.seq) for envelope in envelopes.values()}
    pattern = plaintext_pattern(item.read.text for item in opened)
    sealed = int(measured.total("sealed"))
    report = DemoReport(
        frames=int(measured.total("frames")),
        passages=int(measured.total("passages")),
        sealed=sealed,
        acknowledged=int(measured.total("acknowledged")),
        shredded=int(measured.total("shredded")),
        pending=sum(1 for _ in _waiting(bench)),
        opened=len(opened),
        lost=max(sealed - len(places | _places_in_spool(bench)), 0),
        duplicates=len(opened) - len(places),
        plaintext_hits=count_hits(bench.device, pattern)
        + count_hits_in((envelope.data for envelope in envelopes.values()), pattern),
        seconds=round(time.monotonic() - began_s, 2),
    )
    passages = [ScoredPassage(text=item.read.text, frame=item.read.frame_sequence) for item in opened]
    return DemoOutcome(
        report=report,
        opened=opened,
        score=None if truth is None else score(truth, passages),
        complaint=_last_line(bench.log("upload"), of=("WARNING", "ERROR")),
    )


def _places_in_spool(bench: _Bench) -> set[tuple[bytes, int]]:
    """Return chain and sequence number of every read that waits in the spool, in any of its folders."""
    places = set()
    for path in bench.spool.rglob("*"):
        if path.is_file():
            with suppress(FormatError):  # a damaged file holds no read
                position = parse_envelope(path.read_bytes()).position
                places.add((position.chain, position.seq))
    return places


def _last_line(log: Path, *, of: tuple[str, ...] = ("",)) -> str:
    """Return the last line of a log that begins with one of these words."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    found = [line for line in lines if line.startswith(of)]
    return found[-1].removeprefix("plateseal: ") if found else "it printed nothing"

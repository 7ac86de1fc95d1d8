"""A line of 650 bytes a second that loses every fifth packet: everything arrives, in order, and hardly anything twice.

A large envelope stands in front of small ones, as the oldest. The daemons are the real ones, in two network namespaces
with a line between them (`tests/torture/lossy_link.py`). What is sent twice is counted in whole requests, also where a
request broke off at its first byte: the figure is an upper bound.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from agent.bench.demo import LOOPBACK, device_config
from agent.disk.files import LocalFiles
from agent.keys.known_keys import KnownKeys
from agent.receiver.admission.pki import init_receiver
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.sqlite import SqliteStore
from agent.records import Envelope
from agent.spool.spool import FileSpool
from agent.unit.process.child import own_module
from agent.unit.process.run import stop_daemon
from agent.unit.status.metrics import read_snapshots
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import BenchDevice, add_device
from tests.fakes.waiting import wait_until
from tests.torture.lossy_link import RECEIVER_ADDRESS, Line, lossy_line
from tests.torture.places import quick_folder
from tests.torture.report import Result

TARGET: Final = (
    "650 bytes a second, 20 % of the unit's packets lost: everything arrives in its order, a too large one behind the "
    "others; bytes sent at most twice what there was"
)
LOSS: Final = 0.2
BYTES_PER_S: Final = 650
LARGE_BYTES: Final = 200_000
SMALL_BYTES: Final = 4_800
SMALL: Final = 5
REDUCED: Final = (20_000, 12_000, 3)
"""Bytes a second, bytes of the large one, small ones: some seconds."""
WITHIN_S: Final = 3600.0
"""For the next envelope to arrive."""
MOST_SENT: Final = 2.0
SETTINGS: Final = "retry_first_s = 0.5\nretry_most_s = 60.0\nreply_timeout_s = 60.0\nconnect_timeout_s = 60.0\n"


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Deliver over the line, and look at the order and at what was sent."""
    began_s = time.monotonic()
    bytes_per_s, large_bytes, small = (BYTES_PER_S, LARGE_BYTES, SMALL) if full else REDUCED
    with quick_folder("slow") as folder, lossy_line(bytes_per_s=bytes_per_s, loss=LOSS) as line:
        root = Path(folder)
        layout = init_receiver(root / "receiver", hosts=[RECEIVER_ADDRESS])
        (root / "unit").mkdir(mode=0o700)
        device = add_device(layout, root / "unit" / "identity", name="unit")
        envelopes = [*make_chain(device.signing_key, 1, body=bytes(large_bytes))]
        for _ in range(small):
            envelopes += make_chain(device.signing_key, 1, body=bytes(SMALL_BYTES))
        with receiver(line, layout) as port:
            config = set_up(root / "unit", device, layout, envelopes, port)
            arrived, sent_bytes = deliver(line, config, layout, len(envelopes), say)
    total_bytes = sum(len(envelope.data) for envelope in envelopes)
    ids = [envelope.envelope_id for envelope in envelopes]
    in_order = arrived in (ids, [*ids[1:], ids[0]])
    took_s = time.monotonic() - began_s
    figures = (
        f"{len(arrived)} of {len(ids)} envelopes, {total_bytes} bytes, in {took_s:.0f} s, "
        f"{'in order' if in_order else 'OUT OF ORDER'}; sent {sent_bytes / total_bytes:.2f} times; "
        f"{line.counts.lost} of {line.counts.packets} packets lost"
    )
    return Result("slow", TARGET, figures, in_order and sent_bytes <= MOST_SENT * total_bytes, took_s)


@contextmanager
def receiver(line: Line, layout: ReceiverLayout) -> Iterator[int]:
    """Serve at the far end of the line, and give the port."""
    port_file, log = layout.directory / "port", layout.directory / "log"
    options = ("--host", RECEIVER_ADDRESS, "--port", "0", "--port-file", str(port_file))
    command = own_module("agent.cli.main", "receiver", "serve", str(layout.directory), *options)
    with log.open("wb") as stream, _running(line.command(line.receiver, *command), stream) as process:
        wait_until(port_file.exists, otherwise=lambda: f"no receiver: {process.poll()} {log.read_text()}")
        yield int(port_file.read_text())


def set_up(root: Path, device: BenchDevice, layout: ReceiverLayout, envelopes: Sequence[Envelope], port: int) -> Path:
    """Make a unit with these envelopes pending; return its configuration."""
    text = device_config(layout.directory, port=port, clip=root / "no-clip", models=None)
    text = text.replace(f"https://{LOOPBACK}:", f"https://{RECEIVER_ADDRESS}:").replace("poll_s = 0.2", SETTINGS)
    for path in (layout.ca, layout.receipt_public):
        (root / path.name).write_bytes(path.read_bytes())
    (root / "state").mkdir(mode=0o700)
    KnownKeys(root / "state").record(device.signing_key.public_key())
    spool = FileSpool(root / "spool", max_bytes=1 << 28, files=LocalFiles())
    for envelope in envelopes:
        spool.put(envelope)
    config = root / "unit.toml"
    config.write_text(text)
    return config


def deliver(
    line: Line, config: Path, layout: ReceiverLayout, count: int, say: Callable[[str], None]
) -> tuple[list[str], float]:
    """Run upload at the near end until everything is stored and erased; return the order, and bytes sent."""
    log = config.with_name("log")
    command = own_module("agent.cli.main", "upload", "--config", str(config))
    with log.open("wb") as stream, _running(line.command(line.unit, *command), stream):
        arrived: list[str] = []
        while len(arrived) < count or _left(config):
            before = len(arrived), _left(config)
            wait_until(lambda: (len(_stored(layout)), _left(config)) != before, every_s=0.2, within_s=WITHIN_S)  # noqa: B023  used at once
            arrived = _stored(layout)
            say(f"slow: {len(arrived)} of {count} arrived, {line.counts.lost} of {line.counts.packets} packets lost")
    for each in log.read_text().splitlines():
        say(f"slow: {each}")
    return arrived, read_snapshots(config.parent / "state" / "run").total("sent_bytes")


@contextmanager
def _running(command: Sequence[str], log: object) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        stop_daemon(process)


def _left(config: Path) -> int:
    return sum(1 for _ in (config.parent / "spool" / "pending").iterdir())


def _stored(layout: ReceiverLayout) -> list[str]:
    with SqliteStore.open_read_only(layout.store) as store:
        return [row.id.hex() for row in sorted(store.chain_rows(), key=lambda row: row.log)]


if __name__ == "__main__":
    row = run(full="--reduced" not in sys.argv, say=lambda text: print(text, file=sys.stderr, flush=True))  # noqa: T201
    sys.stdout.write(f"{row.figures}, {row.seconds:.0f} s\n")
    sys.exit(not row.holds)

"""Two receivers on one PostgreSQL beside one receiver on its SQLite file: the same envelopes, over real TLS."""

from __future__ import annotations

import http.client
import shutil
import ssl
import statistics
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.bench.demo import LOOPBACK, await_port, start_receiver
from agent.keys import keyfiles
from agent.keys.identity import TLS_KEY_NAME, create_identity
from agent.receiver.admission.pki import enrol, init_receiver
from agent.receiver.layout import ReceiverLayout
from agent.unit.process.run import stop_daemon
from agent.wire.envelope import Envelope
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE, Stored, encode_request, parse_reply
from tests.fakes.envelopes import make_chain
from tests.fakes.postgres import Cluster
from tests.fakes.waiting import WITHIN_S
from tests.torture.campaign import Say
from tests.torture.places import disk_folder
from tests.torture.report import Result

BATCH: Final = 64
BODY_BYTES: Final = 12_000
UNITS: Final = {8: 8, 64: 1}
"""Batches of each unit in a round, by how many units there are."""
REDUCED_UNITS: Final = {2: 1}
ROUNDS: Final = 5
LEAST_RATIO: Final = 1.5
_HEAD: Final = {"content-type": MEDIA_TYPE}


@dataclass(frozen=True, slots=True)
class _Unit:
    """A unit that is enrolled with both: what it connects with, by receiver folder."""

    directory: Path
    contexts: dict[Path, ssl.SSLContext]


def run(*, full: bool, say: Say) -> Result:
    """Send the same to both, in turn, and compare the rates; reduced, only that all are receipted is judged."""
    began_s = time.monotonic()
    counts, rounds = (UNITS, ROUNDS) if full else (REDUCED_UNITS, 1)
    figures, holds, missing = [], True, 0
    with disk_folder("receivers") as folder, ExitStack() as stack:
        root = Path(folder)
        cluster = stack.enter_context(Cluster())
        one = init_receiver(root / "one")
        first = init_receiver(root / "first", store=cluster.new_database())
        units = [_enrolled(root, number, (one, first)) for number in range(max(counts))]
        second = ReceiverLayout(root / "second")
        shutil.copytree(first.directory, second.directory)
        for unit in units:
            unit.contexts[second.directory] = unit.contexts[first.directory]
        for count, batches in counts.items():
            some = units[:count]
            pairs = [_round(some, batches, (one,), (first, second), say) for _ in range(rounds)]
            ratio = statistics.median(several / single for single, several, _ in pairs)
            missing += sum(left for *_, left in pairs)
            holds = holds and (not full or ratio >= LEAST_RATIO)
            single, several = (statistics.median(pair[at] for pair in pairs) for at in (0, 1))
            figures.append(
                f"{count} units: {several:,.0f} envelopes/s, {single:,.0f} by one on a file, {ratio:.2f} times"
            )
    target = f"two receivers on one PostgreSQL at least {LEAST_RATIO} times one on an SQLite file, at 8 and 64 units"
    figures.append(f"{missing} without a receipt")
    return Result("receivers", target, "; ".join(figures), holds and not missing, time.monotonic() - began_s)


def _enrolled(root: Path, number: int, receivers: Sequence[ReceiverLayout]) -> _Unit:
    directory = root / f"unit-{number}"
    identity = create_identity(directory, name=f"cam-{number}")
    contexts = {}
    for receiver in receivers:
        certificate = directory / f"{receiver.directory.name}.pem"
        keyfiles.write_public(certificate, enrol(receiver.directory, identity.enrolment).pem)
        context = contexts[receiver.directory] = ssl.create_default_context(cafile=str(receiver.ca))
        context.check_hostname = False
        context.load_cert_chain(certificate, directory / TLS_KEY_NAME)
    return _Unit(directory, contexts)


def _round(
    units: Sequence[_Unit],
    batches: int,
    single: Sequence[ReceiverLayout],
    several: Sequence[ReceiverLayout],
    say: Say,
) -> tuple[float, float, int]:
    """Return the rates of one and of several receivers, and how many envelopes have no receipt."""
    chains = [_chain(unit, batches) for unit in units]
    rates, missing = [], 0
    for receivers in (single, several):
        rate, without = _delivered(units, chains, receivers)
        rates.append(rate)
        missing += without
    say(f"{len(units)} units: {rates[0]:,.0f} envelopes/s by one, {rates[1]:,.0f} by two")
    return rates[0], rates[1], missing


def _chain(unit: _Unit, batches: int) -> list[bytes]:
    """Return requests with a new chain of a unit's, of version 1, so that rounds need no numbers."""
    key = keyfiles.load_ed25519_private(unit.directory / "signing.key")
    chain: list[Envelope] = make_chain(key, batches * BATCH, body=bytes(BODY_BYTES))
    pieces = [chain[at : at + BATCH] for at in range(0, len(chain), BATCH)]
    return [encode_request([envelope.data for envelope in piece]) for piece in pieces]


def _delivered(
    units: Sequence[_Unit], chains: Sequence[Sequence[bytes]], receivers: Sequence[ReceiverLayout]
) -> tuple[float, int]:
    """Have all units deliver at once, spread over the receivers; return envelopes/s, and how many have no receipt."""
    with ExitStack() as stack:
        ports = {each.directory: stack.enter_context(_serving(each)) for each in receivers}
        lines = []
        for number, unit in enumerate(units):
            at = receivers[number % len(receivers)].directory
            line = http.client.HTTPSConnection(LOOPBACK, ports[at], context=unit.contexts[at], timeout=WITHIN_S)
            lines.append(stack.enter_context(closing(line)))
            line.connect()
        answers: list[bytes] = []
        works = [
            threading.Thread(target=_deliver, args=(line, chain, answers))
            for line, chain in zip(lines, chains, strict=True)
        ]
        began_s = time.monotonic()
        for work in works:
            work.start()
        for work in works:
            work.join()
        took_s = time.monotonic() - began_s
    receipted = sum(isinstance(each, Stored) for answer in answers for each in parse_reply(answer, expected=BATCH))
    sent = sum(map(len, chains)) * BATCH
    return sent / took_s, sent - receipted


def _deliver(line: http.client.HTTPSConnection, requests: Sequence[bytes], answers: list[bytes]) -> None:
    for request in requests:
        line.request("POST", ENVELOPES_PATH, request, _HEAD)
        reply = line.getresponse()
        body = reply.read()
        if reply.status == http.client.OK:
            answers.append(body)


@contextmanager
def _serving(receiver: ReceiverLayout) -> Iterator[int]:
    """Run a receiver; yield its port."""
    log_path, port_file = receiver.directory.with_suffix(".log"), receiver.directory.with_suffix(".port")
    port_file.unlink(missing_ok=True)
    with log_path.open("ab") as log:
        process: subprocess.Popen[bytes] = start_receiver(receiver.directory, port_file, log=log)
    try:
        yield await_port(port_file, process, log_path)
    finally:
        stop_daemon(process)

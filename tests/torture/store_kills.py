"""SIGKILL for receivers and for all of PostgreSQL under load, with the same envelopes sent to two receivers.

Each chain begins with a fork: two envelopes at its first place, one sent to each receiver at the same moment. One of
them may be stored. The chain goes on after that one, and all of it is sent to both receivers, until both have given
receipts.
"""

from __future__ import annotations

import http.client
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.bench.demo import LOOPBACK, await_port, start_receiver
from agent.errors import DemoError
from agent.receiver.admission.devices import DeviceBook
from agent.receiver.intake.verification import verify_store
from agent.receiver.layout import ReceiverLayout
from agent.receiver.stores.opening import open_store, store_of
from agent.unit.process.run import stop_daemon
from agent.wire.envelope import Envelope
from agent.wire.header import CHAIN_ID_BYTES
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE, Answer, Refused, Stored, encode_request, parse_reply
from tests.fakes.envelopes import first_position, make_envelope, next_position
from tests.fakes.pki import Bench, BenchDevice, add_device, make_bench
from tests.fakes.postgres import Cluster
from tests.torture.campaign import Say
from tests.torture.places import disk_folder
from tests.torture.report import Result

TARGET: Final = (
    "100 SIGKILLs each of receivers and of all of PostgreSQL: receipted and missing, two receipts, broken links, wrong "
    "bodies, gaps in the log, forks stored: 0"
)
KILLS: Final = 100
REDUCED_KILLS: Final = 2
UNITS: Final = 3
CHAIN: Final = 12
"""Envelopes after the first one of a chain."""
BATCH: Final = 4
BODY_BYTES: Final = 3_000
MEAN_GAP_S: Final = 0.4
AGAIN_AFTER_S: Final = 0.05
REPLY_WITHIN_S: Final = 20.0
GIVE_UP_AFTER_S: Final = 300.0
SEED: Final = 11


@dataclass(slots=True)
class _Told:
    """What the receivers have said. Only added to.

    Attributes:
        sent: Every envelope, by its id.
        receipts: All receipts that were given for an envelope.
        both: Places of chains at which both of two envelopes were stored.
    """

    sent: dict[str, bytes] = field(default_factory=dict)
    receipts: dict[str, set[bytes]] = field(default_factory=dict)
    both: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, envelopes: Sequence[Envelope], answers: Sequence[Answer]) -> None:
        with self.lock:
            for envelope, answer in zip(envelopes, answers, strict=True):
                self.sent[envelope.envelope_id] = envelope.data
                if isinstance(answer, Stored):
                    self.receipts.setdefault(envelope.envelope_id, set()).add(answer.receipt)


class _Receiver:
    """One receiver's process, that is started again whenever it was killed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._log = directory.with_suffix(".log")
        self._port_file = directory.with_suffix(".port")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> None:
        """Start it, again and again until it listens: while the database is gone, it ends at once."""
        while True:
            self._port_file.unlink(missing_ok=True)
            with self._log.open("ab") as log:
                self._process = start_receiver(self.directory, self._port_file, log=log)
            with suppress(DemoError):
                self.port = await_port(self._port_file, self._process, self._log)
                return

    def kill(self) -> None:
        """End it like a power cut."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None:
            stop_daemon(self._process)


class _Unit(threading.Thread):
    """Delivers chains to both receivers until it is told to end; the last one is delivered whole."""

    def __init__(
        self, bench: Bench, device: BenchDevice, receivers: Sequence[_Receiver], told: _Told, ended: threading.Event
    ) -> None:
        super().__init__(name=device.name)
        self._key = device.signing_key
        self._context = bench.client_context(device)
        self._receivers = receivers
        self._told = told
        self._ended = ended
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Deliver."""
        number, last = 0, None
        try:
            while not self._ended.is_set():
                last = self._deliver(number, last)
                number += 1
        except BaseException as error:  # noqa: BLE001  told by the row
            self.failed = error

    def _deliver(self, number: int, last: Envelope | None) -> Envelope:
        place = first_position(chain=os.urandom(CHAIN_ID_BYTES), run=number, before=last)
        pair = [make_envelope(self._key, place, os.urandom(BODY_BYTES)) for _ in self._receivers]
        answers = self._side_by_side([[envelope] for envelope in pair])
        stored = [each for each, answer in zip(pair, answers, strict=True) if isinstance(answer[0], Stored)]
        assert stored, "neither of two envelopes at one place was taken"
        self._told.both += len(stored) > 1
        chain = stored[:1]
        for _ in range(CHAIN):
            chain.append(make_envelope(self._key, next_position(chain[-1]), os.urandom(BODY_BYTES)))
        for begin in range(0, len(chain), BATCH):
            batch = chain[begin : begin + BATCH]
            answers = self._side_by_side([batch] * len(self._receivers))
            assert all(isinstance(each, Stored) for answer in answers for each in answer), answers
        return chain[-1]

    def _side_by_side(self, batches: Sequence[Sequence[Envelope]]) -> list[list[Answer]]:
        """Send each receiver its batch, at once, and return what it has said for good."""
        found: list[list[Answer]] = [[] for _ in batches]
        raised: list[BaseException] = []

        def send(at: int) -> None:
            try:
                found[at] = self._send(self._receivers[at], batches[at])
            except BaseException as error:  # noqa: BLE001  raised again below
                raised.append(error)

        works = [threading.Thread(target=send, args=(at,)) for at in range(len(batches))]
        for work in works:
            work.start()
        for work in works:
            work.join()
        if raised:
            raise raised[0]
        return found

    def _send(self, receiver: _Receiver, batch: Sequence[Envelope]) -> list[Answer]:
        """Send a batch until each of its envelopes is stored or refused."""
        body = encode_request([envelope.data for envelope in batch])
        give_up_s = time.monotonic() + GIVE_UP_AFTER_S
        while time.monotonic() < give_up_s:
            with suppress(OSError, http.client.HTTPException):
                answers = self._post(receiver, body, len(batch))
                self._told.note(batch, answers)
                if answers and all(isinstance(answer, Stored | Refused) for answer in answers):
                    return answers
            time.sleep(AGAIN_AFTER_S)
        raise TimeoutError(f"no answer from {receiver.directory.name} in {GIVE_UP_AFTER_S:g} s")

    def _post(self, receiver: _Receiver, body: bytes, count: int) -> list[Answer]:
        line = http.client.HTTPSConnection(LOOPBACK, receiver.port, context=self._context, timeout=REPLY_WITHIN_S)
        with closing(line):
            line.request("POST", ENVELOPES_PATH, body, {"content-type": MEDIA_TYPE})
            reply = line.getresponse()
            said = reply.read()
        if reply.status != http.client.OK:
            raise http.client.HTTPException(f"status {reply.status}")
        return parse_reply(said, expected=count)


def run(*, full: bool, say: Say) -> Result:
    """Kill, restart, let everything settle, and count."""
    began_s = time.monotonic()
    wanted = KILLS if full else REDUCED_KILLS
    with disk_folder("store-kills") as folder, ExitStack() as stack:
        cluster = stack.enter_context(Cluster())
        bench = make_bench(Path(folder), store=cluster.new_database())
        more = (add_device(bench.receiver, bench.root / f"unit-{at}", name=f"cam-{at}") for at in range(2, UNITS + 1))
        devices = [bench.device, *more]
        second = bench.receiver.directory.with_name("second")
        shutil.copytree(bench.receiver.directory, second)
        receivers = [_Receiver(bench.receiver.directory), _Receiver(second)]
        for receiver in receivers:
            stack.callback(receiver.stop)
            receiver.start()
        told, ended = _Told(), threading.Event()
        units = [_Unit(bench, device, receivers, told, ended) for device in devices]
        for unit in units:
            unit.start()
        try:
            killed = _kill(cluster, receivers, wanted, say)
        finally:
            ended.set()
            for unit in units:
                unit.join()
        for unit in units:
            if unit.failed is not None:
                raise unit.failed
        figures, holds = _counted(bench.receiver, told)
    kills = f"{killed['receiver']} kills of a receiver, {killed['postgres']} of PostgreSQL"
    holds = holds and min(killed["receiver"], killed["postgres"]) >= wanted
    return Result("store-kills", TARGET, f"{kills}; {figures}", holds, time.monotonic() - began_s)


def _kill(cluster: Cluster, receivers: Sequence[_Receiver], wanted: int, say: Say) -> Counter[str]:
    rng, killed = random.Random(SEED), Counter[str]()
    for number in range(wanted):
        time.sleep(rng.expovariate(1 / MEAN_GAP_S))
        cluster.kill()
        cluster.start()
        killed["postgres"] += 1
        time.sleep(rng.expovariate(1 / MEAN_GAP_S))
        receiver = rng.choice(receivers)
        receiver.kill()
        receiver.start()
        killed["receiver"] += 1
        if number % 10 == 0:
            say(f"{number + 1} of {wanted} kills each")
    return killed


def _counted(layout: ReceiverLayout, told: _Told) -> tuple[str, bool]:
    """Compare what was receipted with what is stored."""
    with open_store(store_of(layout), read_only=True) as store:
        rows = list(store.pages())
        reports = verify_store(store, DeviceBook(layout.devices))
        used = store.totals().log_used
    stored = {row.id.hex(): row for row in rows}
    missing = sum(envelope_id not in stored for envelope_id in told.receipts)
    two = sum(
        len(receipts | {stored[key].receipt or b""} if key in stored else receipts) > 1
        for key, receipts in told.receipts.items()
    )
    wrong = sum(row.body != told.sent.get(key, row.body) or not row.body for key, row in stored.items())
    gaps = used - len(rows) + sum(row.log != log for log, row in enumerate(rows, 1))
    broken = sum(not report.is_continuous for report in reports)
    figures = (
        f"{len(told.receipts):,} envelopes receipted, {len(rows):,} stored in {len(reports)} chains; "
        f"{missing} missing, {two} with two receipts, {broken} chains broken, {wrong} wrong bodies, "
        f"{gaps} gaps in the log, {told.both} forks stored"
    )
    return figures, bool(told.receipts) and not (missing or two or wrong or gaps or broken or told.both)

"""What a receiver's processor does for an envelope, beside what its parts cost by themselves."""

from __future__ import annotations

import hashlib
import http.client
import os
import sqlite3
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from agent.bench.demo import LOOPBACK, await_port, start_receiver
from agent.unit.process.run import stop_daemon
from agent.wire.envelope import Envelope
from agent.wire.protocol import ENVELOPES_PATH, MEDIA_TYPE, Stored, encode_request, parse_reply
from tests.fakes.envelopes import make_chain
from tests.fakes.pki import Bench, make_bench
from tests.fakes.waiting import WITHIN_S
from tests.torture.campaign import Say
from tests.torture.places import disk_folder
from tests.torture.report import Result

BATCH: Final = 64
BATCHES: Final = 30
REDUCED_BATCHES: Final = 2
ROUNDS: Final = 5
BODY_BYTES: Final = 12_000
MOST_RATIO: Final = 1.35
_US: Final = 1e6
_Server = tuple[subprocess.Popen[bytes], http.client.HTTPSConnection]


def run(*, full: bool, say: Say) -> Result:
    """Send batches to a receiver and its parts, in turn; reduced, only that all are receipted is judged."""
    began_s = time.monotonic()
    batches, rounds = (BATCHES, ROUNDS) if full else (REDUCED_BATCHES, 1)
    with disk_folder("intake") as folder, ExitStack() as stack:
        bench = make_bench(Path(folder))
        receiver = stack.enter_context(_server(bench, "receiver"))
        bare = stack.enter_context(_server(bench, "bare"))
        table = stack.enter_context(closing(_table(Path(folder) / "bare.db")))
        chain = make_chain(bench.device.signing_key, rounds * batches * BATCH, body=bytes(BODY_BYTES), run=0)
        receipts, ratios, parts = 0, [], {}
        for number in range(rounds):
            some = chain[number * batches * BATCH :][: batches * BATCH]
            bodies = _bodies(some)
            whole_us, answers = _served(receiver, bodies)
            receipts += sum(
                isinstance(each, Stored) for answer in answers for each in parse_reply(answer, expected=BATCH)
            )
            parts = {"TLS POST": _served(bare, bodies)[0], **_parts(bench, table, some)}
            ratios.append(whole_us / sum(parts.values()))
            say(f"{whole_us:.0f} us an envelope; " + ", ".join(f"{name} {us:.0f}" for name, us in parts.items()))
    ratio = statistics.median(ratios)
    figures = f"{receipts:,} of {len(chain):,} receipted; CPU {ratio:.2f} times the sum of its parts (the last of "
    figures += f"{rounds} rounds, in us: {whole_us:.0f}; {', '.join(f'{name} {us:.0f}' for name, us in parts.items())})"
    target = f"CPU of an envelope at most {MOST_RATIO} times Ed25519, SHA-256, bare TLS POST and bare insert"
    holds = receipts == len(chain) and (not full or ratio <= MOST_RATIO)
    return Result("intake", target, figures, holds, time.monotonic() - began_s)


def _bodies(envelopes: Sequence[Envelope]) -> list[bytes]:
    some = [envelopes[at : at + BATCH] for at in range(0, len(envelopes), BATCH)]
    return [encode_request([envelope.data for envelope in batch]) for batch in some]


def _parts(bench: Bench, table: sqlite3.Connection, envelopes: Sequence[Envelope]) -> dict[str, float]:
    """Return what each part costs by itself, microseconds an envelope."""
    key = bench.device.signing_key
    signed = [(key.sign(envelope.data), envelope.data) for envelope in envelopes]
    public = key.public_key()
    return {
        "Ed25519": _timed(len(envelopes), lambda: [public.verify(*each) for each in signed]),
        "SHA-256": _timed(len(envelopes), lambda: [hashlib.sha256(envelope.data).digest() for envelope in envelopes]),
        "insert": _timed(len(envelopes), lambda: _insert(table, envelopes)),
    }


def _timed(count: int, act: Callable[[], object]) -> float:
    began_s = time.process_time()
    act()
    return (time.process_time() - began_s) / count * _US


def _table(path: Path) -> sqlite3.Connection:
    """Make the smallest table that a receiver could do with."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE envelopes (log INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, body BLOB NOT NULL)")
    return connection


def _insert(connection: sqlite3.Connection, envelopes: Sequence[Envelope]) -> None:
    for at in range(0, len(envelopes), BATCH):
        connection.execute("BEGIN IMMEDIATE")
        rows = [(envelope.digest, envelope.data) for envelope in envelopes[at : at + BATCH]]
        connection.executemany("INSERT INTO envelopes (id, body) VALUES (?,?)", rows)
        connection.execute("COMMIT")


def _served(server: _Server, bodies: Sequence[bytes]) -> tuple[float, list[bytes]]:
    """Post bodies to a server; return its processor time, microseconds an envelope, and the answers."""
    process, line = server
    began_s = _cpu_s(process)
    answers = []
    for body in bodies:
        line.request("POST", ENVELOPES_PATH, body, {"content-type": MEDIA_TYPE})
        reply = line.getresponse()
        answers.append(reply.read())
        assert reply.status == 200
    return (_cpu_s(process) - began_s) / (len(bodies) * BATCH) * _US, answers


def _cpu_s(process: subprocess.Popen[bytes]) -> float:
    """Return the processor time that a process has had, user and system, all threads."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def _server(bench: Bench, name: str) -> Iterator[_Server]:
    """Run a receiver, or a server that only reads and answers, with a connection to it."""
    log_path, port_file = bench.root / f"{name}.log", bench.root / f"{name}.port"
    with log_path.open("ab") as log:
        if name == "receiver":
            process = start_receiver(bench.receiver.directory, port_file, log=log)
        else:
            command = [sys.executable, "-m", "tests.bench.bare_post", str(bench.receiver.directory), str(port_file)]
            process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        port = await_port(port_file, process, log_path)
        context: ssl.SSLContext = bench.client_context()
        line = http.client.HTTPSConnection(LOOPBACK, port, context=context, timeout=WITHIN_S)
        with closing(line):
            yield process, line
    finally:
        stop_daemon(process)

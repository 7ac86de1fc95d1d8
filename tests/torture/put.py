"""How fast the spool accepts, beside a bare loop of the same system calls on the same disk."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.spool.spool import FileSpool
from agent.wire.envelope import Envelope
from tests.fakes.envelopes import make_chain
from tests.torture.places import disk_folder
from tests.torture.report import Result

TARGET: Final = (
    "put, against a bare loop of write + fsync + rename + directory fsync in the same run: at least 0.7 of its rate"
)
LEAST_RATIO: Final = 0.7
BODY_BYTES: Final = 12_000
BLOCKS: Final = 60
REDUCED_BLOCKS: Final = 2
PER_BLOCK: Final = 25


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Take turns, block by block, so that a busy machine is busy for both; a reduced run does not judge the ratio."""
    began_s = time.monotonic()
    blocks = BLOCKS if full else REDUCED_BLOCKS
    envelopes = make_chain(Ed25519PrivateKey.generate(), PER_BLOCK * (blocks + 1), body=bytes(BODY_BYTES))
    put_s = bare_s = 0.0
    with disk_folder("put") as folder:
        spool = FileSpool(Path(folder) / "spool", max_bytes=1 << 30, files=LocalFiles())
        bare = Path(folder) / "bare"
        for name in ("new", "kept"):
            (bare / name).mkdir(parents=True)
        for block in range(blocks + 1):
            some = envelopes[block * PER_BLOCK : (block + 1) * PER_BLOCK]
            now_put_s = timed(spool.put, some)
            now_bare_s = timed(lambda envelope: bare_put(bare, envelope.envelope_id, envelope.data), some)
            if block == 0:
                continue  # the first touches everything for the first time
            put_s, bare_s = put_s + now_put_s, bare_s + now_bare_s
            if block % 10 == 0:
                say(f"{block} of {blocks} blocks, {bare_s / put_s:.2f} so far")
        accepted = len(list((Path(folder) / "spool" / "pending").iterdir()))
    count = blocks * PER_BLOCK
    figures = (
        f"{count} reads of {BODY_BYTES} bytes: {count / put_s:.0f}/s against {count / bare_s:.0f}/s bare, "
        f"{bare_s / put_s:.2f} of its rate"
    )
    holds = accepted == len(envelopes) and (not full or bare_s / put_s >= LEAST_RATIO)
    return Result("put", TARGET, figures, holds, time.monotonic() - began_s)


def timed(work: Callable[[Envelope], None], envelopes: Sequence[Envelope]) -> float:
    """Return how many seconds the same work on each of some envelopes took."""
    began_s = time.perf_counter()
    for envelope in envelopes:
        work(envelope)
    return time.perf_counter() - began_s


def bare_put(folder: Path, name: str, data: bytes) -> None:
    """Write, sync, rename, sync the directory, and nothing else."""
    new, kept = f"{folder}/new/{name}", f"{folder}/kept/{name}"
    fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename(new, kept)  # noqa: PTH104  bare
    fd = os.open(f"{folder}/kept", os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(fd)
    os.close(fd)

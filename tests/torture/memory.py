"""What is left of finished reads in the memory of a process that sealed them: a best effort, measured.

    python -m tests.torture memory

A child seals reads and then waits; its parent searches all of its writable memory for the plate texts, for the crops
and for the content keys, and for a control that the child keeps, which must be found. The child tells them masked, so
that telling them leaves no copy. Python cannot wipe what it frees; `MALLOC_PERTURB_` and `PYTHONMALLOC=malloc` make the
C library do it, and the second row shows by how much.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.torture.report import Result

READS: Final = 50
REDUCED_READS: Final = 20
MASK: Final = 0x5A
WAIT_S: Final = 1.0
"""How long after the last read the search begins."""
OVERWRITTEN: Final = "freed memory overwritten"
TARGET: Final = (
    "a second after the last read, no content key and no crop is left in memory where freed memory is overwritten"
)
SETTINGS: Final[dict[str, dict[str, str]]] = {
    "as it comes": {},
    OVERWRITTEN: {"PYTHONMALLOC": "malloc", "MALLOC_PERTURB_": "165"},
}

CHILD: Final = """
import gc, os, sys
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from agent.wire import suites
from agent.seal import sealer
from agent.seal.chain import Chain
from agent.keys.keyring import KeyringBook
from tests.fakes.reads import make_keyring, make_plaintext, make_recipient

masked = []
def tell(kind, value):
    masked.append(kind + bytes(byte ^ 0x5A for byte in value).hex())

def draw(count, real=os.urandom):
    value = real(count)
    if count == suites.CONTENT_KEY_BYTES:
        tell("key ", value)
    return value

sealer.os.urandom = draw
recipient, _ = make_recipient(suites.KeyType.HYBRID)
book = KeyringBook(make_keyring(recipient))
engine = sealer.Sealer(
    signing_key=Ed25519PrivateKey.generate(), book=book, cipher=suites.ContentCipher.AES_256_GCM
)
chain = Chain()

def seal_one(index):
    text = f"Q{index:03d}" + os.urandom(4).hex().upper()
    crop = os.urandom(12000)
    tell("text ", text.encode())
    tell("crop ", crop[5000:5032])
    chain.advance(engine.seal(make_plaintext(text, crop=crop), chain.next))

for index in range(int(sys.argv[1])):
    seal_one(index)
kept = os.urandom(33)
tell("control ", kept)
gc.collect()
sys.stdout.write("\\n".join(masked) + "\\n.\\n")
sys.stdout.flush()
sys.stdin.read()
"""


@dataclass
class Remains:
    """How many secrets of each kind were found, of how many."""

    setting: str
    found: dict[str, int]
    of: dict[str, int]


def search(setting: str, *, reads: int = READS) -> Remains:
    """Seal reads in a child and search its memory.

    Raises:
        PermissionError: This user may not read another process's memory.
    """
    environment = {**os.environ, **SETTINGS[setting]}
    command = [sys.executable, "-c", CHILD, str(reads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout is not None
        told: list[tuple[str, bytes]] = []
        while (line := child.stdout.readline().strip()) not in (".", ""):
            kind, value = line.split()
            told.append((kind, bytes(byte ^ MASK for byte in bytes.fromhex(value))))
        time.sleep(WAIT_S)
        try:
            present = _present([value for _, value in told], child.pid)
        finally:
            child.communicate()
    kinds = sorted({kind for kind, _ in told})
    return Remains(
        setting,
        {kind: sum(value in present for each, value in told if each == kind) for kind in kinds},
        {kind: sum(each == kind for each, _ in told) for kind in kinds},
    )


def run(*, full: bool, say: Callable[[str], None]) -> Result:
    """Search with every setting; what must not be found is judged where freed memory is overwritten."""
    began_s = time.monotonic()
    rows, holds = [], True
    for setting in SETTINGS:
        remains = search(setting, reads=READS if full else REDUCED_READS)
        counts = ", ".join(f"{remains.found[kind]} of {remains.of[kind]} {kind}s" for kind in remains.of)
        rows.append(f"{setting}: {counts}")
        say(rows[-1])
        holds &= remains.found["control"] == remains.of["control"]
        if setting == OVERWRITTEN:
            holds &= remains.found["key"] == remains.found["crop"] == 0
    return Result("memory", TARGET, "; ".join(rows), holds, time.monotonic() - began_s)


def _present(values: list[bytes], pid: int) -> set[bytes]:
    pattern = re.compile(b"|".join(re.escape(value) for value in values))
    return {match for chunk in _memory(pid) for match in pattern.findall(chunk)}


def _memory(pid: int) -> Iterator[bytes]:
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            span, mode = line.split()[:2]
            if mode.startswith("rw"):
                begin, end = (int(edge, 16) for edge in span.split("-"))
                try:
                    memory.seek(begin)
                    yield memory.read(end - begin)
                except (OSError, ValueError, OverflowError):
                    continue  # a mapping of the kernel's that cannot be read

"""A partial plate among 90 million reads: with the index of their store, against opening each of them.

A store as the receiver keeps it is searched both ways and must give the same reads. The large index has made-up reads,
in files as `plateseal custody index` writes them. A process of its own searches it, with those that it starts, so that
their memory is their own. Opening 90 million reads is extrapolated from the store.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import string
import time
from collections.abc import Collection, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Final

from agent.cli.owner import Progress, open_receiver
from agent.custody.access import load_keys, open_reads
from agent.custody.index_file import MAX_MESSAGES, Head, IndexRow, Part, encode_index
from agent.custody.indexed import Candidates, index_files
from agent.custody.indexing import make_index
from agent.custody.owner import Owner, unlock_owner
from agent.custody.plates import parse_pattern
from agent.custody.search import Logged, Query, Tally
from agent.custody.stored_receiver import StoredReceiver
from agent.wire import cbor
from agent.wire.suites import KeyType
from agent.wire.times import to_ms
from tests.bench.search import MANDATE, filled
from tests.fakes.owner import DAY, PASSPHRASE, MemoryReceiver, make_owner
from tests.fakes.reads import NOON
from tests.torture.campaign import Say
from tests.torture.places import quick_folder
from tests.torture.report import Result

READS: Final = 90_000_000
CAMERAS: Final = 300
DAYS: Final = 30
STORED: Final = 100_000
REDUCED_STORED: Final = 60
CPU_S: Final = 5.0
WALL_S: Final = 3.0
MEMORY_MB: Final = 64
TIMES: Final = 5_000
_PLATE_CHARS: Final = 7
_MIXTURES: Final = 4
"""Files differ in their keys and salts, and have one of so many lists of reads."""


@dataclass(frozen=True, slots=True)
class _Looked:
    """Searches of the large index, one for each place of the unknown: the worst of each figure."""

    cpu_s: float
    wall_s: float
    memory_mb: float
    hits: list[int]


class _NoStore(MemoryReceiver):
    """The store of the large index: its entries are there, and their bytes are not."""

    def __init__(self) -> None:
        """Have nothing."""
        super().__init__(stored=[])
        self.asked = 0

    def logged(self, after: int, kids: Collection[bytes] | None = None) -> Iterator[Logged]:
        """Yield none: all is indexed."""
        del after, kids
        yield from ()

    def logged_at(self, log: int) -> Logged:
        """Return the entry without its bytes."""
        self.asked += 1
        return Logged(log, _id_of(log), to_ms(NOON), None)


def run(*, full: bool, say: Say) -> Result:
    """Search a store with its index and without, then a large index."""
    began_s = time.monotonic()
    stored, files = (STORED, -(-READS // MAX_MESSAGES)) if full else (REDUCED_STORED, 2)
    rows = MAX_MESSAGES if full else 500
    with quick_folder("search") as folder:
        each_s, is_equal = _compared(Path(folder), stored, say)
    with quick_folder("search") as folder:
        plate, wanted = _write_large(Path(folder), files, rows, say)
        before = _files_in(Path(folder))
        looked = _look_alone(Path(folder), plate)
        is_still = before == _files_in(Path(folder))
    reads = files * rows
    times = each_s * reads / looked.cpu_s
    figures = (
        f"{reads:,} reads: {looked.cpu_s:.1f} s of CPU, {looked.wall_s:.1f} s wall, "
        f"{looked.memory_mb:.0f} MB a process, "
        f"{times:,.0f} times cheaper than opening each ({1e6 * each_s:.0f} us a read); "
        f"a store of {stored:,} searched both ways: {'equal' if is_equal else 'DIFFERENT'}; "
        f"files changed or added: {'none' if is_still else 'SOME'}"
    )
    say(figures)
    target = (
        f"at most {CPU_S:g} s of CPU, {WALL_S:g} s wall, {MEMORY_MB} MB; at least {TIMES:,} times cheaper than opening "
        "each read; the same reads as by opening each; no file written"
    )
    is_right = is_equal and is_still and all(hits >= wanted for hits in looked.hits)
    is_quick = looked.cpu_s <= CPU_S and looked.wall_s <= WALL_S and looked.memory_mb <= MEMORY_MB and times >= TIMES
    return Result("search", target, figures, is_right and (not full or is_quick), time.monotonic() - began_s)


def _compared(root: Path, stored: int, say: Say) -> tuple[float, bool]:
    """Return the processor time of opening a read in a search, and whether both ways find the same reads."""
    dice = random.Random(19)
    texts = [_plate(dice) for _ in range(stored)]
    owner, receiver = filled(root, KeyType.HYBRID, 1, stored, say, texts=texts)
    queries = [Query(plate=parse_pattern(pattern)) for pattern in _with_one_unknown(texts[stored // 2])]
    with open_receiver(receiver, Progress("opening")) as view:
        began_s = time.process_time()
        plain = _ids(owner, view, queries[0])
        each_s = (time.process_time() - began_s) / stored
        say("indexing")
        make_index(owner, view, MANDATE)
        quick = [_ids(owner, view, query) for query in queries]
        wanted = [sum(query.plate is not None and query.plate.matches(text) for text in texts) for query in queries]
    return each_s, quick[0] == plain and [len(ids) for ids in quick] == wanted


def _ids(owner: Owner, view: StoredReceiver, query: Query) -> list[str]:
    batches = open_reads(owner, view, query, MANDATE, tally=Tally())
    return [opened.envelope.envelope_id for batch in batches for opened in batch]


def _write_large(root: Path, files: int, rows: int, say: Say) -> tuple[str, int]:
    """Write an index of made-up reads; return a plate, and how often it is in it."""
    owner, dice = make_owner(root / "owner", key_type=KeyType.HYBRID, epochs=DAYS), random.Random(90)
    keys = sorted(load_keys(owner, "").private.values(), key=lambda key: key.kid)
    mixtures = [[_row(dice, entry) for entry in range(1, rows + 1)] for _ in range(_MIXTURES)]
    owner.layout.index.mkdir(mode=0o700)
    for number, (after, last) in enumerate(pairwise(range(0, (files + 1) * rows, rows))):
        key = keys[number * DAYS // files]
        part = Part(frozenset({key.kid}), key.kid, rows, 0, b"", 0, 0)
        head = Head(after, last, _id_of(last), to_ms(NOON), (), 0, (part,))
        data = encode_index(head, [mixtures[number % _MIXTURES]], [key], owner.signing_key)
        (owner.layout.index / f"{last:016}.index").write_bytes(data)
        if number % 100 == 0:
            say(f"writing: file {number:,} of {files:,}")
    return mixtures[0][rows // 2].text, -(-files // _MIXTURES)


def _row(dice: random.Random, entry: int) -> IndexRow:
    at = NOON + timedelta(seconds=dice.randrange(int(DAY.total_seconds())))
    return IndexRow(_plate(dice), to_ms(at), f"cam-{dice.randrange(CAMERAS)}", entry)


def _look_alone(root: Path, plate: str) -> _Looked:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as alone:
        return alone.submit(_look, root / "owner", plate).result()


def _look(directory: Path, plate: str) -> _Looked:
    owner, cpu_s, wall_s, hits = unlock_owner(directory, PASSPHRASE), list[float](), list[float](), list[int]()
    for pattern in _with_one_unknown(plate):
        store, began_s, began_cpu_s = _NoStore(), time.monotonic(), _cpu_s()
        query = Query(plate=parse_pattern(pattern))
        files = index_files(owner.layout, owner.public_key)
        assert not any(Candidates(store, load_keys(owner, ""), query, Tally(), files))
        cpu_s.append(_cpu_s() - began_cpu_s)
        wall_s.append(time.monotonic() - began_s)
        hits.append(store.asked - len(files))
    return _Looked(max(cpu_s), max(wall_s), _peak_mb(), hits)


def _cpu_s() -> float:
    """Return the processor time of this process and of those of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def _peak_mb() -> float:
    """Return the memory of this process, or of its largest child, at its highest."""
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
    return max(largest, _own_peak_mb())


def _own_peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1000


def _files_in(root: Path) -> list[tuple[Path, int, int]]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return [(path, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _with_one_unknown(plate: str) -> list[str]:
    return [plate[:place] + "?" + plate[place + 1 :] for place in range(len(plate))]


def _plate(dice: random.Random) -> str:
    return "".join(dice.choices(string.ascii_uppercase, k=2) + dice.choices(string.digits, k=_PLATE_CHARS - 2))


def _id_of(log: int) -> bytes:
    return cbor.sha256(log.to_bytes(8, "big"))

"""What the files of an index answer to a query: by one process, or by several where there are many files.

Owns: that work, and the processes. They are started anew and get keys and query through a pipe, in memory alone, never
by their arguments or a file. Leaves to others: which files count, and what follows from an answer (`indexed`); the
comparison (`index_scan`).

Invariants: answers come in the files' order, whoever works them out. Ctrl-C reaches the parent alone, which ends the
others; none of them outlives the search.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from typing import Final

from agent.custody.index_file import CAMERAS, ENTRIES, NAMES, TEXTS, TIMES, IndexFile, Part, parse_names
from agent.custody.index_scan import rows_that_may_fit
from agent.custody.opener import PrivateKey
from agent.custody.search import Keys, Query, Unopened
from agent.errors import FormatError
from agent.wire import suites
from agent.wire.times import MAX_TIME_MS, to_ms

FILES_ALONE: Final = 128
"""One process is through with so many in less time than it takes to start others."""
MOST_PROCESSES: Final = 4
"""Each has up to 64 MB."""
FILES_AT_ONCE: Final = 16
"""Handed to a process together."""


@dataclass(slots=True)
class Answer:
    """What a file says to a query.

    Attributes:
        logs: Indices in the log to look at, in order.
        ruled_out: How many reads do not fit.
        tombstones: How many tombstones are among the entries.
        unopened: Reads that nobody can open, by reason.
    """

    logs: list[int]
    ruled_out: int = 0
    tombstones: int = 0
    unopened: dict[Unopened, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Means:
    """What answering takes of `Keys`.

    Attributes:
        raw: Algorithm and raw bytes of each private key, by its id.
        asked, beyond, destroyed: As in `Keys`.
    """

    raw: dict[bytes, tuple[int | str, bytes]] = field(repr=False)
    asked: frozenset[bytes] | None
    beyond: frozenset[bytes]
    destroyed: frozenset[bytes]


class _CannotSayError(Exception):
    """The key of a part is not here, though another one may open its reads."""


def answers(files: Sequence[IndexFile], keys: Keys, query: Query) -> Generator[Answer | None, None, None]:
    """Yield the answer of each file, in order; None where its reads must be opened one by one.

    Args:
        files: Files that count.
        keys: What opens the reads, and which are asked for.
        query: What is looked for.
    """
    raw = {kid: (key.suite.alg, key.raw) for kid, key in keys.private.items()}
    means = _Means(raw, keys.asked, keys.beyond, keys.destroyed)
    processes = min(len(os.sched_getaffinity(0)), MOST_PROCESSES)
    if len(files) <= FILES_ALONE or processes == 1:
        yield from (_answer(file, means, query) for file in files)
        return
    done = 0
    try:
        for answer in _by_several(files, means, query, processes):
            yield answer
            done += 1
    except BrokenProcessPool:  # somebody has killed one of them, or memory is short
        yield from (_answer(file, means, query) for file in files[done:])


def _by_several(files: Sequence[IndexFile], means: _Means, query: Query, processes: int) -> Iterator[Answer | None]:
    pool = ProcessPoolExecutor(
        processes, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(means, query)
    )
    try:
        yield from pool.map(_work, files, chunksize=FILES_AT_ONCE)
    finally:
        pool.shutdown(cancel_futures=True)


_task: tuple[_Means, Query]


def _begin(means: _Means, query: Query) -> None:
    """Take over, in a process of its own, what all its files are asked."""
    global _task  # noqa: PLW0603  there is one query in the life of the process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _task = means, query


def _work(file: IndexFile) -> Answer | None:
    return _answer(file, *_task)


def _answer(file: IndexFile, means: _Means, query: Query) -> Answer | None:
    try:
        return _ask(file, means, query)
    except (_CannotSayError, FormatError, OSError):
        return None


def _ask(file: IndexFile, means: _Means, query: Query) -> Answer:
    asked = means.asked
    answer = Answer(list(file.head.left), tombstones=file.head.tombstones if asked is None else 0)
    for part in file.head.parts:
        if asked is not None and asked.isdisjoint(part.kids):
            continue
        reason = _why_none(part, means)
        if reason is not None:
            answer.unopened[reason] = answer.unopened.get(reason, 0) + part.reads
            continue
        if part.by not in means.raw or not part.rows:
            raise _CannotSayError
        alg, raw = means.raw[part.by]
        logs = _entries(file, part, PrivateKey(suites.suite_by_alg(alg, what="private key"), part.by, raw), query)
        answer.ruled_out += part.reads - len(logs)
        answer.logs += [file.head.after + entry for entry in logs]
    answer.logs.sort()
    return answer


def _why_none(part: Part, means: _Means) -> Unopened | None:
    """Return why no read of a part opens, if none does but those that are held."""
    if not part.kids.isdisjoint(means.beyond):
        return Unopened.OTHER_EPOCH
    return Unopened.KEY_DESTROYED if part.kids <= means.destroyed else None


def _entries(file: IndexFile, part: Part, key: PrivateKey, query: Query) -> list[int]:
    """Return the entries of a part that may fit, in order, less the file's `after`."""
    rows: Sequence[int] = range(part.rows)
    if query.plate is not None:
        rows = rows_that_may_fit(file.column(part, TEXTS, key), query.plate)
    if rows and (query.start is not None or query.end is not None):
        times = file.numbers(part, TIMES, key)
        since = 0 if query.start is None else to_ms(query.start)
        until = MAX_TIME_MS if query.end is None else to_ms(query.end)
        rows = [row for row in rows if since <= times[row] <= until]
    if rows and query.camera is not None:
        names = parse_names(file.column(part, NAMES, key))
        number = names.index(query.camera) if query.camera in names else -1
        cameras = file.numbers(part, CAMERAS, key)
        rows = [row for row in rows if cameras[row] == number]
    if not rows:
        return []
    entries = file.numbers(part, ENTRIES, key)
    return sorted({entries[row] for row in rows})


__all__ = ["Answer", "answers"]

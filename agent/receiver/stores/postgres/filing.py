"""Which table the bytes of an envelope go to, within the store's transaction.

Owns: the rows of `body_files`, and writing bytes. Leaves to others: the names (`agent.receiver.stores.filing`, whose
choice is the same for every engine), and dropping (`dropping`).

Bytes are written before the log is locked, which is the longest that others would have to wait for. What is dropped
meanwhile shows when the rows of `body_files` are counted up, with the log locked: such an envelope gets no place.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import psycopg
from psycopg import sql

from agent.receiver.stores.filing import DAY_MS, HELD, NEW_FILES_A_DAY, TOMBSTONES, VARIOUS, name_of
from agent.receiver.stores.postgres.bodies import Bodies, EpochTable
from agent.receiver.stores.postgres.database import fetch
from agent.receiver.stores.postgres.schema import table_of
from agent.wire.envelope import Envelope

_FOUND = "SELECT name, number, name, dropped_at_ms IS NOT NULL FROM body_files WHERE name = any(%b::text[])"
_BEGUN = "SELECT count(*) FROM body_files WHERE begun_by = %b AND begun_at_ms > %b"
_BEGIN = """
INSERT INTO body_files (name, kids, begun_by, begun_at_ms, dropped_at_ms) VALUES (%b, %b, %b, %b, %b)
ON CONFLICT (name) DO NOTHING RETURNING number
"""
_COUNT_UP = """
UPDATE body_files AS f SET reads = f.reads + w.reads, bytes = f.bytes + w.bytes
FROM unnest(%b::integer[], %b::bigint[], %b::bigint[]) AS w (number, reads, bytes) WHERE f.number = w.number
RETURNING f.number, f.dropped_at_ms IS NOT NULL
"""


@dataclass(frozen=True, slots=True)
class File:
    """A row of `body_files`.

    Attributes:
        number: Its number.
        name: Its name.
        is_dropped: Whether its bytes are gone by policy.
    """

    number: int
    name: str
    is_dropped: bool

    @property
    def epoch(self) -> EpochTable:
        """What the bytes in it are asked for by."""
        return self.number, self.name


class Filing:
    """Files the new envelopes of one transaction."""

    def __init__(self, connection: psycopg.Connection, bodies: Bodies, at_ms: int) -> None:
        """Begin, in a transaction; `at_ms` is the time of storing, milliseconds since 1970 UTC."""
        self._connection = connection
        self._bodies = bodies
        self._at_ms = at_ms
        self._files: dict[str, File] = {}
        self._of: dict[bytes, tuple[int, int | None]] = {}

    def write(self, envelopes: Sequence[Envelope]) -> None:
        """Write the bytes of new envelopes, where they are kept."""
        wanted = sorted({name_of(envelope.kids) for envelope in envelopes} | {VARIOUS})
        self._files = self._found(wanted)
        by_epoch: defaultdict[EpochTable, list[Envelope]] = defaultdict(list)
        for envelope in envelopes:
            file = self._file(envelope)
            self._of[envelope.digest] = file.number, None
            if not file.is_dropped:
                by_epoch[file.epoch].append(envelope)
        for epoch in sorted(by_epoch):
            self._add(epoch, by_epoch[epoch])

    def count_up(self, envelopes: Sequence[Envelope]) -> Mapping[bytes, tuple[int, int | None]]:
        """Count new envelopes, with the log locked; return file and place of each by its id, no place where dropped."""
        counted: defaultdict[int, tuple[int, int]] = defaultdict(lambda: (0, 0))
        for envelope in envelopes:
            number, _ = self._of[envelope.digest]
            reads, length = counted[number]
            counted[number] = reads + 1, length + len(envelope.data)
        numbers = sorted(counted)
        sums = numbers, [counted[number][0] for number in numbers], [counted[number][1] for number in numbers]
        gone = {number for number, is_dropped in fetch(self._connection, _COUNT_UP, sums) if is_dropped}
        return {key: (number, None if number in gone else place) for key, (number, place) in self._of.items()}

    def _found(self, names: Iterable[str]) -> dict[str, File]:
        return {row[0]: File(*row[1:]) for row in fetch(self._connection, _FOUND, (list(names),))}

    def _file(self, envelope: Envelope) -> File:
        name = name_of(envelope.kids)
        if name in self._files:
            return self._files[name]
        are_dropped = self._are_dropped(envelope.kids)
        if name != TOMBSTONES and not are_dropped:
            ((begun,),) = fetch(self._connection, _BEGUN, (envelope.device_kid, self._at_ms - DAY_MS))
            name = name if begun < NEW_FILES_A_DAY else VARIOUS
        if name not in self._files:
            row = name, b"" if name == VARIOUS else b"".join(envelope.kids), envelope.device_kid, self._at_ms
            dropped_at_ms = self._at_ms if are_dropped else None
            self._files[name] = begin(self._connection, self._bodies, row, dropped_at_ms=dropped_at_ms)
        return self._files[name]

    def _are_dropped(self, kids: tuple[bytes, ...]) -> bool:
        query = "SELECT count(*) FROM dropped_kids WHERE kid = any(%b::bytea[])"
        return bool(kids) and bool(fetch(self._connection, query, (list(kids),))[0][0] == len(set(kids)))

    def _add(self, epoch: EpochTable, envelopes: Sequence[Envelope]) -> None:
        query = "SELECT nextval('places') FROM generate_series(1, %b)"
        places = [row[0] for row in fetch(self._connection, query, (len(envelopes),))]
        here = list(zip(places, envelopes, strict=True))
        self._of |= {envelope.digest: (epoch[0], place) for place, envelope in here}
        self._bodies.add(self._connection, epoch, [(place, envelope.data) for place, envelope in here])


def begin(
    connection: psycopg.Connection, bodies: Bodies, row: tuple[str, bytes, bytes, int], *, dropped_at_ms: int | None
) -> File:
    """Begin a file with its table, or find the one that another transaction has begun meanwhile.

    Args:
        connection: In a transaction.
        bodies: Where bytes lie.
        row: Name, ids of keys, device key, time of storing.
        dropped_at_ms: That time too, where its keys were dropped before; it has no table then.
    """
    begun = fetch(connection, _BEGIN, (*row, dropped_at_ms))
    if not begun:
        ((_, *found),) = fetch(connection, _FOUND, ([row[0]],))
        return File(*found)
    file = File(begun[0][0], row[0], dropped_at_ms is not None)
    if not file.is_dropped:
        tables = map(sql.Identifier, (table_of(file.number), bodies.pattern))
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL)").format(*tables))
    return file


def held_file(connection: psycopg.Connection, bodies: Bodies, at_ms: int) -> File:
    """Return the file of held reads."""
    return begin(connection, bodies, (HELD, b"", b"", at_ms), dropped_at_ms=None)


def mend(connection: psycopg.Connection, bodies: Bodies, repeats: Sequence[tuple[int, int, bytes]]) -> None:
    """Replace stored bytes that are not those that came again: their receipt must stay true.

    Args:
        connection: In a transaction.
        bodies: Where bytes lie.
        repeats: Number of the file, place, and bytes.
    """
    by_file: defaultdict[int, dict[int, bytes]] = defaultdict(dict)
    for number, place, data in repeats:
        by_file[number][place] = data
    here = fetch(
        connection,
        "SELECT number, name FROM body_files WHERE number = any(%b::integer[]) AND dropped_at_ms IS NULL",
        (sorted(by_file),),
    )
    for number, name in here:
        wanted = by_file[number]
        found = bodies.read(connection, (number, name), wanted)
        damaged = {place: data for place, data in wanted.items() if found.get(place) != data}
        if damaged:
            bodies.put_again(connection, (number, name), damaged)


__all__ = ["File", "Filing", "held_file", "mend"]

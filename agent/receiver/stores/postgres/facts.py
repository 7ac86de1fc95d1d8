"""What a PostgreSQL store knows of the chains of one batch, fetched in a few statements.

Owns: these statements, and the memory in which the batch's own envelopes are added to what they found. Leaves to
others: what follows from the answers (`agent.receiver.stores.rules`), and the locks that keep them true.

Asked one by one, 64 envelopes would take some 400 statements. What only a rotation or a new chain asks is asked then.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import psycopg

from agent.receiver.stores.facts import MOST_BEGINNINGS
from agent.receiver.stores.postgres.database import fetch
from agent.receiver.stores.rules import Beside, NumberedChain, Place, place_of
from agent.wire.envelope import Envelope

_KNOWN = """
SELECT e.id, e.log, e.file, e.place, r.receipt
FROM entries AS e LEFT JOIN receipts AS r ON r.log = e.log AND r.id = e.id WHERE e.id = any(%b::bytea[])
"""
_NEAR = """
SELECT e.device, e.chain, e.seq, e.id, e.prev
FROM unnest(%b::bytea[], %b::bytea[], %b::bigint[], %b::bigint[]) AS w (device, chain, low, high)
JOIN entries AS e ON e.device = w.device AND e.chain = w.chain AND e.seq BETWEEN w.low AND w.high
"""
_CHAINS = """
SELECT c.device, c.chain, c.run, c.last_seq FROM unnest(%b::bytea[], %b::bytea[]) AS w (device, chain)
JOIN chains AS c ON c.device = w.device AND c.chain = w.chain
"""
_BEGUN_AFTER = """
SELECT b.device, b.chain, b.before FROM unnest(%b::bytea[], %b::bytea[]) AS w (device, chain)
JOIN begins AS b ON b.device = w.device AND b.chain = w.chain
"""
_NAMED = "SELECT before, device, chain FROM begins WHERE before = any(%b::bytea[])"
_PLACES = "SELECT id, device, chain, seq FROM entries WHERE id = any(%b::bytea[])"
_FIRST = (
    "SELECT device, chain, run FROM chains WHERE device = any(%b::bytea[]) AND run IS NOT NULL ORDER BY run LIMIT 1"
)
_TWIN = "SELECT chain FROM chains WHERE device = %b AND run = %b AND chain <> %b LIMIT 1"
_BESIDE = "SELECT seq, id, prev FROM entries WHERE device = %b AND chain = %b AND seq BETWEEN %b AND %b ORDER BY seq"

_Chain = tuple[bytes, bytes]
"""Device key and chain."""


@dataclass(frozen=True, slots=True)
class Known:
    """An entry that is stored already.

    Attributes:
        log: Its index.
        file, place: Where its bytes are; no place where they were dropped.
        receipt: The kept receipt, None where somebody took it.
    """

    log: int
    file: int
    place: int | None
    receipt: bytes | None


def known_of(connection: psycopg.Connection, envelopes: Iterable[Envelope]) -> dict[bytes, Known]:
    """Return which of some envelopes are stored, by their ids."""
    ids = list({envelope.digest for envelope in envelopes})
    return {row[0]: Known(*row[1:]) for row in fetch(connection, _KNOWN, (ids,))}


class PostgresFacts:
    """The facts for the new envelopes of one batch: `ChainFacts`.

    Attributes:
        new_chains: Of each chain that the batch has begun or gone on with: its number and where it ends now.
        new_beginnings: What the batch's chains say that they began after.
    """

    def __init__(self, connection: psycopg.Connection, new: Sequence[Envelope]) -> None:
        """Fetch what the rules will ask of these envelopes; the locks are held."""
        self._connection = connection
        self._near: dict[Place, Beside] = {}
        self._near_looked: set[Place] = set()
        self._place_of: dict[bytes, Place | None] = {}
        self._chains: dict[_Chain, tuple[int | None, int]] = {}
        self._begun_after: defaultdict[_Chain, list[bytes]] = defaultdict(list)
        self._named: defaultdict[bytes, set[_Chain]] = defaultdict(set)
        self.new_chains: dict[_Chain, tuple[int | None, int]] = {}
        self.new_beginnings: list[tuple[bytes, bytes, bytes]] = []
        if new:
            self._fetch_chains(new)
            self._fetch_named(new)

    def add(self, envelope: Envelope) -> bool:
        """Add one that is to be stored; return whether it is the first one here of a numbered chain."""
        place, position = place_of(envelope), envelope.position
        chain = place.device, place.chain
        is_new = chain not in self._chains and position.run is not None
        run, last = self._chains.get(chain, (position.run, -1))
        self._near[place] = Beside(place.seq, envelope.digest, position.prev)
        self._place_of[envelope.digest] = place
        self._chains[chain] = self.new_chains[chain] = run, max(last, place.seq)
        if position.seq == 0 and position.before is not None:
            self._begun_after[chain].append(position.before)
            self._named[position.before].add(chain)
            self.new_beginnings.append((position.before, *chain))
        return is_new

    def beside(self, place: Place) -> list[Beside]:
        """As the protocol."""
        places = [place._replace(seq=place.seq + step) for step in (-1, 0, 1)]
        if not self._near_looked.issuperset(places):
            rows = fetch(self._connection, _BESIDE, (*place[:2], place.seq - 1, place.seq + 1))
            self._near |= {place._replace(seq=row[0]): Beside._make(row) for row in rows}
        return [self._near[each] for each in places if each in self._near]

    def place_of(self, envelope_id: bytes) -> Place | None:
        """As the protocol."""
        if envelope_id not in self._place_of:
            rows = fetch(self._connection, _PLACES, ([envelope_id],))
            self._place_of[envelope_id] = Place._make(rows[0][1:]) if rows else None
        return self._place_of[envelope_id]

    def first_chain(self, devices: Sequence[bytes]) -> NumberedChain | None:
        """As the protocol."""
        found = [NumberedChain._make(row) for row in fetch(self._connection, _FIRST, (list(devices),))]
        found += [NumberedChain(*chain, run) for chain, run in self._new_runs() if chain[0] in devices]
        return min(found, key=lambda chain: chain.run, default=None)

    def twin(self, chain: NumberedChain) -> bytes | None:
        """As the protocol."""
        here = [other[1] for other, run in self._new_runs() if other[0] == chain.device and run == chain.run]
        here += [row[0] for row in fetch(self._connection, _TWIN, (chain.device, chain.run, chain.chain))]
        return next((other for other in here if other != chain.chain), None)

    def named_near(self, envelope: Envelope) -> list[bytes]:
        """As the protocol."""
        position = envelope.position
        chain = envelope.device_kid, position.chain
        two_before = self._near.get(Place(*chain, position.seq - 2))
        candidates = [envelope.digest, position.before, *self._begun_after.get(chain, ())]
        candidates += [two_before.id] if two_before is not None else []
        return [each for each in candidates if each is not None and self._named.get(each)]

    def beginnings(self, before: bytes) -> list[_Chain]:
        """As the protocol."""
        return sorted(self._named.get(before, ()))[:MOST_BEGINNINGS]

    def grows_behind(self, place: Place) -> bool:
        """As the protocol."""
        chain = place.device, place.chain
        if chain not in self._chains:
            self._fetch_ends([chain])
        return self._chains.get(chain, (None, -1))[1] > place.seq

    def _new_runs(self) -> list[tuple[_Chain, int]]:
        return [(chain, run) for chain, (run, _) in self.new_chains.items() if run is not None]

    def _fetch_chains(self, new: Sequence[Envelope]) -> None:
        """Fetch the neighbourhoods of all new envelopes, their chains, and after what these began."""
        wanted = {
            place._replace(seq=seq)
            for place in map(place_of, new)
            for seq in range(max(0, place.seq - 2), place.seq + 2)
        }
        pieces = _pieces(wanted)
        columns = [list(column) for column in zip(*pieces, strict=True)]
        for device, chain, seq, envelope_id, prev in fetch(self._connection, _NEAR, columns):
            self._near[Place(device, chain, seq)] = Beside(seq, envelope_id, prev)
        self._near_looked = {Place(*piece[:2], seq) for piece in pieces for seq in range(piece[2] - 1, piece[3] + 1)}
        chains = list({(device, chain) for device, chain, *_ in pieces})
        self._fetch_ends(chains)
        for device, chain, before in fetch(self._connection, _BEGUN_AFTER, _columns(chains)):
            self._begun_after[device, chain].append(before)

    def _fetch_named(self, new: Sequence[Envelope]) -> None:
        """Fetch who names the envelopes that may stand before a row, where these are, and how far the rows go."""
        before = [position.before for position in (each.position for each in new) if position.before is not None]
        candidates = {each.digest for each in new} | {each.id for each in self._near.values()} | set(before)
        candidates.update(each for named in self._begun_after.values() for each in named)
        for named, device, chain in fetch(self._connection, _NAMED, (list(candidates),)):
            self._named[named].add((device, chain))
        known = {each.id: place for place, each in self._near.items()}
        self._place_of |= known
        asked = [each for each in {*self._named, *before} if each not in known]
        if asked:
            self._place_of |= dict.fromkeys(asked)
            self._place_of |= {row[0]: Place._make(row[1:]) for row in fetch(self._connection, _PLACES, (asked,))}
        others = {chain for chains in self._named.values() for chain in chains}
        others |= {place[:2] for place in self._place_of.values() if place is not None}
        self._fetch_ends([chain for chain in others if chain not in self._chains])

    def _fetch_ends(self, chains: Collection[_Chain]) -> None:
        if chains:
            for device, chain, run, last_seq in fetch(self._connection, _CHAINS, _columns(chains)):
                self._chains[device, chain] = run, last_seq


def _pieces(places: Collection[Place]) -> list[tuple[bytes, bytes, int, int]]:
    """Return places as pieces of chains without a hole: device, chain, lowest and highest number."""
    pieces: list[tuple[bytes, bytes, int, int]] = []
    for device, chain, seq in sorted(places):
        if pieces and pieces[-1][:2] == (device, chain) and pieces[-1][3] == seq - 1:
            pieces[-1] = (*pieces[-1][:3], seq)
        else:
            pieces.append((device, chain, seq, seq))
    return pieces


def _columns(chains: Collection[_Chain]) -> tuple[list[bytes], list[bytes]]:
    return [device for device, _ in chains], [chain for _, chain in chains]


__all__ = ["Known", "PostgresFacts", "known_of"]

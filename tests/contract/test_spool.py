"""What every spool promises, on the real one and on the fake."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.disk.files import LocalFiles
from agent.errors import EnvelopeVerificationError, FormatError, SpoolError, SpoolFullError
from agent.records import Envelope, SpoolState, Usage
from agent.spool.reserve import reserve_bytes, reserve_count
from agent.spool.spool import FileSpool
from agent.wire.envelope import sign_tombstone
from agent.wire.tombstone import Gone, LossReason, Tombstone
from tests.fakes.envelopes import make_chain, make_envelope, next_position
from tests.fakes.files import NoLinks
from tests.fakes.receipts import proof
from tests.fakes.spool import MemorySpool

KEY = Ed25519PrivateKey.generate()
ROOM = 1 << 20
PLACES = 120
AT = datetime(2026, 3, 1, tzinfo=UTC)

Spool = FileSpool | MemorySpool

Corrupt = Callable[[str, bytes], None]


@pytest.fixture(params=["file", "file without links", "memory"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Spool, Corrupt]:
    """Return a spool and a way to damage a pending envelope in it."""
    if request.param == "memory":
        memory = MemorySpool(max_bytes=ROOM, max_count=PLACES)
        return memory, memory.corrupt
    files = LocalFiles() if request.param == "file" else NoLinks()
    spool = FileSpool(tmp_path / "spool", max_bytes=ROOM, max_count=PLACES, files=files)

    def corrupt(envelope_id: str, data: bytes) -> None:
        (tmp_path / "spool" / "pending" / envelope_id).write_bytes(data)

    return spool, corrupt


def tombstone_of(*envelopes: Envelope) -> Envelope:
    """Return a tombstone that covers envelopes of one chain, in the place behind the last of them."""
    first, last = envelopes[0].position, envelopes[-1].position
    gone = Gone(first.chain, first.seq, last.seq, envelopes[-1].digest)
    tombstone = Tombstone(LossReason.EVICTED, len(envelopes), AT, AT, (gone,))
    return sign_tombstone(tombstone, KEY, next_position(envelopes[-1]))


def put_all(spool: Spool, envelopes: list[Envelope]) -> None:
    """Put envelopes so that their order by time is certain."""
    for envelope in envelopes:
        spool.put(envelope)


def ids(spool: Spool, state: SpoolState = SpoolState.PENDING) -> set[str]:
    """Return the ids in one state."""
    return {entry.envelope_id for entry in spool.entries(state)}


def test_what_was_put_comes_back(parts: tuple[Spool, Corrupt]) -> None:
    """Same bytes, same id, same size."""
    spool, _ = parts
    envelope = make_envelope(KEY)
    spool.put(envelope)
    assert spool.get(envelope.envelope_id) == envelope
    (entry,) = spool.entries(SpoolState.PENDING)
    assert (entry.envelope_id, entry.size_bytes, entry.state) == (
        envelope.envelope_id,
        len(envelope.data),
        SpoolState.PENDING,
    )


def test_putting_twice_is_the_same_as_once(parts: tuple[Spool, Corrupt]) -> None:
    """The digest is the idempotency key."""
    spool, _ = parts
    envelope = make_envelope(KEY)
    spool.put(envelope)
    spool.put(envelope)
    assert len(spool.entries(SpoolState.PENDING)) == 1


def test_an_empty_spool_lists_nothing(parts: tuple[Spool, Corrupt]) -> None:
    """In both states."""
    spool, _ = parts
    assert spool.entries(SpoolState.PENDING) == spool.entries(SpoolState.QUARANTINE) == []


def test_a_limit_lists_that_many(parts: tuple[Spool, Corrupt]) -> None:
    """A backlog is listed in pieces."""
    spool, _ = parts
    put_all(spool, make_chain(KEY, 5))
    assert len(spool.entries(SpoolState.PENDING, limit=3)) == 3
    assert spool.entries(SpoolState.PENDING, limit=3) == spool.entries(SpoolState.PENDING)[:3]


def test_shredding_takes_the_proven_ones_only(parts: tuple[Spool, Corrupt]) -> None:
    """Two receipts erase two of three."""
    spool, _ = parts
    first, second, third = make_chain(KEY, 3)
    put_all(spool, [first, second, third])
    spool.shred(proof(first), proof(third))
    assert ids(spool) == {second.envelope_id}
    with pytest.raises(SpoolError):
        spool.get(first.envelope_id)


def test_shredding_twice_is_the_same_as_once(parts: tuple[Spool, Corrupt]) -> None:
    """A duplicate receipt does no harm."""
    spool, _ = parts
    envelope = make_envelope(KEY)
    spool.put(envelope)
    spool.shred(proof(envelope), proof(envelope))
    spool.shred(proof(envelope))
    spool.shred()
    assert ids(spool) == set()


def test_quarantine_keeps_the_envelope_out_of_the_way(parts: tuple[Spool, Corrupt]) -> None:
    """No longer pending, still there."""
    spool, _ = parts
    first, second = make_chain(KEY, 2)
    put_all(spool, [first, second])
    spool.quarantine(first.envelope_id, reason="refused")
    assert ids(spool) == {second.envelope_id}
    assert ids(spool, SpoolState.QUARANTINE) == {first.envelope_id}


def test_a_full_spool_refuses_and_changes_nothing(parts: tuple[Spool, Corrupt]) -> None:
    """The limit counts pending and quarantine; after an erasure there is room again."""
    spool, _ = parts
    large = [make_envelope(KEY, body=os.urandom(ROOM // 3)) for _ in range(4)]
    spool.put(large[0])
    spool.put(large[1])
    spool.quarantine(large[1].envelope_id, reason="test")
    with pytest.raises(SpoolFullError):
        put_all(spool, large[2:])
    held = ids(spool) | ids(spool, SpoolState.QUARANTINE)
    assert held <= {envelope.envelope_id for envelope in large[:3]}
    assert large[3].envelope_id not in held
    spool.shred(proof(large[0]))
    spool.put(large[3])
    assert large[3].envelope_id in ids(spool)


def test_a_changed_byte_is_found(parts: tuple[Spool, Corrupt]) -> None:
    """Content is checked against the name; the damaged envelope can be set aside."""
    spool, corrupt = parts
    envelope, other = make_chain(KEY, 2)
    spool.put(envelope)
    for damage in (other.data, envelope.data[:-1], b"", envelope.data + b"\x00"):
        corrupt(envelope.envelope_id, damage)
        with pytest.raises((FormatError, EnvelopeVerificationError)):
            spool.get(envelope.envelope_id)
    spool.quarantine(envelope.envelope_id, reason="corrupt")
    assert ids(spool, SpoolState.QUARANTINE) == {envelope.envelope_id}


def test_an_unknown_envelope_is_an_error(parts: tuple[Spool, Corrupt]) -> None:
    """Reading or setting aside what is not there says so."""
    spool, _ = parts
    with pytest.raises(SpoolError):
        spool.get("0" * 64)
    with pytest.raises(SpoolError):
        spool.quarantine("0" * 64, reason="test")


def test_the_newest_come_newest_first(parts: tuple[Spool, Corrupt]) -> None:
    """What the newest reads are taken from: the other end of the same order."""
    spool, _ = parts
    put_all(spool, make_chain(KEY, 5))
    listed = spool.entries(SpoolState.PENDING)
    assert spool.entries(SpoolState.PENDING, newest=True) == listed[::-1]
    assert spool.entries(SpoolState.PENDING, limit=2, newest=True) == listed[::-1][:2]


def test_oldest_first_is_the_order_of_putting(parts: tuple[Spool, Corrupt]) -> None:
    """Also for envelopes that came within one tick of the kernel's clock."""
    spool, _ = parts
    envelopes = make_chain(KEY, 12)
    put_all(spool, envelopes)
    listed = [entry.envelope_id for entry in spool.entries(SpoolState.PENDING)]
    assert listed == [envelope.envelope_id for envelope in envelopes]


def test_usage_counts_each_state(parts: tuple[Spool, Corrupt]) -> None:
    """Envelopes and bytes; nothing at first."""
    spool, _ = parts
    assert spool.usage(SpoolState.PENDING) == Usage(0, 0)
    first, second, third = make_chain(KEY, 3)
    put_all(spool, [first, second, third])
    spool.quarantine(second.envelope_id, reason="test")
    assert spool.usage(SpoolState.PENDING) == Usage(2, len(first.data) + len(third.data))
    assert spool.usage(SpoolState.QUARANTINE) == Usage(1, len(second.data))


def test_an_accepted_tombstone_takes_away_what_it_covers(parts: tuple[Spool, Corrupt]) -> None:
    """And nothing else, whatever it is asked for: not another place, not another chain, not itself."""
    spool, _ = parts
    first, second, third = make_chain(KEY, 3)
    stranger = make_envelope(KEY)
    tombstone = tombstone_of(first, second)
    put_all(spool, [first, second, third, stranger, tombstone])
    asked = [first, second, third, stranger, tombstone]
    spool.expire(tombstone, [envelope.envelope_id for envelope in asked])
    assert ids(spool) == {each.envelope_id for each in (third, stranger, tombstone)}
    spool.expire(tombstone, [first.envelope_id])


def test_a_tombstone_that_was_delivered_meanwhile_still_counts(parts: tuple[Spool, Corrupt]) -> None:
    """The uploading process may be faster than the capturing one."""
    spool, _ = parts
    (envelope,) = make_chain(KEY, 1)
    tombstone = tombstone_of(envelope)
    put_all(spool, [envelope, tombstone])
    spool.shred(proof(tombstone))
    spool.expire(tombstone, [envelope.envelope_id])
    assert ids(spool) == set()


def test_nothing_is_erased_on_what_is_no_accepted_tombstone(parts: tuple[Spool, Corrupt]) -> None:
    """A read, or a tombstone that was never put."""
    spool, _ = parts
    first, second = make_chain(KEY, 2)
    put_all(spool, [first, second])
    for wrong in (second, tombstone_of(first)):
        with pytest.raises(SpoolError, match="tombstone"):
            spool.expire(wrong, [first.envelope_id])
    assert ids(spool) == {first.envelope_id, second.envelope_id}


def test_a_damaged_envelope_is_not_erased_on_a_tombstone(parts: tuple[Spool, Corrupt]) -> None:
    """What place it has is not known; it is for a person."""
    spool, corrupt = parts
    first, second = make_chain(KEY, 2)
    tombstone = tombstone_of(first, second)
    put_all(spool, [first, second, tombstone])
    corrupt(first.envelope_id, second.data)
    spool.expire(tombstone, [first.envelope_id, second.envelope_id])
    assert ids(spool) == {first.envelope_id, tombstone.envelope_id}


def test_a_full_spool_has_room_for_a_tombstone_and_never_for_more_than_its_limit(
    parts: tuple[Spool, Corrupt],
) -> None:
    """Reads leave the reserve alone; tombstones fill it, and then it is full for them as well."""
    spool, _ = parts
    most = ROOM - reserve_bytes(ROOM)
    with pytest.raises(SpoolFullError):
        put_all(spool, [make_envelope(KEY, body=bytes(ROOM // 8)) for _ in range(9)])
    used = spool.usage(SpoolState.PENDING).bytes
    assert most - ROOM // 8 - 4096 < used <= most
    chain = make_chain(KEY, 1)
    spool.put(tombstone_of(chain[0]))
    spool.put(make_envelope(KEY, body=bytes(most - used - 2048)))
    with pytest.raises(SpoolFullError):
        spool.put(make_envelope(KEY, body=bytes(2048)))


def test_a_spool_with_all_places_taken_has_some_for_tombstones(parts: tuple[Spool, Corrupt]) -> None:
    """The count is a limit of the same kind."""
    spool, _ = parts
    reads, reserve = PLACES - reserve_count(PLACES), reserve_count(PLACES)
    envelopes = make_chain(KEY, reads)
    put_all(spool, envelopes)
    with pytest.raises(SpoolFullError):
        spool.put(make_envelope(KEY))
    spool.put(envelopes[0])
    put_all(spool, [tombstone_of(envelope) for envelope in envelopes[:reserve]])
    with pytest.raises(SpoolFullError):
        spool.put(tombstone_of(envelopes[-1]))
    assert spool.usage(SpoolState.PENDING).count == PLACES
    spool.shred(*(proof(envelope) for envelope in envelopes[:2]))
    spool.put(tombstone_of(envelopes[-1]))

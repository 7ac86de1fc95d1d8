"""What every spool promises, on the real one and on the fake."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import EnvelopeVerificationError, FormatError, SpoolError, SpoolFullError
from agent.ports import Spool
from agent.records import Envelope, SpoolState
from agent.spool.files import LocalFiles
from agent.spool.spool import FileSpool
from tests.fakes.envelopes import make_chain, make_envelope
from tests.fakes.receipts import proof
from tests.fakes.spool import MemorySpool

KEY = Ed25519PrivateKey.generate()
ROOM = 1 << 20

Corrupt = Callable[[str, bytes], None]


@pytest.fixture(params=["file", "memory"])
def parts(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Spool, Corrupt]:
    """Return a spool and a way to damage a pending envelope in it."""
    if request.param == "memory":
        memory = MemorySpool(max_bytes=ROOM)
        return memory, memory.corrupt
    spool = FileSpool(tmp_path / "spool", max_bytes=ROOM, files=LocalFiles())

    def corrupt(envelope_id: str, data: bytes) -> None:
        (tmp_path / "spool" / "pending" / envelope_id).write_bytes(data)

    return spool, corrupt


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

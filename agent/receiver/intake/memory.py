"""What a verifier remembers of a store: how far it has come, signed by a key of its own.

Owns: the record and its layout. Leaves to others: what may be believed of it (`since`), and where it lies.

The signature is what makes it good for anything: whoever could write it could declare an altered store as verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from agent.errors import FormatError
from agent.receiver.intake.gaps import Gap, Link, Note
from agent.wire import cbor, cose
from agent.wire.header import CHAIN_ID_BYTES, DIGEST_BYTES, MAX_SEQ
from agent.wire.tombstone import MAX_COUNT, Gone, LossReason

CONTENT_TYPE: Final = "application/plateseal-verified+cbor"
MEMORY_VERSION: Final = 1
MAX_MEMORY_BYTES: Final = 256 << 20
"""Some hundred bytes for each chain, some dozen for each tombstone: enough for a million chains."""
_MAX_HEADS: Final = 64 << 20
_KEYS: Final = frozenset({"v", "log", "first", "digest", "receipts", "keys", "newest", "chains"})
_WHAT: Final = "verifier's record"


@dataclass(frozen=True, slots=True)
class ChainMemory:
    """A chain without a finding, as far as it was verified.

    Attributes:
        device, chain: Which one.
        head: Its last envelope.
        highest: The highest index in the log of its envelopes.
        first_log: The lowest.
        run: Its number; None in version 1.
        before: What its envelope at 0 names as made before it; None if nothing, or that is not there.
        dropped: How many of its envelopes had been dropped by policy.
        lasts, gaps, tombstones: As in a `Chain`.
    """

    device: bytes
    chain: bytes
    head: Link
    highest: int
    first_log: int
    run: int | None
    before: bytes | None
    dropped: int
    lasts: tuple[bytes, ...]
    gaps: tuple[Gap, ...]
    tombstones: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What was verified of a store.

    Attributes:
        log: Up to this entry of the log.
        first: Id of the first entry of the log, by which a store is known; None for an empty one.
        digest: SHA-256 over all entries up to `log`, as `since` takes it.
        receipts: How many receipts were kept up to there.
        keys: Ids of the receipt keys with which receipts were verified.
        newest: Digest of the newest receipt of version 2 up to there, by device key.
        chains: The chains without a finding, by device key and id.
    """

    log: int
    first: bytes | None
    digest: bytes
    receipts: int
    keys: frozenset[bytes]
    newest: Mapping[bytes, bytes]
    chains: Mapping[tuple[bytes, bytes], ChainMemory]


def sign_memory(memory: Memory, key: Ed25519PrivateKey) -> bytes:
    """Encode and sign what is remembered."""
    fields: cbor.CborMap = {
        "v": MEMORY_VERSION,
        "log": memory.log,
        "first": memory.first,
        "digest": memory.digest,
        "receipts": memory.receipts,
        "keys": sorted(memory.keys),
        "newest": [list(pair) for pair in sorted(memory.newest.items())],
        "chains": [_encode_chain(chain) for _, chain in sorted(memory.chains.items(), key=lambda item: item[0])],
    }
    header = cose.signed_header(CONTENT_TYPE, cose.ed25519_kid(key.public_key()))
    return cose.sign1(cose.encode_protected(header), cbor.encode(fields), key)


def open_memory(data: bytes, key: Ed25519PublicKey) -> Memory:
    """Check that the verifier signed a record, and return it.

    Raises:
        FormatError: Not such a record.
        VerificationError: Altered, or signed by another key.
    """
    message = cose.parse_sign1(data, content_types=(CONTENT_TYPE,), max_bytes=MAX_MEMORY_BYTES, what=_WHAT)
    cose.verify_sign1(message, key, what=_WHAT)
    value = cbor.decode(message.payload, max_bytes=MAX_MEMORY_BYTES, what=_WHAT, max_heads=_MAX_HEADS)
    fields = cbor.as_map(value, _WHAT)
    if fields.get("v") != MEMORY_VERSION:
        raise FormatError(f"{_WHAT}: version {fields.get('v')!r:.20}, only {MEMORY_VERSION} is allowed")
    cbor.exact_keys(fields, _KEYS, _WHAT)
    chains = [_parse_chain(cbor.as_list(each, _CHAIN_ITEMS, _WHAT)) for each in _list(fields["chains"])]
    newest = [cbor.as_list(each, 2, _WHAT) for each in _list(fields["newest"])]
    return Memory(
        log=_number(fields["log"]),
        first=_digest_or_none(fields["first"]),
        digest=_digest(fields["digest"]),
        receipts=_number(fields["receipts"]),
        keys=frozenset(map(_digest, _list(fields["keys"]))),
        newest={_digest(device): _digest(digest) for device, digest in newest},
        chains={(chain.device, chain.chain): chain for chain in chains},
    )


_CHAIN_ITEMS: Final = 13


def _encode_chain(chain: ChainMemory) -> list[object]:
    head = chain.head
    return [
        *(chain.device, chain.chain, head.seq, head.digest, head.prev),
        *(chain.highest, chain.first_log, chain.run, chain.before, chain.dropped),
        list(chain.lasts),
        [[gap.first, gap.last, gap.behind.seq, gap.behind.digest, gap.behind.prev] for gap in chain.gaps],
        [
            [
                note.seq,
                note.count,
                note.reason.value,
                note.day,
                [[g.chain, g.first, g.last, g.digest] for g in note.gone],
            ]
            for note in chain.tombstones
        ],
    ]


def _parse_chain(items: list[object]) -> ChainMemory:
    device, chain, seq, digest, prev, highest, first_log, run, before, dropped, lasts, gaps, tombstones = items
    return ChainMemory(
        device=_digest(device),
        chain=cbor.as_bytes(chain, CHAIN_ID_BYTES, _WHAT),
        head=Link(_number(seq), _digest(digest), _digest(prev)),
        highest=_number(highest),
        first_log=_number(first_log),
        run=None if run is None else _number(run),
        before=_digest_or_none(before),
        dropped=_number(dropped),
        lasts=tuple(map(_digest, _list(lasts))),
        gaps=tuple(_parse_gap(cbor.as_list(each, 5, _WHAT)) for each in _list(gaps)),
        tombstones=tuple(_parse_note(cbor.as_list(each, 5, _WHAT)) for each in _list(tombstones)),
    )


def _parse_gap(items: list[object]) -> Gap:
    first, last, seq, digest, prev = items
    return Gap(_number(first), _number(last), frozenset(), Link(_number(seq), _digest(digest), _digest(prev)))


def _parse_note(items: list[object]) -> Note:
    seq, count, reason, day, gone = items
    ranges = [cbor.as_list(each, 4, _WHAT) for each in _list(gone)]
    return Note(
        _number(seq),
        cbor.as_uint(count, MAX_COUNT, _WHAT),
        cbor.as_choice(LossReason, reason, _WHAT),
        _number(day),
        tuple(
            Gone(cbor.as_bytes(chain, CHAIN_ID_BYTES, _WHAT), _number(first), _number(last), _digest(digest))
            for chain, first, last, digest in ranges
        ),
    )


def _list(value: object) -> list[object]:
    return cbor.as_list(value, None, _WHAT)


def _number(value: object) -> int:
    return cbor.as_uint(value, MAX_SEQ, _WHAT)


def _digest(value: object) -> bytes:
    return cbor.as_bytes(value, DIGEST_BYTES, _WHAT)


def _digest_or_none(value: object) -> bytes | None:
    return None if value is None else _digest(value)


__all__ = ["MAX_MEMORY_BYTES", "ChainMemory", "Memory", "open_memory", "sign_memory"]

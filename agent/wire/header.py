"""The protected header of an envelope: who signed it, its place among the unit's envelopes, what it commits to.

```
"ps" of version 2: {"v": 2, "run": uint, "chain": 16 bytes, "seq": uint, "prev": digest,
                    ? "com": digest,                     (a sealed read has it, a tombstone does not)
                    ? "rcpt": [8 bytes, uint, digest]}
"ps" of version 1: {"v": 1, "chain": 16 bytes, "seq": uint, "prev": digest, ? "last": digest}
```

Owns: the layout of "ps" in both versions. Version 1 is read for ever and written by nobody but tests; what it lacks is
`None` here. Leaves to others: the signature around the header and the content below it (`envelope`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from agent.errors import FormatError
from agent.wire import cbor, cose

CONTENT_TYPE: Final = "application/plateseal+cbor"
TOMBSTONE_TYPE: Final = "application/plateseal-tombstone+cbor"
VERSION_1: Final = 1
FORMAT_VERSION: Final = 2
"""The version that a unit writes. Readers know this one and version 1."""
CHAIN_ID_BYTES: Final = 16
DIGEST_BYTES: Final = 32
ZERO_DIGEST: Final = bytes(DIGEST_BYTES)
"""`prev` of the first envelope that a unit ever made; in version 1, of the first of each chain."""
RECEIVER_PREFIX_BYTES: Final = 8
"""As much of a receiver's key id as a unit writes: enough to tell the unit's own receivers apart."""
MAX_SEQ: Final = (1 << 53) - 1
"""Largest integer that every JSON reader keeps exact."""

_HEADER_KEYS: Final = frozenset({cose.HEADER_ALG, cose.HEADER_CONTENT_TYPE, cose.HEADER_KID, "ps"})
_KEYS_1: Final = frozenset({"v", "chain", "seq", "prev"})
_KEYS_2: Final = frozenset({"v", "run", "chain", "seq", "prev"})


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """Where an envelope stands among those of its unit.

    A chain is one run of the capture daemon with one signing key. The chains of a unit follow each other: the first
    envelope of each names the last one before it.

    Attributes:
        chain: 16 random bytes, new for every chain.
        seq: 0, 1, 2, .. within the chain.
        prev: SHA-256 of the envelope before it, which at seq 0 is the last one of the chain before. 32 zero bytes
            where the unit made none before; in version 1, at seq 0 and only there.
        last: Version 1 only, at seq 0: SHA-256 of the last envelope of the chain before this one, if it is known.
        run: Number of the chain in the unit's life, higher than that of the chain before; None in version 1.
    """

    chain: bytes
    seq: int
    prev: bytes
    last: bytes | None = None
    run: int | None = None

    def __post_init__(self) -> None:
        """Refuse a position that the format cannot express.

        Raises:
            FormatError: Wrong length or range, a `prev` or `last` where it must not be, or none where it must be.
        """
        cbor.as_bytes(self.chain, CHAIN_ID_BYTES, "envelope: chain id")
        cbor.as_uint(self.seq, MAX_SEQ, "envelope: seq")
        cbor.as_bytes(self.prev, DIGEST_BYTES, "envelope: prev")
        if self.run is None:
            self._check_version_1()
            return
        cbor.as_uint(self.run, MAX_SEQ, "envelope: run")
        if self.last is not None:
            raise FormatError("envelope: last is a field of version 1")
        if self.prev == ZERO_DIGEST and (self.run, self.seq) != (0, 0):
            raise FormatError("envelope: prev is zero at the first envelope of a unit only (run 0, seq 0)")

    @property
    def version(self) -> int:
        """The version of the format whose envelopes have such a position: 1 or 2."""
        return VERSION_1 if self.run is None else FORMAT_VERSION

    @property
    def before(self) -> bytes | None:
        """The digest of the envelope that it says was made before it; None where it names none."""
        if self.run is None and self.seq == 0:
            return self.last
        return None if self.prev == ZERO_DIGEST else self.prev

    def _check_version_1(self) -> None:
        if (self.seq == 0) != (self.prev == ZERO_DIGEST):
            raise FormatError("envelope: prev is zero at seq 0 and only there")
        if self.last is not None:
            cbor.as_bytes(self.last, DIGEST_BYTES, "envelope: last")
            if self.seq != 0:
                raise FormatError("envelope: last is allowed at seq 0 only")


@dataclass(frozen=True, slots=True)
class SeenReceipt:
    """The newest receipt that a unit had verified when it made an envelope.

    Each receipt names the one before it, so this digest stands for all receipts up to it: a receiver that tells
    another story later contradicts what the unit has signed.

    Attributes:
        receiver: First 8 bytes of the receiver's key id.
        log: The receipt's index in the receiver's log.
        digest: 32 bytes, SHA-256 of the whole receipt.
    """

    receiver: bytes
    log: int
    digest: bytes

    def __post_init__(self) -> None:
        """Refuse what the format cannot express.

        Raises:
            FormatError: Wrong length or range.
        """
        cbor.as_bytes(self.receiver, RECEIVER_PREFIX_BYTES, "envelope: rcpt: receiver")
        cbor.as_uint(self.log, MAX_SEQ, "envelope: rcpt: log")
        cbor.as_bytes(self.digest, DIGEST_BYTES, "envelope: rcpt: digest")


@dataclass(frozen=True, slots=True)
class Header:
    """What "ps" says.

    Attributes:
        position: Where the envelope stands.
        commitment: 32 bytes that only the content key gives (`content_key.commit`); None in version 1 and in a
            tombstone, which has no content key.
        seen: The newest receipt that the unit had verified, if any; None in version 1.
    """

    position: ChainPosition
    commitment: bytes | None = None
    seen: SeenReceipt | None = None

    def __post_init__(self) -> None:
        """Refuse what the format cannot express.

        Raises:
            FormatError: A wrong length, or a field that version 1 does not have.
        """
        if self.position.run is None and (self.commitment is not None or self.seen is not None):
            raise FormatError("envelope: version 1 has neither com nor rcpt")
        if self.commitment is not None:
            cbor.as_bytes(self.commitment, DIGEST_BYTES, "envelope: com")


def encode_header(device_kid: bytes, header: Header, *, content_type: str = CONTENT_TYPE) -> bytes:
    """Encode the outer protected header: what is signed, and the external AAD of the content."""
    fields = {**cose.signed_header(content_type, device_kid), "ps": _encode_ps(header)}
    return cose.encode_protected(fields)


def parse_header(protected: cbor.CborMap) -> Header:
    """Read a decoded protected header.

    Raises:
        FormatError: Anything but the layout of version 1 or 2, or a read of version 2 without its commitment.
    """
    cbor.exact_keys(protected, _HEADER_KEYS, "envelope header")
    fields = cbor.as_map(protected["ps"], "envelope: ps")
    version = fields.get("v")
    if type(version) is not int or version not in (VERSION_1, FORMAT_VERSION):
        raise FormatError(
            f"envelope: format version {version!r:.20}, only {VERSION_1} and {FORMAT_VERSION} are allowed"
        )
    if version == VERSION_1:
        return _parse_1(fields)
    return _parse_2(fields, is_read=protected[cose.HEADER_CONTENT_TYPE] == CONTENT_TYPE)


def _encode_ps(header: Header) -> cbor.CborMap:
    position = header.position
    fields: cbor.CborMap = {
        "v": position.version,
        "chain": position.chain,
        "seq": position.seq,
        "prev": position.prev,
    }
    if position.last is not None:
        fields["last"] = position.last
    if position.run is not None:
        fields["run"] = position.run
    if header.commitment is not None:
        fields["com"] = header.commitment
    if header.seen is not None:
        fields["rcpt"] = [header.seen.receiver, header.seen.log, header.seen.digest]
    return fields


def _parse_1(fields: cbor.CborMap) -> Header:
    cbor.exact_keys(fields, _KEYS_1, "envelope: ps", optional=frozenset({"last"}))
    last = cbor.as_bytes(fields["last"], DIGEST_BYTES, "envelope: last") if "last" in fields else None
    return Header(_parse_position(fields, last=last, run=None))


def _parse_2(fields: cbor.CborMap, *, is_read: bool) -> Header:
    required = _KEYS_2 | {"com"} if is_read else _KEYS_2
    cbor.exact_keys(fields, required, "envelope: ps", optional=frozenset({"rcpt"}))
    run = cbor.as_uint(fields["run"], MAX_SEQ, "envelope: run")
    return Header(
        _parse_position(fields, last=None, run=run),
        commitment=cbor.as_bytes(fields["com"], DIGEST_BYTES, "envelope: com") if is_read else None,
        seen=_parse_seen(fields["rcpt"]) if "rcpt" in fields else None,
    )


def _parse_position(fields: cbor.CborMap, *, last: bytes | None, run: int | None) -> ChainPosition:
    return ChainPosition(
        chain=cbor.as_bytes(fields["chain"], CHAIN_ID_BYTES, "envelope: chain id"),
        seq=cbor.as_uint(fields["seq"], MAX_SEQ, "envelope: seq"),
        prev=cbor.as_bytes(fields["prev"], DIGEST_BYTES, "envelope: prev"),
        last=last,
        run=run,
    )


def _parse_seen(value: object) -> SeenReceipt:
    receiver, log, digest = cbor.as_list(value, 3, "envelope: rcpt")
    return SeenReceipt(
        receiver=cbor.as_bytes(receiver, RECEIVER_PREFIX_BYTES, "envelope: rcpt: receiver"),
        log=cbor.as_uint(log, MAX_SEQ, "envelope: rcpt: log"),
        digest=cbor.as_bytes(digest, DIGEST_BYTES, "envelope: rcpt: digest"),
    )

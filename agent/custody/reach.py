"""Which keys the reads of a range of time can be sealed to, so that no other epoch's reads are opened.

A unit seals a read to the epochs of one moment: the time of capture, unless a later time is over for certain (the
floor), or the read is from a recording (docs/FORMAT.md, keyring). It takes them from the keyring that it has, which may
be any that the owner has signed: after its end it goes on with the last key, where an epoch is missing with the one
before it, and before its beginning with the first.

Owns: that choice, the other way round. Leaves to others: which keyrings there were (`next_keyring`, of the audit log).

A read whose time of capture lies before the epoch of its sealing is not found by its range: its clock was behind, or
it is from a recording. Who wants these as well opens every epoch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Final

from agent.wire.keyring import Keyring, RecipientKey

_EVER: Final = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def keys_beyond(
    keyring: Keyring, made: Sequence[Collection[bytes]], start: datetime | None, end: datetime | None
) -> frozenset[bytes]:
    """Return the ids of keys that no unit chose at any moment of a range, whichever of the owner's keyrings it had.

    Args:
        keyring: The newest one.
        made: Ids of the keys that each keyring added to the one before it, in the order in which they were signed. A
            key that none of them names is chosen at any time.
        start: Beginning of the range, aware; None where it has none.
        end: The moment at which it is over, aware; None where it has none.
    """
    since, until = start or _EVER[0], end or _EVER[1]
    known, chosen = set[bytes](), set[bytes]()
    for added in made:
        known.update(added)
        listed = [key for key in keyring.keys if key.kid in known]
        chosen |= {key.kid for key, begins, ends in _spans(listed) if begins < until and since < ends}
    return frozenset(known.intersection(key.kid for key in keyring.keys) - chosen)


def _spans(keys: Sequence[RecipientKey]) -> list[tuple[RecipientKey, datetime, datetime]]:
    """Return the moments at which a unit with these keys, in order of their epochs, chooses each of them."""
    of_one: defaultdict[str, list[RecipientKey]] = defaultdict(list)
    for key in keys:
        of_one[key.recipient].append(key)
    spans = []
    for row in of_one.values():
        begins = [_EVER[0], *(key.valid_from for key in row[1:])]
        ends = [*(key.valid_from for key in row[1:]), _EVER[1]]
        spans += [(key, a, max(z, key.valid_until)) for key, a, z in zip(row, begins, ends, strict=True)]
    return spans

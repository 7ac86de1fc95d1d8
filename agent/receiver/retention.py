"""Dropping the reads of destroyed keys: what the owner says is destroyed, and what a receiver may drop for it.

```json
{"v": 1, "destroyed": ["key id in hex", ..], "held": ["envelope id in hex", ..]}
```

Owns: that list's form, and the questions before anything is dropped. Leaves to others: writing it (`agent.custody`,
which knows the keys), and the drop itself (the store).

The list is not signed: who can give it to the receiver's commands can remove the store too. It protects from mistakes:
what it does not name is not dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from agent.errors import FormatError, UsageError
from agent.receiver.admission import strictjson
from agent.receiver.ports import Retention

LIST_VERSION: Final = 1
MAX_LIST_BYTES: Final = 64 << 20
"""Ten years of daily keys have 250 kB; the rest is room for 900,000 held reads."""
MIN_ID_CHARS: Final = 8

_Id = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class DestroyedList(strictjson.Document):
    """What an owner says of destroyed keys and held reads.

    Attributes:
        v: Version of this form.
        destroyed: Ids of keys whose private half is destroyed, lower-case hex.
        held: Ids of envelopes that are held for a case, lower-case hex.
    """

    v: Annotated[int, strictjson.version(LIST_VERSION)]
    destroyed: list[_Id]
    held: list[_Id]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a drop would take. Nothing is touched by making one.

    Attributes:
        kids: Ids of the keys.
        held: Ids of envelopes that stay.
        reads, length: How many reads go, and how many bytes they have; less what is held of them.
    """

    kids: frozenset[bytes]
    held: frozenset[bytes]
    reads: int
    length: int


def load_list(path: Path) -> DestroyedList:
    """Load an owner's list.

    Raises:
        UsageError: It cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
        return strictjson.parse_document(data, DestroyedList, what=str(path), max_bytes=MAX_LIST_BYTES)
    except OSError as error:
        raise UsageError(f"--destroyed {path}: {error.strerror}") from None
    except FormatError as error:
        raise UsageError(f"--destroyed {error}; `plateseal custody destroyed` writes it") from None


def plan_drop(store: Retention, wanted: Sequence[str], said: DestroyedList | None, *, key_may_exist: bool) -> Plan:
    """Return what a drop would take.

    Args:
        store: The receiver's store.
        wanted: Beginnings of the ids of keys; empty for all that the list names.
        said: The owner's list, if one is at hand.
        key_may_exist: Drop the reads of the named keys also where nothing says that these are destroyed.

    Raises:
        UsageError: Nothing to drop is named, a key that no read here is sealed to, or one that may still exist.
        ReceiverError: The store cannot be read.
    """
    if said is None and not (wanted and key_may_exist):
        raise UsageError(
            "nothing says that a key is destroyed: give --destroyed FILE, which `plateseal custody destroyed` writes "
            "at the owner's; or name keys and say --yes-the-key-exists, and held reads go too"
        )
    epochs = store.epochs()
    destroyed = frozenset[bytes]() if said is None else frozenset(map(bytes.fromhex, said.destroyed))
    kids = _named({kid for epoch in epochs for kid in epoch.kids}, wanted)
    if not key_may_exist and kids - destroyed:
        raise UsageError(
            f"{min(kids - destroyed).hex()[:16]}: the owner's list does not name it, so its key still exists and its "
            "reads open; --yes-the-key-exists drops them all the same"
        )
    kids = kids or destroyed
    going = [each for each in epochs if each.kids and each.dropped_at is None and kids.issuperset(each.kids)]
    held = frozenset[bytes]() if said is None else frozenset(map(bytes.fromhex, said.held))
    return Plan(kids, held, sum(each.reads for each in going), sum(each.length for each in going))


def _named(here: set[bytes], wanted: Sequence[str]) -> frozenset[bytes]:
    return frozenset(_one_of(here, text) for text in wanted)


def _one_of(here: set[bytes], text: str) -> bytes:
    if len(text) < MIN_ID_CHARS:
        raise UsageError(f"{text}: at least {MIN_ID_CHARS} characters of a key's id are needed")
    found = [kid for kid in here if kid.hex().startswith(text.lower())]
    if len(found) != 1:
        what = f"is the beginning of {len(found)} ids" if found else "no read here is sealed to a key with this id"
        raise UsageError(f"{text[:64]}: {what}")
    return found[0]

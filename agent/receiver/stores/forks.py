"""What shows, as envelopes come in, that two machines use one unit's key.

Owns: that question, asked of an envelope that was stored just now. Leaves to others: what a store knows (an engine's
`ChainFacts`), what is told (`intake`), and the same question asked of a whole store, more strictly
(`agent.receiver.intake.runs`).

Only what the unit's key has signed counts, never when something came: a unit delivers its newest reads first, and an
old spool long after a change of keys.

| what is there | why one machine alone does not make it |
|---|---|
| two chains of one key with the same number | a number is durable before the first read of its chain is sealed |
| two rows of envelopes, each of two or more, that go on after the same one | the next chain names the last one made |

One envelope alone says nothing: a read that was sent while it was being written, and then lost by a power cut, is here,
and the unit does not know of it. Version 1 has no numbers, and names its predecessor only after a clean stop.
"""

from __future__ import annotations

from collections.abc import Iterator

from agent.receiver.stores.rules import ChainFacts, NumberedChain, Place
from agent.wire.envelope import Envelope


def fork_at(facts: ChainFacts, envelope: Envelope, *, is_new_chain: bool) -> str | None:
    """Say what an envelope that was stored just now shows of a second machine; None for nothing.

    Args:
        facts: What the store knows, this envelope included.
        envelope: It.
        is_new_chain: Whether it is the first one here of a numbered chain.
    """
    position = envelope.position
    if is_new_chain and position.run is not None:
        twin = facts.twin(NumberedChain(envelope.device_kid, position.chain, position.run))
        if twin is not None:
            chains = sorted([position.chain, twin])
            return f"run {position.run} twice, as chain {chains[0].hex()[:8]} and {chains[1].hex()[:8]}"
    for before in facts.named_near(envelope):
        chains = sorted({place.chain for place in _rows_after(facts, before) if facts.grows_behind(place)})
        if len(chains) > 1:
            return f"chain {chains[0].hex()[:8]} and {chains[1].hex()[:8]} both go on after {before.hex()[:16]}"
    return None


def _rows_after(facts: ChainFacts, before: bytes) -> Iterator[Place]:
    """Yield where rows of envelopes begin that go on after one: its own chain, and those that name it."""
    others = list(facts.beginnings(before))
    if not others:
        return
    yield from (Place(device, chain, 0) for device, chain in others)
    own = facts.place_of(before)
    if own is not None:
        yield own._replace(seq=own.seq + 1)

"""What is wrong with the pending envelopes of one unit, before the network finds out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from agent.errors import EnvelopeVerificationError, FormatError, SpoolError, SpoolMissingError
from agent.spool.reader import SpoolReader, is_id
from agent.wire.envelope import verify_envelope


@dataclass(frozen=True, slots=True)
class Checked:
    """A file in pending that was looked at.

    Attributes:
        name: Name of the file.
        flaw: What is wrong with it; None for a whole envelope.
    """

    name: str
    flaw: str | None


def check_pending(
    spool: SpoolReader, device_key: Callable[[bytes], Ed25519PublicKey | None] | None
) -> Iterator[Checked]:
    """Check every file in pending: name, form, digest, and signature.

    Args:
        spool: What is looked at; envelopes that are delivered meanwhile are left out.
        device_key: Finds the unit's public signing key by its id; None where the unit has recorded none, so that no
            signature can be checked.

    Raises:
        SpoolError: The disk refused.
        KeyFileError: A recorded key cannot be used.
    """
    for name in spool.pending_names():
        if not is_id(name):
            yield Checked(name, "a name that no envelope has")
            continue
        try:
            envelope = spool.get(name)
            if device_key is not None:
                key = device_key(envelope.device_kid)
                if key is None:
                    yield Checked(name, f"signed by a key that this unit does not know: {envelope.device_kid.hex()}")
                    continue
                verify_envelope(envelope, key)
        except SpoolMissingError:
            continue
        except (FormatError, EnvelopeVerificationError, SpoolError) as error:
            yield Checked(name, str(error))
        else:
            yield Checked(name, None)

"""Keys that change while capture runs: the owner's keyring and the device's own signing key.

Owns: what a new signing key changes, and the metrics of both. Leaves to others: noticing and checking the files
(`agent.seal`).

Invariant: the signing key changes between two envelopes only, and with it the chain: a chain is signed by one key from
end to end, and the new chain names the last envelope of the old one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from agent.keys.keyring import KeyringFile
from agent.keys.renewal import RenewalRequests
from agent.keys.signing_key import SigningKeyFile
from agent.seal.chain import Chain
from agent.seal.sealer import Sealer
from agent.unit.status.samples import Sample
from agent.wire.cose import ed25519_kid

_log = logging.getLogger(__name__)


class KeyWatcher:
    """Follows the key files of one unit. `poll` belongs to the thread that seals; `samples` may run on any."""

    def __init__(
        self,
        *,
        keyring: KeyringFile,
        signing_key: SigningKeyFile,
        sealer: Sealer,
        chain: Chain,
        renewal: RenewalRequests | None = None,
    ) -> None:
        """Follow the files on behalf of `sealer`, which seals to `keyring`'s recipients, and of `chain`.

        `renewal` signs the request for upload's next certificate when it is time; nobody does if left out.
        """
        self._renewal = renewal
        self._keyring = keyring
        self._signing_key = signing_key
        self._sealer = sealer
        self._chain = chain

    def poll(self) -> None:
        """Use a keyring or signing key that has replaced the one before. Call it between two envelopes, at any rate."""
        self._keyring.look()
        key = self._signing_key.look()
        if key is not None:
            self._chain.restart()
            self._sealer.use_key(key)
            _log.info("signing with key %s from now on, in a new chain", ed25519_kid(key.public_key()).hex()[:16])
        if self._renewal is not None:
            self._renewal.look(self._signing_key.key)

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics of the keys now."""
        yield Sample("keyring_serial", self._keyring.keyring.serial)
        yield Sample("keyring_left_seconds", round(self._keyring.days_left * 86_400))
        yield Sample("chain_sequence", self._chain.next.seq)
        yield Sample("keyring_expired", float(self._keyring.has_ended))

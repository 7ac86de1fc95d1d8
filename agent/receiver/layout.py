"""Where a receiver keeps what: the one place that knows the names in its directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

BODIES: Final = "bodies"
"""Beside the store's file."""


@dataclass(frozen=True, slots=True)
class ReceiverLayout:
    """The files of one receiver.

    Attributes:
        directory: All of them are in it.
    """

    directory: Path

    @property
    def ca_key(self) -> Path:
        """Private key of the bench CA. `serve` does not need it: it may be kept elsewhere."""
        return self.directory / "ca.key"

    @property
    def ca(self) -> Path:
        """Certificate of the CA that devices and receiver are checked against (PEM)."""
        return self.directory / "ca.pem"

    @property
    def server_key(self) -> Path:
        """Private key of the TLS server."""
        return self.directory / "server.key"

    @property
    def server_certificate(self) -> Path:
        """Certificate of the TLS server (PEM)."""
        return self.directory / "server.pem"

    @property
    def receipt_key(self) -> Path:
        """Private key that signs receipts."""
        return self.directory / "receipt.key"

    @property
    def receipt_public(self) -> Path:
        """Public half of the receipt key, which devices pin (PEM)."""
        return self.directory / "receipt.pub"

    @property
    def receipt_earlier(self) -> Path:
        """Public halves of receipt keys before it, newest first (PEM); what they signed is still checked with them."""
        return self.directory / "receipt-earlier.pub"

    @property
    def receipt_next_key(self) -> Path:
        """The receipt key that is to follow, while a change of it is prepared."""
        return self.directory / "receipt.key.next"

    @property
    def receipt_next_public(self) -> Path:
        """For units during a change: the public receipt key in use and the one that is to follow (PEM, both)."""
        return self.directory / "receipt.pub.next"

    @property
    def store(self) -> Path:
        """The SQLite store of envelopes, where the receiver has its own."""
        return self.directory / "envelopes.db"

    @property
    def store_address(self) -> Path:
        """The address of the PostgreSQL store, where the receiver shares one with others; no secret is in it."""
        return self.directory / "store.url"

    @property
    def bodies(self) -> Path:
        """The envelopes' bytes, a file for each epoch; the store says where in them each one is."""
        return self.store.with_name(BODIES)

    @property
    def devices(self) -> Path:
        """One file per enrolled device key."""
        return self.directory / "devices"

    @property
    def renewals(self) -> Path:
        """Requests of units for a new certificate, and the answers; made with the first."""
        return self.directory / "renewals"

    @property
    def operators(self) -> Path:
        """One file per certificate of a person who may see the fleet; made with the first."""
        return self.directory / "operators"

    @property
    def fleet(self) -> Path:
        """The SQLite store of the units' newest health reports; made by `serve`, and no loss if it is gone."""
        return self.directory / "fleet.db"

    @property
    def everything(self) -> tuple[Path, ...]:
        """What a receiver has from its beginning, in the order in which it is made."""
        return (
            self.ca_key,
            self.ca,
            self.server_key,
            self.server_certificate,
            self.receipt_key,
            self.receipt_public,
            self.devices,
            self.store_address if self.store_address.exists() else self.store,
        )

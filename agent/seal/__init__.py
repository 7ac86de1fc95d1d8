"""Sealing: who this device is, whom it seals to, and the making of an envelope."""

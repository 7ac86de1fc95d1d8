"""Where a receiver keeps envelopes."""

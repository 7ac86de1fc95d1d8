"""Campaigns that are too long for `make test`: `make torture` runs them in full, the tests run a small share."""

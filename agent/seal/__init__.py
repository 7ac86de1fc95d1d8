"""Sealing: the making of an envelope, and its place in the device's chain."""

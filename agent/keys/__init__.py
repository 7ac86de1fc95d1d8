"""Key files: the unit's own keys, certificates and keyring, read with care and replaced durably."""

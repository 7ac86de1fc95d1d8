"""The owner's tools: the only code that touches recipient private keys. Never imported on the device."""

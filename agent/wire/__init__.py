"""The sealed format: what an envelope, a receipt, a keyring and a reply are, byte by byte.

Pure: bytes in, records out, and back. No file, no network, no clock. Random numbers are drawn only where HPKE
needs an ephemeral key. Standards: CBOR (RFC 8949), COSE (RFC 9052, RFC 9053), HPKE (RFC 9180).
"""

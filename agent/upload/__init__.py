"""Upload: sealed bytes to the receiver over mutual TLS, and erasure against its signed receipts."""

"""The upload daemon: sealed reads out, receipts in, erasure."""

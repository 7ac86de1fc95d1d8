"""The spool: sealed reads on disk, from acceptance to proof of delivery."""

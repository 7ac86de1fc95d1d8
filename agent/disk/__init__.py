"""The only code that makes things durable: files, notes, locks, and noticing that a file was replaced."""

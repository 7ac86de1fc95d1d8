"""The receiver's store in PostgreSQL, for any number of receivers at once."""

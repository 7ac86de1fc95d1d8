"""New configurations while a daemon runs."""

"""What makes installable packages."""

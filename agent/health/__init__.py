"""What counts as healthy: limits and the one judgement that status, doctor and fleet page share. Pure."""

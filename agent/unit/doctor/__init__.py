"""What is wrong with a unit, why it matters, and the command that mends it."""

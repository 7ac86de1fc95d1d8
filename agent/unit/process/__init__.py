"""What every process of a unit shares: its start and end, its clock, its log, its state directory."""

"""The recorded-video bench: the demo, and scoring against ground truth. It may build both sides."""

"""plateseal: reads plates at the edge, seals each read to its owner, erases only on proof of delivery."""

from __future__ import annotations

__version__ = "0.1.0"

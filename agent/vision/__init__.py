"""From frames to passages: model manifest, detector, reader, tracker and vote.

Owns: which models are trusted, and what counts as one vehicle passing. Leaves to others: frames (`agent.capture`) and
everything after a passage. Runs offline: only `fetch` uses the network, when a person asks for it.
"""

from __future__ import annotations

import agent.vision.telemetry_off  # noqa: F401  before anything that loads onnxruntime
from agent.vision.models import Models, build_vision, load_models
from agent.vision.pipeline import PlatePipeline, VisionStats

__all__ = ["Models", "PlatePipeline", "VisionStats", "build_vision", "load_models"]

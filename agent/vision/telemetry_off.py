"""Keeps onnxruntime from reporting to its maker; imported before it, by `agent.vision`.

onnxruntime's wheels for Linux (seen in 1.31.1) come with telemetry that is on: when they are loaded they write a device
number and a database into the user's cache, and soon ask for a server's address. This variable switches it off; it is
looked at once, when the library is loaded. Its function `disable_telemetry_events` can only be called after that.

Source: onnxruntime's pull request 27379; `findings/onnxruntime-telemetry.sh` shows it.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

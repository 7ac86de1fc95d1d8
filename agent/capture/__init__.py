"""Frame sources: recordings, folders of pictures and cameras, all behind `agent.ports.FrameSource`.

Owns: opening, decoding, the limits on what comes from outside, and the time of capture. Leaves to others: what is in
the frames. Every failure is one line that says what, where and what is allowed; OpenCV and FFmpeg print nothing.
"""

from __future__ import annotations

from agent.capture.cameras import source_name
from agent.capture.live import LiveHooks, LiveStats
from agent.capture.opening import open_source
from agent.capture.pictures import PICTURE_SUFFIXES, is_picture, list_pictures, read_picture
from agent.capture.round_robin import RoundRobin, SourceEnd

__all__ = [
    "PICTURE_SUFFIXES",
    "LiveHooks",
    "LiveStats",
    "RoundRobin",
    "SourceEnd",
    "is_picture",
    "list_pictures",
    "open_source",
    "read_picture",
    "source_name",
]

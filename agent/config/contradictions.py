"""Settings that are fine alone and make no sense together.

Owns: these rules for one unit. Leaves to others: each setting by itself (`models`), and a fleet's units together
(`fleet`).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from agent.config.document import Place
from agent.config.models import (
    GSTREAMER_PREFIX,
    RTSP_PREFIXES,
    RTSPS_PREFIX,
    SourceConfig,
    UnitConfig,
    VisionConfig,
    is_file_uri,
)
from agent.config.plate_formats import built_in_formats, choose_formats
from agent.errors import ConfigError

_RECORDING_ONLY: Final = ("started_at", "frame_rate", "pace")
"""What only a recording can be told."""
_TRUST: Final = ("ca", "key_sha256")
"""What an `rtsps://` camera may be known by."""
DEVICES: Final = ("/dev/video", "/dev/v4l/")
"""The machine's own cameras, and udev's lasting names of them; what else lies below /dev may be a recording."""
_RTSP_PORTS: Final = {"rtsp": 554, "rtsps": 322}
"""Where a camera is if its URL names no port (RFC 7826, 4.2)."""
_IN_PIPELINE: Final = re.compile(r"""\b(?:device|location|uri)\s*=\s*["']?((?:rtsps?://|/dev/)[^"'\s!]+)""")
"""What a GStreamer pipeline reads."""


def contradictions(unit: UnitConfig) -> list[tuple[Place, str]]:
    """Return the places that contradict another one, each with a message."""
    return [*_names(unit), *_sources(unit), *_plates(unit), *_folders(unit), *_key_files(unit), *_waits(unit)]


def is_live(uri: str) -> bool:
    """Whether a source is a camera and no recording."""
    return uri.startswith(DEVICES) or not is_file_uri(uri)


def camera_behind(uri: str) -> str:
    """Return a live source in one spelling: two with the same one are the same camera.

    Scheme and host in small letters, the port named, a device without detours. What only the network or the machine
    knows (a host's other names, links to a device) is left.
    """
    if uri.startswith(GSTREAMER_PREFIX):
        inside = _IN_PIPELINE.search(uri)
        return camera_behind(inside[1]) if inside else " ".join(uri.split())
    if not uri.lower().startswith(RTSP_PREFIXES):
        return os.path.normpath(uri)
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or _RTSP_PORTS[parts.scheme]
    except ValueError:
        return uri  # a port that is none, which opening it tells
    return f"{parts.scheme}://{host}:{port}{parts.path or '/'}?{parts.query}"


def _names(unit: UnitConfig) -> Iterator[tuple[Place, str]]:
    seen = {unit.camera_id}
    for index, camera in enumerate(unit.camera):
        if camera.camera_id in seen:
            message = f"is {camera.camera_id!r}, as another camera of this unit is called; each needs its own name"
            yield ("camera", index, "camera_id"), message
        seen.add(camera.camera_id)


def _sources(unit: UnitConfig) -> Iterator[tuple[Place, str]]:
    seen: dict[str, str] = {}
    places: list[Place] = [("source",), *(("camera", index, "source") for index in range(len(unit.camera)))]
    for place, camera in zip(places, unit.cameras, strict=True):
        source = camera.source
        if is_live(source.uri):
            behind = camera_behind(source.uri)
            if behind in seen:
                yield (*place, "uri"), f"is the source of {seen[behind]} too; two cameras cannot be one"
            seen.setdefault(behind, camera.camera_id)
        yield from (((*place, key), message) for key, message in _source(source))


def _plates(unit: UnitConfig) -> Iterator[tuple[Place, str]]:
    """A file of the user's own may know any country, and lies on the unit."""
    tables: list[tuple[Place, VisionConfig]] = [(("vision",), unit.vision)]
    tables += [(("camera", index, "vision"), camera.vision) for index, camera in enumerate(unit.camera)]
    for place, vision in tables:
        if vision.plates and vision.plate_formats is None and unit.vision.plate_formats is None:
            try:
                choose_formats(vision.plates, built_in_formats())
            except ConfigError as error:
                yield (*place, "plates"), str(error)


def _source(source: SourceConfig) -> Iterator[tuple[str, str]]:
    yield from _trust(source)
    if source.clock == "camera" and not source.uri.lower().startswith(RTSP_PREFIXES):
        yield "clock", '"camera" is for rtsp:// cameras; no other source says what its clock shows'
    if not is_live(source.uri):
        return
    for key in _RECORDING_ONLY:
        if key in source.model_fields_set:
            yield key, "is for recordings; this source is a camera"


def _trust(source: SourceConfig) -> Iterator[tuple[str, str]]:
    """An `rtsps://` camera is known by one of these; to leave it out is written out."""
    chosen = [key for key in _TRUST if getattr(source, key) is not None]
    chosen += ["tls"] if source.tls == "unchecked" else []
    if not source.uri.lower().startswith(RTSPS_PREFIX):
        yield from ((key, "is for rtsps:// cameras; this source has no certificate") for key in chosen)
    elif not chosen:
        yield "uri", 'needs ca or key_sha256 beside it, which say whose certificate is right; or tls = "unchecked"'
    elif len(chosen) > 1:
        yield chosen[1], f"does not go with {chosen[0]}; one of ca, key_sha256 and tls is enough"


def _folders(unit: UnitConfig) -> Iterator[tuple[Place, str]]:
    spool, state = unit.spool.directory, unit.state_dir
    if spool == state or spool.is_relative_to(state) or state.is_relative_to(spool):
        yield ("spool", "directory"), f"{spool} and state_dir {state} must lie apart, neither inside the other"
    runtime = unit.metrics_dir
    if runtime in (state, spool) or spool.is_relative_to(runtime) or runtime.is_relative_to(spool):
        yield ("runtime_dir",), f"{runtime} must be a folder of its own, not the state_dir and not in the spool"
    incoming = unit.bundle.incoming
    if incoming is not None and incoming.is_relative_to(spool):
        yield ("bundle", "incoming"), f"{incoming} lies in the spool, which holds nothing but sealed reads"


def _key_files(unit: UnitConfig) -> Iterator[tuple[Place, str]]:
    """Every key has a file of its own: a file named twice is a slip that shows only at the first connection."""
    files: list[tuple[Place, Path]] = [
        (("seal", "keyring"), unit.seal.keyring),
        (("seal", "owner_key"), unit.seal.owner_key),
        (("seal", "signing_key"), unit.seal.signing_key),
        (("upload", "ca"), unit.upload.ca),
        (("upload", "certificate"), unit.upload.certificate),
        (("upload", "key"), unit.upload.key),
        (("upload", "receiver_key"), unit.upload.receiver_key),
    ]
    seen: dict[Path, Place] = {}
    for place, path in files:
        if path in seen:
            yield place, f"is the same file as {'.'.join(map(str, seen[path]))}; each key has a file of its own"
        seen.setdefault(path, place)


def _waits(unit: UnitConfig) -> Iterator[tuple[Place, str]]:
    upload = unit.upload
    if upload.retry_first_s > upload.retry_most_s:
        message = f"is {upload.retry_first_s:g}, more than upload.retry_most_s, which is {upload.retry_most_s:g}"
        yield ("upload", "retry_first_s"), message

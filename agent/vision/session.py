"""What detector and reader share at the edge to onnxruntime.

Owns: session options, which execution providers are used, quiet libraries, and handing checked bytes to libraries that
only take a path.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import onnxruntime as ort

from agent.errors import ModelError

Providers: TypeAlias = Sequence[str | tuple[str, dict[str, str]]]
"""onnxruntime's execution providers, best first; one with options is a pair."""

CPU: Final = "CPUExecutionProvider"
CPU_PROVIDERS: Final[Providers] = (CPU,)
SHORT_NAMES: Final = {
    "cpu": CPU,
    "xnnpack": "XnnpackExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
"""What the configuration calls a provider, and what onnxruntime does."""
AUTO_ORDER: Final = ("cuda", "openvino", "cpu")
"""What `auto` uses where it is installed, best first. TensorRT builds an engine for minutes at the first start, and
XNNPACK is faster on some boards only: both are for people who ask for them by name."""
DEFAULT_THREADS: Final = 1
"""Threads inside one inference. With two, models of this size took a tenth to a half more CPU seconds; cores are better
spent on decoding and on other cameras."""
_FATAL_ONLY: Final = 4
"""onnxruntime's severity: 0 verbose .. 4 fatal. What matters comes back as an exception."""
_AS_REQUESTED: Final = 1
"""onnxruntime's way to let its store of memory grow: by what is asked for, not by doubling it."""

ort.disable_telemetry_events()
# One store for what all models of this process compute, one after the other. By itself each session has its own.
ort.create_and_register_allocator(
    ort.OrtMemoryInfo("Cpu", ort.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, ort.OrtMemType.DEFAULT),
    ort.OrtArenaCfg(0, _AS_REQUESTED, -1, -1),
)


def choose_providers(wanted: str | Sequence[str], *, threads: int) -> Providers:
    """Return onnxruntime's names for what the configuration wants, best first, the CPU always last.

    Args:
        wanted: `auto`, or short names (`SHORT_NAMES`), best first.
        threads: Threads inside one inference, for the providers that have a pool of their own.

    Raises:
        ModelError: One that was named is not in this installation's onnxruntime.
    """
    available = set(ort.get_available_providers())
    if wanted == "auto":
        names = [name for name in AUTO_ORDER if SHORT_NAMES[name] in available]
    else:
        names = [*dict.fromkeys((*wanted, "cpu"))]
    for name in names:
        if SHORT_NAMES[name] not in available:
            there = ", ".join(short for short, full in SHORT_NAMES.items() if full in available)
            raise ModelError(
                f"vision.providers: {name} is not in the onnxruntime {ort.__version__} of this installation; "
                f"there are {there}"
            )
    options = {"intra_op_num_threads": str(threads)}
    return [(SHORT_NAMES[name], options) if name == "xnnpack" else SHORT_NAMES[name] for name in names]


def session_options(threads: int, providers: Providers = CPU_PROVIDERS) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return options for a small model: `threads` inside an operator, operators one after the other, no prints."""
    options = ort.SessionOptions()
    # XNNPACK has threads of its own and asks for one here.
    has_own_pool = any(not isinstance(one, str) and one[0] == SHORT_NAMES["xnnpack"] for one in providers)
    options.intra_op_num_threads = 1 if has_own_pool else threads
    options.inter_op_num_threads = 1
    # Threads that wait sleep: between two detections there are frames to decode.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.use_env_allocators", "1")
    return options


def first_line(error: Exception) -> str:
    """Return the first line of a foreign error, at most 200 characters; its kind where it has no words."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def hush(*loggers: str) -> None:
    """Silence loggers of libraries that log each failure they swallow; we raise it instead."""
    for name in loggers:
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def as_path(content: bytes) -> Iterator[Path]:
    """Lend bytes as a path, so that a library loads exactly the bytes that were checked.

    An anonymous file in memory: the file in the models folder may change after its check, this one cannot. It also has
    no neighbours, so a model cannot pull in further files.
    """
    descriptor = os.memfd_create("model", os.MFD_CLOEXEC)
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)

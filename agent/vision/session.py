"""What detector and reader share at the edge to onnxruntime.

Owns: session options, quiet libraries, and handing checked bytes to libraries that only take a path.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import onnxruntime as ort

CPU_PROVIDERS: Final = ("CPUExecutionProvider",)
DEFAULT_THREADS: Final = 1
"""Threads inside one inference. One was faster than two with models of this size; cores are better spent on frames."""
_FATAL_ONLY: Final = 4
"""onnxruntime's severity: 0 verbose .. 4 fatal. What matters comes back as an exception."""

ort.disable_telemetry_events()


def session_options(threads: int) -> Any:  # noqa: ANN401  onnxruntime has no types
    """Return options for a small model: `threads` inside an operator, operators one after the other, no prints."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _FATAL_ONLY
    return options


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

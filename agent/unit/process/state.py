"""The state directory that the daemons of one unit share."""

from __future__ import annotations

from pathlib import Path

from agent.errors import ConfigError


def make_state_dir(directory: Path) -> None:
    """Make the state directory if it is missing, and remove the metrics that older versions left in it.

    Raises:
        ConfigError: It cannot be made, or not be written to.
    """
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        for name in ("capture.prom", "upload.prom"):  # of earlier versions, which wrote their metrics here
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"state_dir: cannot make {directory}: {error.strerror or error}") from None

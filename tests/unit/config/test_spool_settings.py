"""The settings of the spool: its bounds, what gives way at them, and how a wrong value is named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from agent.config.load import load_config
from agent.config.models import OnFull, SpoolConfig
from agent.errors import ConfigError
from agent.unit.capture.daemon import spool_bounds
from agent.unit.capture.eviction import Bounds
from tests.unit.config.test_load import GOOD

MAX_BYTES = "max_bytes = 10_000_000\n"


def spool_config(tmp_path: Path, lines: str) -> SpoolConfig:
    """Load a configuration whose section on the spool has `lines` instead of a size."""
    assert MAX_BYTES in GOOD
    path = tmp_path / "unit.toml"
    path.write_text(GOOD.replace(MAX_BYTES, lines))
    return load_config(path).spool


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("", Bounds(max_bytes=1 << 30, max_count=None, max_age=None, on_full=OnFull.DROP_OLDEST)),
        (
            'max_bytes = 1048576\nmax_count = 100\nmax_age_hours = 36.0\non_full = "stop"\n',
            Bounds(max_bytes=1 << 20, max_count=100, max_age=timedelta(hours=36), on_full=OnFull.STOP),
        ),
        ('on_full = "drop-crop-first"\n', Bounds(max_bytes=1 << 30, on_full=OnFull.DROP_CROP_FIRST)),
        ('on_full = "drop-oldest"\n', Bounds(max_bytes=1 << 30)),
    ],
    ids=["defaults", "all", "crop", "oldest"],
)
def test_the_settings_are_the_bounds(tmp_path: Path, lines: str, expected: Bounds) -> None:
    """Defaults, and every setting by its name."""
    assert spool_bounds(spool_config(tmp_path, lines)) == expected


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("max_count = 99", r"spool\.max_count.*100"),
        ("max_count = 1e6", r"spool\.max_count"),
        ("max_age_hours = 0.5", r"spool\.max_age_hours"),
        ('on_full = "drop"', r"spool\.on_full: .*'drop-oldest', 'drop-crop-first' or 'stop'"),
        ("on_full = true", r"spool\.on_full"),
    ],
)
def test_a_wrong_bound_is_named(tmp_path: Path, line: str, named: str) -> None:
    """With its key, and with what is allowed."""
    with pytest.raises(ConfigError, match=named):
        spool_config(tmp_path, line + "\n")

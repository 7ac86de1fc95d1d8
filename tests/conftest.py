"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["tests.skips"]

# Machines are shared and noisy: a slow example is no failure. Derandomised, so that a red run can be run again.
settings.register_profile("plateseal", deadline=None, derandomize=True)
settings.load_profile("plateseal")

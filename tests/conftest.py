"""Settings that all tests share."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.fakes.postgres import Cluster

pytest_plugins = ["tests.skips"]

# Machines are shared and noisy: a slow example is no failure. Derandomised, so that a red run can be run again.
settings.register_profile(
    "plateseal", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
# Other examples in each run, for the row `properties` of `make torture`; --hypothesis-seed runs one of them again.
settings.register_profile("random", settings.get_profile("plateseal"), derandomize=False)
settings.register_profile("random-long", settings.get_profile("random"), max_examples=2000)
settings.load_profile("plateseal")


def pytest_configure() -> None:
    """Have Ctrl-C work in the programs that tests start, also where a shell runs the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Return a PostgreSQL of the tests' own, started where a test asks for it first."""
    from tests.fakes.postgres import Cluster  # here: some tests run where its library is not (.ci/wheel)

    with Cluster() as started:
        yield started

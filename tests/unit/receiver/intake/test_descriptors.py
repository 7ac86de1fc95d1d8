"""How many descriptors the receiver asks the system for."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from agent.receiver.intake import server
from agent.receiver.intake.descriptors import allow_descriptors


@pytest.fixture(autouse=True)
def limits() -> Iterator[tuple[int, int]]:
    """Lower the soft limit for the test, and put it back."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 100, hard))
    yield soft - 100, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_limit_is_raised_as_far_as_needed(limits: tuple[int, int]) -> None:
    """And never lowered; the hard limit stays."""
    soft, hard = limits
    assert allow_descriptors(1) == soft
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    assert allow_descriptors(soft + 50) == soft + 50
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft + 50, hard)


@pytest.mark.parametrize("refusal", [ValueError, PermissionError])
def test_a_system_that_refuses_is_no_fault(
    limits: tuple[int, int], monkeypatch: pytest.MonkeyPatch, refusal: type[Exception]
) -> None:
    """What there is, is told."""

    def refused(*_: object) -> None:
        raise refusal

    with monkeypatch.context() as patched:
        patched.setattr(resource, "setrlimit", refused)
        assert allow_descriptors(limits[0] + 50) == limits[0]


@pytest.mark.parametrize(("allowed", "possible"), [(20_000, 5000), (4000, 1184), (1024, 256), (64, 16)])
def test_fewer_descriptors_are_fewer_connections(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, allowed: int, possible: int
) -> None:
    """Always some, and the log says how many."""
    monkeypatch.setattr(server, "allow_descriptors", lambda _: allowed)
    assert server._possible(5000) == possible
    assert ("connections at most" in caplog.text) is (possible < 5000)

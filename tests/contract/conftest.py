"""What the contract suites need of other people's servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent.receiver.stores.objects import ObjectPlace
from tests.fakes.object_store import object_store


@pytest.fixture(scope="session")
def object_place() -> Iterator[ObjectPlace]:
    """Return how an object store of the tests' own is reached, started where a test asks for it first."""
    with object_store() as place:
        yield place

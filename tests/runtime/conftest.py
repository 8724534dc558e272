"""Fixtures of the runtime's tests."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture
def shared_memory_stays_as_it_was() -> Iterator[None]:
    before = _shared_memory()
    yield
    assert _shared_memory() - before == set()


def _shared_memory() -> set[str]:
    """Files of our own kind; Ray's of other runs come and go."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith(("plasma", "ray"))}

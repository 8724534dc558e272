"""Makes the upstream packages importable before any test module imports them; says which tests are long."""

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from planner.domain.parallelism import ParallelStrategy
from runtime.platform import enable

enable()

LONG_FROM = 4
"""Processes of a world from which a test of layouts is long; test_hybrid.py chooses its own."""
_LAYOUT = re.compile(r"p\d+t\d+d\d+(c\d+)?")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Mark the tests of layouts of several processes, whose names say them, as slow."""
    for item in items:
        is_here = item.path.parent == Path(__file__).parent and item.path.name != "test_hybrid.py"
        found = _LAYOUT.search(item.name) if is_here else None
        if found and ParallelStrategy.parse(found[0]).devices >= LONG_FROM:
            item.add_marker(pytest.mark.slow)

"""Plans of shipped scenarios, each made once for all tests of this folder."""

from collections.abc import Callable
from functools import cache

import pytest

import planner
from planner.domain.plan import Plan


@pytest.fixture(scope="session")
def plan_of() -> Callable[[str], Plan]:
    """The plan of a scenario, as ``examples/grpo-7b``."""
    return cache(lambda name: planner.plan(planner.read_scenario(f"scenarios/{name}.yaml")).plan)

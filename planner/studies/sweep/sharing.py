"""Equal parts of many scenarios as one value, so that what costs remember of a part serves all of them."""

from typing import TypeVar

from planner.domain.cluster import NodePool
from planner.domain.quantities import Value
from planner.domain.scenario import Scenario

_MOST = 32
"""Different values of a kind that are looked through."""
_Part = TypeVar("_Part", bound=Value)


class Shared:
    """The parts of the scenarios that were seen."""

    def __init__(self) -> None:
        self._known: dict[type[Value], list[Value]] = {}

    def scenario(self, scenario: Scenario) -> Scenario:
        """An equal scenario, made of parts that were seen before where equal ones were."""
        models = {role: self._one(model) for role, model in scenario.models.items()}
        stack = self._one(scenario.stack)
        shared = scenario.with_node_pools(self._node_pool)
        return shared.model_copy(update={"models": models, "stack": stack})

    def _node_pool(self, pool: NodePool) -> NodePool:
        return self._one(pool.model_copy(update={"device": self._one(pool.device)}))

    def _one(self, part: _Part) -> _Part:
        """The first of equal values, as long as few others came between."""
        known = self._known.setdefault(type(part), [])
        for other in known:
            if other is part or other == part:
                assert isinstance(other, type(part))
                return other
        known.insert(0, part)
        del known[_MOST:]
        return part

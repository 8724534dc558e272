"""How the processes of a run make their roles, named so that the controller loads no engine."""

from collections.abc import Sequence

from planner.domain.dataflow import CONTROLLER
from planner.domain.plan import Plan
from runtime.workers.call import Recipe


def recipe_of(plan: Plan, pool: str, *, roles: Sequence[str] | None = None) -> Recipe:
    """What makes the roles of a pool, or some of them; of `CONTROLLER` or a service, light ones."""
    if pool == CONTROLLER:
        return Recipe(module="runtime.workers.prompts", function="light_roles", arguments=(plan,))
    if pool in plan.scenario.services:
        return Recipe(module="runtime.workers.prompts", function="light_roles", arguments=(plan, (pool,)))
    (members,) = (other.roles for other in plan.pools if other.name == pool)
    wanted = tuple(members if roles is None else roles)
    return Recipe(module="runtime.workers.build", function="pool_roles", arguments=(plan, wanted))


def device_rates_recipe() -> Recipe:
    """What makes the role ``device`` that measures the device it runs on."""
    return Recipe(module="runtime.workers.device_rates", function="device_roles", arguments=())

"""What is planned within the runtime's capabilities is what the runtime accepts."""

import pytest

import planner
from planner.domain.capabilities import RUNTIME
from planner.domain.pins import Pins
from planner.domain.reading import read_scenario
from planner.domain.scenario import Scenario
from runtime.requirements import check
from tests.runtime.plans import QUICKSTART


def quickstart(*, devices: int, node_pools: int = 1, **changes: object) -> Scenario:
    """The quickstart without its pins, on other devices."""
    scenario = read_scenario(QUICKSTART)
    (pool,) = scenario.cluster.node_pools
    pools = tuple(
        pool.model_copy(update={"name": f"local-{number}", "devices_per_node": devices})
        for number in range(node_pools)
    )
    cluster = scenario.cluster.model_copy(update={"node_pools": pools})
    update = {"cluster": cluster, "pin": Pins({}), "capabilities": RUNTIME, **changes}
    return scenario.model_copy(update=update)


@pytest.mark.parametrize("devices", [2, 3, 4])
@pytest.mark.parametrize("time_model", ["period", "stage"])
def test_the_quickstart_is_planned_as_the_runtime_can_run_it(devices: int, time_model: str) -> None:
    check(planner.plan(quickstart(devices=devices, time_model=time_model)).plan)


@pytest.mark.parametrize(("prompts", "mini_batches"), [(2, 1), (3, 1), (6, 3)])
def test_no_replica_of_a_runnable_plan_is_without_samples(prompts: int, mini_batches: int) -> None:
    whole = read_scenario(QUICKSTART).workload
    workload = whole.model_copy(update={"prompts": prompts, "mini_batches": mini_batches})
    check(planner.plan(quickstart(devices=4, workload=workload)).plan)


def test_runnable_plans_pad_no_vocabulary() -> None:
    scenario = read_scenario(QUICKSTART)
    models = {role: model.model_copy(update={"vocab": 129}) for role, model in scenario.models.items()}
    check(planner.plan(quickstart(devices=4, models=models)).plan)


@pytest.mark.parametrize("apart", [(("actor", "critic"),), (("actor", "reference", "reward"),)])
def test_calls_of_runnable_plans_belong_to_one_iteration(apart: tuple[tuple[str, ...], ...]) -> None:
    plan = planner.plan(quickstart(devices=4, apart=apart, time_model="period")).plan
    assert len(plan.pools) > 1
    check(plan)


def test_a_runnable_plan_lies_in_one_node_pool() -> None:
    apart = (("actor", "critic"),)
    plan = planner.plan(quickstart(devices=2, node_pools=2, apart=apart)).plan
    assert len(plan.pools) == 2
    check(plan)

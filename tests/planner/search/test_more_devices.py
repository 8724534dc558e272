"""The best plan of a larger cluster, or of one of better devices, is never slower."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest

from planner.costs import CostModel
from planner.search import solve
from tests.planner.search.toys import Case

Build = Callable[..., Case]


def best_seconds(case: Case) -> float:
    return solve(*case.arguments).plan.prediction.stage_cost_seconds


@pytest.mark.parametrize("shapes", [[(1, 1), (2, 1), (3, 1), (4, 1)], [(1, 1), (1, 2), (1, 4), (2, 4)]])
def test_a_larger_cluster_of_toys_is_never_slower(synthetic: Build, shapes: list[tuple[int, int]]) -> None:
    seconds = []
    for shape in shapes:
        case = synthetic(0, pools=[shape])
        case = Case(case.scenario, case.graph, CostModel(case.scenario, case.graph))
        seconds.append(best_seconds(case))
    assert all(larger <= smaller for smaller, larger in pairwise(seconds))
    assert seconds[-1] < seconds[0]


def test_a_larger_cluster_of_the_papers_is_never_slower(paper: Build) -> None:
    seconds = [best_seconds(paper("7b-8", nodes=nodes)) for nodes in (1, 2, 3, 4)]
    assert all(larger <= smaller for smaller, larger in pairwise(seconds))
    assert seconds[-1] < seconds[0]


def improved(case: Case, *, link: int = 1, network: int = 1, memory: int = 1) -> Case:
    """The same case on devices with faster links or more memory."""
    (pool,) = case.scenario.cluster.node_pools
    faster = pool.device.link.model_copy(update={"bandwidth": link * pool.device.link.bandwidth})
    changes = {"link": faster, "memory": memory * pool.device.memory}
    wider = pool.network.model_copy(update={"bandwidth": network * pool.network.bandwidth})
    pool = pool.model_copy(update={"device": pool.device.model_copy(update=changes), "network": wider})
    cluster = case.scenario.cluster.model_copy(update={"node_pools": (pool,)})
    scenario = case.scenario.model_copy(update={"cluster": cluster})
    return replace(case, scenario=scenario, costs=CostModel(scenario, case.graph))


@pytest.mark.parametrize("time_model", ["stage", "period"])
@pytest.mark.parametrize("better", [{"link": 2}, {"network": 4}, {"memory": 2}])
def test_better_devices_of_the_papers_are_never_slower(
    paper: Build, better: dict[str, int], time_model: str
) -> None:
    case = paper("7b-16", time_model=time_model)
    before, after = (solve(*each.arguments).plan for each in (case, improved(case, **better)))
    assert after.proof.objective <= before.proof.objective


@pytest.mark.slow
@pytest.mark.parametrize("name", ["13b-32", "34b-32", "70b-64"])
@pytest.mark.parametrize("better", [{"link": 2}, {"network": 4}, {"memory": 2}])
def test_better_devices_of_more_of_the_papers_are_never_slower(
    paper: Build, better: dict[str, int], name: str
) -> None:
    case = paper(name)
    before, after = (solve(*each.arguments).plan for each in (case, improved(case, **better)))
    assert after.proof.objective <= before.proof.objective

"""Problems without the options that take longer than is of interest."""

import pytest

from planner.costs import CostModel
from planner.domain.reading import read_scenario
from planner.search.objectives.fastest import Fastest
from planner.search.problem import prepare
from planner.studies.planning import dataflows


@pytest.mark.parametrize("name", ["paper/ppo-7b-16", "paper/safe-rlhf-7b-8", "examples/grpo-7b-two-devices"])
@pytest.mark.parametrize("time_model", ["stage", "period"])
def test_a_limit_that_the_best_plan_keeps_leaves_the_best_plan(name: str, time_model: str) -> None:
    scenario = read_scenario(f"scenarios/{name}.yaml").model_copy(update={"time_model": time_model})
    fastest = Fastest(solver="cpsat", cluster=scenario.cluster, runners_up=0)
    for graph in dataflows(scenario):
        costs = CostModel(scenario, graph)
        whole = prepare(scenario, graph, costs)
        answer = fastest.plan(whole).answer
        assert answer is not None
        best = answer.solution
        for limit_us in (best.objective_us, best.objective_us * 11 // 10):
            limited = prepare(scenario, graph, costs, limit_us=limit_us)
            for role, by_slot in limited.options.items():
                for slot, table in by_slot.items():
                    assert len(table) <= len(whole.options[role][slot])
                    assert int(table.call_us.sum(axis=1).max()) <= limit_us
            again = fastest.plan(limited, at_most_us=limit_us).answer
            assert again is not None
            assert again.solution.objective_us == best.objective_us
            assert again.solution.strategies(limited) == best.strategies(whole)
            assert again.solution.placement == best.placement
        none = prepare(scenario, graph, costs, limit_us=best.objective_us - 1)
        assert fastest.plan(none, at_most_us=best.objective_us - 1).answer is None

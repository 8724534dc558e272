"""What serving engines allow: how many sequences at once, and generation layouts under a training layout."""

import pytest

from planner.algorithms import dataflow_of
from planner.costs import CostModel
from planner.domain.scenario import Scenario
from planner.errors import InfeasibleError
from planner.search import solve, violations
from planner.search.options.raw import raw_strategies
from planner.studies.paper.questions import paper_scenario


def serving(**changes: object) -> Scenario:
    """PPO of 7B on 8 devices on another serving engine."""
    scenario = paper_scenario("ppo", "7b", 8)
    engine = scenario.stack.generation.model_copy(update=changes)
    return scenario.model_copy(update={"stack": scenario.stack.model_copy(update={"generation": engine})})


def strategies(scenario: Scenario, devices: int = 8) -> list:
    (pool,) = scenario.cluster.node_pools
    return list(raw_strategies(scenario, dataflow_of(scenario), "actor", pool, devices))


@pytest.mark.parametrize(("limits", "most"), [
    ({"max_sequences": 16}, lambda generate: 16),
    ({"device_sequences": 3}, lambda generate: 3 * generate.pipeline * generate.tensor),
    ({"max_sequences": 4, "device_sequences": 2}, lambda generate: min(4, 2 * generate.tensor)),
])  # fmt: skip
def test_no_more_sequences_run_at_once_than_the_engine_takes(limits: dict, most) -> None:
    found = {each.generate for each in strategies(serving(**limits))}
    assert found
    assert all(generate.max_sequences <= most(generate) for generate in found)
    assert any(generate.max_sequences == most(generate) for generate in found)


@pytest.mark.parametrize(("resharding", "agrees"), [
    ("micro-data", lambda train, generate: train.tensor % generate.tensor == 0),
    ("none", lambda train, generate: train.tensor == generate.tensor and train.pipeline == 1),
])  # fmt: skip
def test_generation_layouts_are_those_that_the_weights_can_come_to(resharding: str, agrees) -> None:
    found = strategies(serving(resharding=resharding))
    assert found
    assert all(agrees(each.train, each.generate) for each in found)


def test_weights_gathered_everywhere_come_to_any_layout() -> None:
    pairs = {
        (each.train.tensor, each.generate.tensor) for each in strategies(serving(resharding="everywhere"))
    }
    assert {(1, 8), (8, 1), (4, 4)} <= pairs


def test_a_plan_that_breaks_the_engines_rule_is_not_certified() -> None:
    free, bound = serving(resharding="everywhere"), serving(resharding="none")
    graph = dataflow_of(free)
    plan = solve(free, graph, CostModel(free, graph)).plan
    strategy = plan.strategies["actor"]
    assert strategy.train is not None
    assert strategy.generate is not None
    assert strategy.train.tensor != strategy.generate.tensor
    there = plan.model_copy(update={"scenario": bound})
    assert "generation sizes" in {each.rule for each in violations(there, graph, CostModel(bound, graph))}


def test_an_engine_without_room_for_its_batches_has_no_plan() -> None:
    scenario = serving(keeps_cache=False)
    (pool,) = scenario.cluster.node_pools
    small = pool.device.model_copy(update={"memory": pool.device.memory // 4})
    tight = scenario.with_node_pool(pool.model_copy(update={"device": small}))
    graph = dataflow_of(tight)
    with pytest.raises(InfeasibleError):
        solve(tight, graph, CostModel(tight, graph))

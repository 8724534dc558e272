import pytest

from planner.domain.parallelism import ParallelStrategy
from planner.domain.pins import Pins
from planner.errors import PlanMismatchError
from runtime.requirements import check
from runtime.trials import trial_plans
from tests.runtime.plans import tiny_model, tiny_scenario

ALL = ("actor", "critic", "reference", "reward")


def scenario(tmp_path, **pins):
    pinned = Pins({key.replace("__", "."): value for key, value in pins.items()})
    plain = tiny_scenario(model=tiny_model(tmp_path), nodes=1, per_node=4)
    return plain.model_copy(update={"pin": pinned})


def layouts(plan):
    return {role: str(strategy.layout) for role, strategy in plan.strategies.items()}


def test_each_role_is_tried_in_the_layouts_with_the_least_communication(tmp_path):
    first, second = trial_plans(scenario(tmp_path), layouts=(), count=2)
    assert layouts(first) == dict.fromkeys(ALL, "p1t1d4")
    assert layouts(second) == dict.fromkeys(ALL, "p1t2d2")
    assert first.pools[0].devices == 4
    assert first.pools[0].order[0] == "actor.generate"


def test_a_pinned_role_keeps_its_layout_in_every_trial(tmp_path):
    first, second = trial_plans(
        scenario(tmp_path, actor__train="p1t2d2", actor__generate__tensor=1), layouts=(), count=2
    )
    assert layouts(first)["actor"] == layouts(second)["actor"] == "p1t2d2"
    assert str(first.strategies["actor"].generate) == "p1t1x4"


def test_given_layouts_are_tried_and_no_others(tmp_path):
    wanted = [ParallelStrategy(pipeline=2, data=2)]
    (only,) = trial_plans(scenario(tmp_path), layouts=wanted, count=1)
    assert layouts(only) == dict.fromkeys(ALL, "p2t1d2")


def test_trials_are_plans_that_the_runtime_accepts_and_hardly_learn(tmp_path):
    for plan in trial_plans(scenario(tmp_path), layouts=(), count=2):
        check(plan)
        assert plan.scenario.run.actor_learning_rate < 1e-9


def test_pins_that_no_layout_agrees_with_are_refused(tmp_path):
    with pytest.raises(PlanMismatchError, match="no layout of critic on 4 devices"):
        trial_plans(scenario(tmp_path, critic__train__tensor=3), layouts=(), count=2)

"""Stage cost and period of given orders, by hand."""

import itertools
import random

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs.bands import Term, circle_band, circle_terms
from planner.costs.cycles import Arc, critical_cycle
from planner.costs.iteration import Circle, period, slowest_circle, stage_cost
from planner.domain.dataflow import DataflowGraph, Dependence
from planner.domain.fits import Residuals
from planner.domain.plan import Pool
from planner.errors import SpecError

PPO = trace(ALGORITHMS["ppo"], name="ppo")
SECONDS = {
    "actor.generate": 8.0,
    "critic.values": 1.0,
    "reference.logprobs": 1.0,
    "reward.scores": 1.0,
    "critic.update": 8.0,
    "actor.update": 1.0,
}
ACTOR_SIDE = ("actor.generate", "reference.logprobs", "reward.scores", "actor.update")


def pool(*order: str, **ahead: int) -> Pool:
    roles = tuple(dict.fromkeys(call.split(".")[0] for call in order))
    names = {f"{role}.{call}": by for key, by in ahead.items() for role, call in [key.split("_")]}
    return Pool(name="pool", node_pool="pool", devices=1, roles=roles, order=order, ahead=names)


def test_an_update_on_another_pool_overlaps_the_next_generation() -> None:
    pools = [pool(*ACTOR_SIDE), pool("critic.values", "critic.update")]
    assert stage_cost(PPO, [each.roles for each in pools], SECONDS) == 8 + 2 + 8
    assert period(PPO, pools, SECONDS) == 8 + 1 + 1 + 1


def test_one_pool_takes_the_sum_of_its_calls() -> None:
    everything = pool(*(call.name for call in PPO.model_calls))
    assert period(PPO, [everything], SECONDS) == sum(SECONDS.values())


def test_the_slowest_circle_names_the_calls_that_wait_for_each_other() -> None:
    slow = SECONDS | {"critic.values": 4.0}
    pools = [pool(*ACTOR_SIDE), pool("critic.values", "critic.update")]
    circle = slowest_circle(PPO, pools, slow)
    assert circle is not None
    assert (set(circle.calls), circle.lag) == (
        {"actor.generate", "critic.values", "controller.advantages", "actor.update"},
        1,
    )
    assert (circle.period, circle.crossing_seconds) == (8 + 4 + 1, 0)


def test_what_crosses_node_pools_lengthens_the_circle() -> None:
    pools = [pool(*ACTOR_SIDE), pool("critic.values", "critic.update")]
    slow = SECONDS | {"critic.values": 4.0}
    crossings = {wait: 0.5 for wait in PPO.dependences if wait.target == "critic.values" and not wait.lag}
    circle = slowest_circle(PPO, pools, slow, crossings=crossings)
    assert circle is not None
    assert (circle.period, circle.crossing_seconds) == (13.5, 0.5)


def test_a_call_that_runs_ahead_waits_for_less() -> None:
    """The critic's pool takes its values of the next iteration before this one's update."""
    tight = SECONDS | {"critic.values": 2.0, "critic.update": 9.0}
    behind = [pool(*ACTOR_SIDE), pool("critic.values", "critic.update")]
    assert period(PPO, behind, tight) == 11.0
    with pytest.raises(SpecError, match=r"wait for each other"):
        period(PPO, [behind[0], pool("critic.update", "critic.values")], tight)
    assert period(PPO, [behind[0], pool("critic.update", "critic.values", critic_values=1)], tight) == 11.0


def test_services_are_one_more_pool_of_the_stage_cost() -> None:
    judged = DataflowGraph(name="ppo", graph=PPO.graph, services=frozenset({"reward"}))
    pools = [("actor", "reference"), ("critic",)]
    assert stage_cost(judged, pools, SECONDS | {"reward.scores": 5.0}) == 8 + 5 + 8
    orders = [
        pool("actor.generate", "reference.logprobs", "actor.update"),
        pool("critic.values", "critic.update"),
    ]
    assert period(judged, orders, SECONDS | {"reward.scores": 5.0}) == 8 + 5 + 1


def test_the_period_is_the_greatest_ratio_of_all_circles() -> None:
    """Against all simple circles, one by one."""
    for seed in range(200):
        draw = random.Random(seed)
        arcs = [
            Arc(source, target, draw.uniform(0, 5), draw.choice((0, 1, 1, 2)) if source >= target else 0)
            for source, target in itertools.permutations(range(5), 2)
            if draw.random() < 0.5
        ]
        arcs = [arc if arc.source < arc.target or arc.lag else arc._replace(lag=1) for arc in arcs]
        ratios = [0.0]
        for length in range(2, 6):
            for steps in itertools.permutations(range(5), length):
                pairs = list(zip(steps, (*steps[1:], steps[0]), strict=True))
                used = [[arc for arc in arcs if (arc.source, arc.target) == pair] for pair in pairs]
                if all(used):
                    circle = [arc for (arc,) in used]
                    ratios.append(sum(arc.length for arc in circle) / sum(arc.lag for arc in circle))
        found = critical_cycle(5, arcs)
        assert found is not None
        assert found[0] == pytest.approx(max(ratios), rel=1e-12)


def test_a_circle_of_no_lag_has_no_period() -> None:
    assert critical_cycle(2, [Arc(0, 1, 1.0, 0), Arc(1, 0, 1.0, 0)]) is None
    assert critical_cycle(2, [Arc(0, 1, 1.0, 1), Arc(1, 0, 1.0, -1)]) is None


def test_the_band_of_a_period_is_that_of_its_calls_an_iteration() -> None:
    residuals = Residuals(rows=9, mape=0.1, p90=0.2, low=-0.1, high=0.1, own=1.0)
    terms = {name: Term(seconds=4.0, residuals=residuals, kind="train", identity=name) for name in "ab"}
    circle = Circle(calls=("a", "service", "b"), lag=2, crossing_seconds=0.0, period=5.0)
    assert {name: term.seconds for name, term in circle_terms(circle, terms).items()} == {"a": 2.0, "b": 2.0}
    low, high = circle_band(circle, terms)
    assert low < 5.0 < high
    assert high - 5.0 < 5.0 * 0.11


def moving(seconds: float, *targets: str) -> dict[Dependence, float]:
    """What the critic's node pool waits for from the actor's generation."""
    return {
        wait: seconds
        for wait in PPO.dependences
        if wait.source == "actor.generate" and wait.target in targets and not wait.lag
    }


def test_a_link_decides_where_what_crosses_in_one_direction_takes_longer_than_any_circle() -> None:
    """Prompts and responses cross twice: each alone lengthens the circle of 8 + 1 + 1 by less."""
    near, far = pool(*ACTOR_SIDE), pool("critic.values", "critic.update")
    far = far.model_copy(update={"node_pool": "far"})
    crossings = moving(30.0, "critic.values", "critic.update")
    circle = slowest_circle(PPO, [near, far], SECONDS, crossings=crossings)
    assert circle == Circle(calls=(), lag=1, crossing_seconds=60.0, period=60.0, link=("pool", "far"))
    assert circle_terms(circle, {}) == {}
    assert circle_band(circle, {}) == (60.0, 60.0)


def test_a_circle_decides_where_it_takes_as_long_as_the_link() -> None:
    """A circle of generation, its way, the values and the actor's update."""
    near, far = pool(*ACTOR_SIDE), pool("critic.values", "critic.update")
    far = far.model_copy(update={"node_pool": "far"})
    circle = slowest_circle(PPO, [near, far], SECONDS, crossings=moving(4.0, "critic.values"))
    assert circle is not None
    assert (circle.link, circle.period) == (None, 8 + 4 + 1 + 1)

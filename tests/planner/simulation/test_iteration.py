import itertools
import random
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.algorithms import ALGORITHMS, asynchronous, planned_dataflow, trace
from planner.costs import stage_cost
from planner.costs.iteration import period, slowest_circle
from planner.costs.services import service_seconds
from planner.costs.sync.crossing import crossings, link_loads
from planner.domain.placement import placements
from planner.domain.plan import CallPrediction, Plan, Pool, Prediction, Proof
from planner.domain.reading import read_scenario
from planner.search.schedules.orders import best_orders
from planner.simulation import timeline_of
from planner.simulation.iteration import course_of
from planner.studies import planning
from tests.planner.simulation.crossing import crossing_plan

PPO = trace(ALGORITHMS["ppo"], name="ppo")
NAMES = tuple(call.name for call in PPO.model_calls)
PLACEMENTS = tuple(placements(PPO.roles))
TOGETHER = (PPO.roles,)
ROOT = Path(__file__).resolve().parents[3]
REPEATS = 12
"""Iterations after which every small circle has come round, whatever its lag up to 4."""


def pool_of(index, roles, order, ahead=MappingProxyType({})):
    """A pool of one device that runs its calls in this order, some of them iterations ahead."""
    ahead = {name: ahead.get(name, 0) for name in order}
    return Pool(
        name=f"pool{index}", node_pool="pool", devices=1, roles=roles, order=tuple(order), ahead=ahead
    )


def plan_of(placement, seconds, *, reshard_s=0.0):
    """A plan of which only what the simulation reads is filled in."""
    pools = tuple(
        pool_of(index, roles, [call.name for call in PPO.model_calls if call.role in roles])
        for index, roles in enumerate(placement)
    )
    calls = {
        name: CallPrediction(
            seconds=value, reshard_seconds=reshard_s if name.endswith("generate") else 0.0, origin="modelled"
        )
        for name, value in seconds.items()
    }
    prediction = Prediction(
        calls=calls, memory={}, iteration_seconds=1, stage_cost_seconds=1, tokens_per_second=1
    )
    proof = Proof(solver="cpsat", status="feasible", time_model="period", objective=1, bound=0)
    return Plan.model_construct(scenario=None, pools=pools, strategies={}, prediction=prediction, proof=proof)


durations = st.fixed_dictionaries({name: st.floats(0.25, 8) for name in NAMES})


@given(st.sampled_from(PLACEMENTS), durations)
def test_one_iteration_of_ppo_takes_its_stage_cost(placement, seconds):
    """All preparation precedes both updates, so that stages cannot overlap."""
    timeline = timeline_of(plan_of(placement, seconds), PPO)
    assert timeline.end_s == pytest.approx(stage_cost(PPO, placement, seconds), rel=1e-9)


@given(st.sampled_from(PLACEMENTS), durations, st.integers(1, 4))
def test_spans_never_overlap_on_a_pool(placement, seconds, iterations):
    timeline = timeline_of(plan_of(placement, seconds, reshard_s=0.125), PPO, iterations=iterations)
    for pool in timeline.pools:
        spans = [span for span in timeline.spans if span.pool == pool]
        assert all(first.end_s <= second.start_s for first, second in itertools.pairwise(spans))


@given(st.sampled_from(PLACEMENTS), durations, st.integers(2, 4))
def test_each_generation_waits_for_the_update_before_it(placement, seconds, iterations):
    timeline = timeline_of(plan_of(placement, seconds), PPO, iterations=iterations)
    starts = {span.iteration: span.start_s for span in timeline.spans if span.kind == "reshard"}
    updates = {span.iteration: span.end_s for span in timeline.spans if span.call == "actor.update"}
    assert all(updates[index] <= starts[index + 1] for index in range(iterations - 1))


def test_another_pools_update_runs_on_while_the_next_iteration_generates():
    seconds = dict.fromkeys(NAMES, 1.0) | {"critic.update": 2.0}
    placement = (("actor", "reference", "reward"), ("critic",))
    timeline = timeline_of(plan_of(placement, seconds), PPO, iterations=2)
    alone = timeline_of(plan_of(placement, seconds), PPO)
    critic = next(s for s in timeline.spans if s.call == "critic.update" and s.iteration == 0)
    generate = next(s for s in timeline.spans if s.call == "actor.generate" and s.iteration == 1)
    assert critic.end_s > generate.start_s
    assert timeline.end_s < 2 * alone.end_s


def test_colocated_iterations_follow_each_other_without_overlap():
    seconds = {name: 1.0 + index for index, name in enumerate(NAMES)}
    timeline = timeline_of(plan_of(TOGETHER, seconds), PPO, iterations=3)
    assert timeline.end_s == pytest.approx(3 * sum(seconds.values()))


def test_the_weight_sync_is_a_span_of_its_own_inside_the_call():
    seconds = dict.fromkeys(NAMES, 4.0)
    timeline = timeline_of(plan_of(TOGETHER, seconds, reshard_s=1.5), PPO)
    sync, generate = timeline.spans[:2]
    assert (sync.call, sync.kind, sync.seconds) == ("actor.generate/reshard", "reshard", 1.5)
    assert (generate.call, generate.kind, generate.seconds) == ("actor.generate", "generate", 2.5)
    assert timeline.origin == "predicted"


def ordered_plan(graph, placement, seconds):
    """A plan whose pools have the orders of least period, in microseconds."""
    numbers = {call.name: number for number, call in enumerate(graph.calls)}
    homes = {role: index for index, roles in enumerate(placement) for role in roles}
    durations = [round(1e6 * seconds.get(call.name, 0.0)) for call in graph.calls]
    waits = [(numbers[wait.source], numbers[wait.target], wait.lag, 0) for wait in graph.dependences]
    orders = best_orders(durations, [homes.get(call.role) for call in graph.calls], waits)
    names = [call.name for call in graph.calls]
    ahead = dict(zip(names, orders.ahead, strict=True))
    pools = tuple(
        pool_of(index, roles, [names[step] for step in steps], ahead)
        for index, (roles, steps) in enumerate(zip(placement, orders.calls, strict=True))
    )
    plan = plan_of((), seconds)
    return plan.model_copy(update={"pools": pools}), orders.schedule.period_us / 1e6


def assert_repeats(plan, graph, calls, seconds):
    """Calls of the slowest circle start so many seconds after their last turn, once the play has settled."""
    timeline = timeline_of(plan, graph, iterations=50)
    starts = {(span.call, span.iteration): span.start_s for span in timeline.spans}
    steady = {
        call: (starts[call, 40] - starts[call, 40 - REPEATS]) / REPEATS
        for call in calls
        if (call, 40) in starts
    }
    assert steady
    assert steady == pytest.approx(dict.fromkeys(steady, seconds), abs=1e-6)


@pytest.mark.parametrize("staleness", [0, 1, 2])
@pytest.mark.parametrize("name", ["ppo", "remax", "safe_rlhf", "grpo"])
def test_the_steady_period_is_the_one_that_was_searched(name, staleness):
    """In all placements of a random problem."""
    graph = trace(ALGORITHMS[name], name=name)
    graph = asynchronous(graph, staleness) if staleness else graph
    draw = random.Random(f"{name} {staleness}")
    for placement in placements(graph.roles):
        if any({"actor", "generator"} <= set(roles) for roles in placement) or draw.random() > 0.3:
            continue
        seconds = {call.name: draw.randrange(1, 40) / 4 for call in graph.model_calls}
        plan, expected = ordered_plan(graph, placement, seconds)
        assert_repeats(plan, graph, slowest_circle(graph, plan.pools, seconds).calls, expected)


@pytest.mark.parametrize("staleness", [0, 1, 2])
@pytest.mark.parametrize("name", ["ppo-7b-16", "ppo-13b-64"])
def test_paper_scenarios_repeat_with_their_period(name, staleness):
    scenario = read_scenario(ROOT / "scenarios" / "paper" / f"{name}.yaml")
    plan = planning.plan(scenario.model_copy(update={"time_model": "period", "staleness": staleness})).plan
    graph = planned_dataflow(plan)
    seconds = {call: prediction.seconds for call, prediction in plan.prediction.calls.items()}
    calls = slowest_circle(graph, plan.pools, seconds).calls
    assert_repeats(plan, graph, calls, plan.prediction.iteration_seconds)


def test_what_crosses_and_what_services_take_is_played_as_it_is_predicted():
    plan = crossing_plan()
    graph = planned_dataflow(plan)
    seconds = {call: prediction.seconds for call, prediction in plan.prediction.calls.items()}
    judge = graph.call("reward.scores")
    seconds[judge.name] = service_seconds(plan.scenario, judge)
    away = crossings(
        plan.scenario, graph, {role: pool.node_pool for pool in plan.pools for role in pool.roles}
    )
    circle = slowest_circle(graph, plan.pools, seconds, crossings=away)
    assert_repeats(plan, graph, circle.calls, plan.prediction.iteration_seconds)
    timeline = timeline_of(plan, graph, iterations=6)
    starts = {(span.call, span.iteration): span for span in timeline.spans}
    judged = starts["actor.update", 5].start_s - starts["generator.generate", 5].end_s
    moved = starts["generator.receive", 5].start_s - starts["actor.send", 5].end_s
    assert judged >= seconds[judge.name] - 1e-9
    assert moved >= max(away.values()) - 1e-9
    assert {span.pool for span in timeline.spans if span.call == judge.name} == {"services"}


@pytest.mark.parametrize("bandwidth", ["50 MB/s", "100 MB/s", "150 MB/s"])
def test_weights_of_two_iterations_on_a_slow_link_take_turns(bandwidth):
    """Each alone would have come before the generation that waits for it; the link carries one a period."""
    plan = crossing_plan(bandwidth)
    graph = planned_dataflow(plan)
    homes = {role: pool.node_pool for pool in plan.pools for role in pool.roles}
    load_s = max(link_loads(graph, crossings(plan.scenario, graph, homes), homes).values())
    assert plan.prediction.iteration_seconds == load_s
    ends = course_of(
        plan, graph, iterations=40, seconds=lambda name, _: plan.prediction.calls[name].seconds
    ).ends_s
    steady = (ends[38] - ends[2]) / 36
    assert load_s * (1 - 1e-9) <= steady < 1.02 * load_s


def test_calls_that_are_ahead_begin_in_the_prologue():
    seconds = dict.fromkeys(NAMES, 1.0)
    plan = plan_of(PLACEMENTS[0], seconds)
    (pool,) = plan.pools
    graph = asynchronous(PPO, 1)
    order = ("generator.generate", "generator.receive")
    ahead = Pool(
        name="generator",
        node_pool="pool",
        devices=1,
        roles=("generator",),
        order=order,
        ahead={"generator.generate": 1},
    )
    others = tuple(call.name for call in graph.model_calls if call.role != "generator")
    rest = pool.model_copy(update={"roles": PPO.roles, "order": others})
    calls = {call.name: CallPrediction(seconds=1.0, origin="modelled") for call in graph.model_calls}
    prediction = plan.prediction.model_copy(update={"calls": calls})
    plan = plan.model_copy(update={"pools": (ahead, rest), "prediction": prediction})
    spans = [span for span in timeline_of(plan, graph, iterations=2).spans if span.pool == "generator"]
    assert [(span.call, span.iteration, span.start_s) for span in spans[:2]] == [
        ("generator.generate", 0, 0.0),
        ("generator.generate", 1, 1.0),
    ]
    assert [span.kind for span in spans] == ["generate", "generate", "receive", "receive"]
    assert period(graph, plan.pools, dict.fromkeys(calls, 1.0)) == 6.0

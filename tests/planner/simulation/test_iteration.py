import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.algorithms import ALGORITHMS, trace
from planner.costs import stage_cost
from planner.domain.placement import placements
from planner.domain.plan import CallPrediction, Plan, Pool, Prediction, Proof
from planner.simulation import simulate

PPO = trace(ALGORITHMS["ppo"], name="ppo")
NAMES = tuple(call.name for call in PPO.model_calls)
PLACEMENTS = tuple(placements(PPO.roles))
TOGETHER = (PPO.roles,)


def plan_of(placement, seconds, *, reshard_s=0.0):
    """A plan of which only what the simulation reads is filled in."""
    pools = tuple(
        Pool(
            name=f"pool{index}",
            node_pool="pool",
            devices=1,
            roles=roles,
            order=tuple(call.name for call in PPO.model_calls if call.role in roles),
        )
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
    proof = Proof(solver="cpsat", status="feasible", objective=1, bound=0)
    return Plan.model_construct(scenario=None, pools=pools, strategies={}, prediction=prediction, proof=proof)


durations = st.fixed_dictionaries({name: st.floats(0.25, 8) for name in NAMES})


@given(st.sampled_from(PLACEMENTS), durations)
def test_one_iteration_of_ppo_takes_its_stage_cost(placement, seconds):
    """All preparation precedes both updates, so that stages cannot overlap."""
    timeline = simulate(plan_of(placement, seconds), PPO)
    assert timeline.end_s == pytest.approx(stage_cost(PPO, placement, seconds), rel=1e-9)


@given(st.sampled_from(PLACEMENTS), durations, st.integers(1, 4))
def test_spans_never_overlap_on_a_pool(placement, seconds, iterations):
    timeline = simulate(plan_of(placement, seconds, reshard_s=0.125), PPO, iterations=iterations)
    for pool in timeline.pools:
        spans = [span for span in timeline.spans if span.pool == pool]
        assert all(first.end_s <= second.start_s for first, second in itertools.pairwise(spans))


@given(st.sampled_from(PLACEMENTS), durations, st.integers(2, 4))
def test_each_generation_waits_for_the_update_before_it(placement, seconds, iterations):
    timeline = simulate(plan_of(placement, seconds), PPO, iterations=iterations)
    starts = {span.iteration: span.start_s for span in timeline.spans if span.kind == "reshard"}
    updates = {span.iteration: span.end_s for span in timeline.spans if span.call == "actor.update"}
    assert all(updates[index] <= starts[index + 1] for index in range(iterations - 1))


def test_another_pools_update_runs_on_while_the_next_iteration_generates():
    seconds = dict.fromkeys(NAMES, 1.0) | {"critic.update": 2.0}
    placement = (("actor", "reference", "reward"), ("critic",))
    timeline = simulate(plan_of(placement, seconds), PPO, iterations=2)
    alone = simulate(plan_of(placement, seconds), PPO)
    critic = next(s for s in timeline.spans if s.call == "critic.update" and s.iteration == 0)
    generate = next(s for s in timeline.spans if s.call == "actor.generate" and s.iteration == 1)
    assert critic.end_s > generate.start_s
    assert timeline.end_s < 2 * alone.end_s


def test_colocated_iterations_follow_each_other_without_overlap():
    seconds = {name: 1.0 + index for index, name in enumerate(NAMES)}
    timeline = simulate(plan_of(TOGETHER, seconds), PPO, iterations=3)
    assert timeline.end_s == pytest.approx(3 * sum(seconds.values()))


def test_the_weight_sync_is_a_span_of_its_own_inside_the_call():
    seconds = dict.fromkeys(NAMES, 4.0)
    timeline = simulate(plan_of(TOGETHER, seconds, reshard_s=1.5), PPO)
    sync, generate = timeline.spans[:2]
    assert (sync.call, sync.kind, sync.seconds) == ("actor.generate/reshard", "reshard", 1.5)
    assert (generate.call, generate.kind, generate.seconds) == ("actor.generate", "generate", 2.5)
    assert timeline.origin == "predicted"

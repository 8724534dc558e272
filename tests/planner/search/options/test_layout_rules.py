"""Layouts before anything is costed."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.domain.capabilities import RUNTIME
from planner.domain.runnable import strategy_refusals
from planner.search.options.layout_rules import (
    context_sizes,
    micro_batches,
    offloads,
    raw_layouts,
    recomputations,
    token_budgets,
)
from planner.search.options.raw import raw_strategies
from planner.search.options.subject import Subject
from tests.planner.search.toys import PPO, small_scenario

MOE = {"experts": 8, "experts_per_token": 2, "expert_ffn": 8}


def subject(role: str = "critic", **changes: Any) -> Subject:
    scenario = small_scenario(PPO, **changes)
    return Subject(role=role, scenario=scenario, graph=PPO, node_pool=scenario.cluster.node_pools[0])


def work(**changes: Any) -> dict[str, Any]:
    return {"prompts": 64, "prompt_tokens": 4, "response_tokens": 4, "mini_batches": 2} | changes


@given(st.integers(1, 48), st.sampled_from([1, 4, 6, 8]), st.integers(1, 24), st.integers(1, 20))
def test_layouts_are_exactly_those_that_fill_the_devices(
    devices: int, per_node: int, heads: int, layers: int
) -> None:
    model = {"heads": heads, "kv_heads": 1, "layers": layers}
    rows = raw_layouts(subject(model=model, pools=[(16, per_node)]), [devices])
    found = set(zip(*(rows[name].tolist() for name in ("pipeline", "tensor", "data")), strict=True))
    assert found == {
        (p, t, d)
        for p in range(1, layers + 1)
        for t in range(1, per_node + 1)
        for d in range(1, devices + 1)
        if p * t * d == devices and heads % t == 0 and per_node % t == 0
    }


def test_sequences_are_cut_only_where_a_rank_keeps_4096_tokens() -> None:
    for tokens, sizes in ((8191, [1]), (8192, [1, 2]), (40_000, [1, 2, 4, 8])):
        long = work(prompt_tokens=tokens - 4)
        assert context_sizes(subject(workload=long), 16) == sizes
        assert context_sizes(subject(workload=long), 6) == [size for size in sizes if 6 % size == 0]


def test_context_ranks_share_one_sequence() -> None:
    rows = raw_layouts(subject(workload=work(prompt_tokens={"mean": 4000, "maximum": 8188})), [4])
    shared = rows["context"] > 1
    assert shared.any()
    assert set(rows["micro_batch"][shared].tolist()) == {1}
    assert set(rows["micro_batch_tokens"][shared].tolist()) == {0, 8192}


def test_experts_are_spread_over_data_and_context_ranks() -> None:
    rows = raw_layouts(subject(model={"moe": MOE}), [4])
    found = set(zip(rows["data"].tolist(), rows["expert"].tolist(), strict=True))
    assert found == {(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)}


def test_chunks_are_powers_of_two_and_single_layers() -> None:
    rows = raw_layouts(subject(model={"layers": 11}), [4])
    found = set(zip(rows["pipeline"].tolist(), rows["virtual"].tolist(), strict=True))
    assert found == {(1, 1), (2, 1), (2, 2), (2, 4), (2, 5), (4, 1), (4, 2)}


def test_micro_batches_are_powers_of_two_up_to_the_fullest_replica() -> None:
    rows = {"data": np.array([1, 5, 64]), "context": np.array([1, 1, 1])}
    sizes, allowed = micro_batches(subject(workload=work()), rows)
    assert [sizes[each].tolist() for each in allowed] == [[1, 2, 4, 8, 16, 32], [1, 2, 4], [1]]


def test_budgets_of_tokens_hold_the_longest_sequence_and_are_offered_where_lengths_vary() -> None:
    rows = {"data": np.array([1, 16]), "context": np.array([1, 1])}
    varied = work(response_tokens={"mean": 2, "maximum": 4})
    budgets, allowed = token_budgets(subject(workload=varied), rows)
    assert [budgets[each].tolist() for each in allowed] == [[8, 16, 32, 64, 128, 256], [8, 16]]
    budgets, allowed = token_budgets(subject(workload=work()), rows)
    assert not allowed.any()


def test_only_trained_roles_recompute_and_offload_an_optimizer() -> None:
    assert recomputations(subject("critic")) == [0, 1, 2]
    assert recomputations(subject("reward")) == [0]
    assert offloads(subject("critic")) == ["none", "optimizer", "all"]
    assert offloads(subject("reward")) == ["none", "all"]


@pytest.mark.parametrize(
    ("pins", "field", "expected"),
    [
        ({"critic.train.tensor": 2}, "tensor", {2}),
        ({"critic.train.context": 2}, "context", set()),
        ({"critic.train.virtual": 2}, "virtual", {2}),
        ({"critic.train.data": 2}, "data", {2}),
        ({"critic.micro_batch": 8}, "micro_batch", {8}),
        ({"critic.micro_batch": 12}, "micro_batch", set()),
        ({"critic.micro_batch_tokens": 16}, "micro_batch_tokens", {16}),
        ({"critic.micro_batch_tokens": 20}, "micro_batch_tokens", set()),
        ({"critic.micro_batch_tokens": 16, "critic.micro_batch": 2}, "micro_batch", set()),
        ({"critic.recompute": "selective"}, "recompute", {1}),
        ({"reward.micro_batch": 8}, "micro_batch", {1, 2, 4, 8, 16, 32}),
    ],
)
def test_a_pin_leaves_its_value_alone(pins: dict[str, Any], field: str, expected: set[int]) -> None:
    varied = work(response_tokens={"mean": 2, "maximum": 4})
    rows = raw_layouts(subject(pin=pins, workload=varied, model={"layers": 4}), [4])
    assert set(rows[field].tolist()) == expected


@pytest.mark.parametrize("role", PPO.roles)
@pytest.mark.parametrize("vocab", [128, 64, 48])
def test_what_the_runtime_refuses_is_left_out_and_nothing_else(role: str, vocab: int) -> None:
    """Lengths vary, so that every field has values that the runtime cannot run."""
    varied = work(prompts=3, response_tokens={"mean": 2, "maximum": 4})
    changes = {"workload": varied, "model": {"vocab": vocab}, "pools": [(1, 4)]}
    free, bound = (small_scenario(PPO, **changes, capabilities=can) for can in (None, RUNTIME))
    pool = free.cluster.node_pools[0]
    for devices in (1, 2, 4):
        every = raw_strategies(free, PPO, role, pool, devices)
        possible = [each for each in every if not list(strategy_refusals(RUNTIME, bound, role, each))]
        assert list(raw_strategies(bound, PPO, role, pool, devices)) == possible


def test_no_option_is_listed_twice() -> None:
    scenario = small_scenario(PPO, workload=work(response_tokens={"mean": 2, "maximum": 4}))
    found = list(raw_strategies(scenario, PPO, "actor", scenario.cluster.node_pools[0], 4))
    assert len(set(found)) == len(found)
    assert all(each.layout.devices == each.generate.devices == 4 for each in found if each.generate)
    assert math.prod((len({each.offload for each in found}), len({each.recompute for each in found}))) == 9

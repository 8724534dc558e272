"""Generation strategies before anything is costed."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from planner.algorithms import ALGORITHMS, trace
from planner.search.options.generation_rules import raw_generations, waves
from planner.search.options.raw import raw_strategies
from planner.search.options.subject import Subject
from tests.planner.search.toys import PPO, small_scenario


def generations(devices: int, **changes: Any) -> set[tuple[int, ...]]:
    """(p_g, t_g, replicas, sequences at once, cached tokens)."""
    scenario = small_scenario(PPO, **changes)
    subject = Subject(role="actor", scenario=scenario, graph=PPO, node_pool=scenario.cluster.node_pools[0])
    rows = raw_generations(subject, [devices])
    names = ("pipeline", "tensor", "replicas", "max_sequences", "cache_tokens")
    return set(zip(*(rows[f"generate_{name}"].tolist() for name in names), strict=True))


@settings(max_examples=20)
@given(st.sampled_from([1, 2, 3, 4, 6, 8]), st.integers(1, 40))
def test_generation_fills_the_devices_of_training_with_sizes_that_divide_its_own(
    devices: int, samples: int
) -> None:
    work = {"prompts": samples, "prompt_tokens": 4, "response_tokens": 4}
    model = {"layers": 8, "heads": 4, "kv_heads": 4}
    scenario = small_scenario(PPO, model=model, pools=[(4, 4)], workload=work)
    found = raw_strategies(scenario, PPO, "actor", scenario.cluster.node_pools[0], devices)
    assert found
    for each in found:
        assert each.generate is not None
        assert each.generate.devices == each.layout.devices == devices
        assert each.layout.pipeline % each.generate.pipeline == 0
        assert each.layout.tensor % each.generate.tensor == 0
        assert each.generate.max_sequences <= -(-samples // each.generate.replicas)


@pytest.mark.parametrize(
    ("sequences", "expected"), [(1, [1]), (5, [1, 2, 3, 4, 5]), (20, [1, 2, 3, 4, 6, 8, 12, 16, 20])]
)
def test_waves_grow_by_halves_and_end_with_one_sequence_each(sequences: int, expected: list[int]) -> None:
    assert waves(sequences) == expected


def test_equal_lengths_have_full_reservation_only() -> None:
    assert {row[-1] for row in generations(4)} == {0}


def test_where_lengths_vary_a_cache_may_hold_what_is_expected() -> None:
    work = {
        "prompts": 64,
        "prompt_tokens": {"mean": 100, "maximum": 400},
        "response_tokens": {"mean": 300, "maximum": 2000},
    }
    caches = {(row[3], row[-1]) for row in generations(2, workload=work) if row[-1]}
    assert caches
    _, pinned = min(caches)
    pin = {"actor.generate.cache_tokens": pinned}
    assert {row[-1] for row in generations(2, workload=work, pin=pin)} == {pinned}
    for at_once, tokens in caches:
        assert 2400 <= tokens < at_once * 2400
        assert tokens > at_once * 400


@pytest.mark.parametrize(
    ("pins", "place", "expected"),
    [
        ({"actor.generate.tensor": 2}, 1, {2}),
        ({"actor.generate.replicas": 4}, 2, {4}),
        ({"actor.generate.max_sequences": 2}, 3, {2}),
        ({"actor.generate.max_sequences": 3}, 3, set()),
        ({"actor.generate.cache_tokens": 8}, 4, set()),
    ],
)
def test_a_pin_leaves_its_value_alone(pins: dict[str, Any], place: int, expected: set[int]) -> None:
    """Four responses, of equal lengths, in one, two or four waves."""
    assert {row[place] for row in generations(4, pin=pins)} == expected


def test_the_greatest_call_sets_the_sequences() -> None:
    graph = trace(ALGORITHMS["dapo"], name="dapo")
    work = {
        "prompts": 4,
        "samples_per_prompt": 2,
        "resampling": 2.0,
        "prompt_tokens": 4,
        "response_tokens": 4,
    }
    scenario = small_scenario(graph, algorithm="dapo", workload=work)
    subject = Subject(role="actor", scenario=scenario, graph=graph, node_pool=scenario.cluster.node_pools[0])
    assert max(raw_generations(subject, [1])["generate_max_sequences"]) == 16

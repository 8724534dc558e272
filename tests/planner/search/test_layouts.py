"""Layouts before anything is costed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.domain.cluster import NodePool
from planner.domain.model import ModelSpec
from planner.domain.parallelism import ParallelStrategy
from planner.search.layouts import generation_layouts, layouts, micro_batches, waves


@given(st.integers(1, 96), st.sampled_from([1, 4, 6, 8]), st.integers(1, 40), st.integers(1, 40))
def test_layouts_are_exactly_those_that_fill_the_devices(
    devices: int, per_node: int, heads: int, layers: int
) -> None:
    model = ModelSpec.model_construct(heads=heads, layers=layers)
    node_pool = NodePool.model_construct(nodes=16, devices_per_node=per_node)
    found = {(each.pipeline, each.tensor, each.data) for each in layouts(model, node_pool, devices)}
    assert found == {
        (p, t, d)
        for p in range(1, layers + 1)
        for t in range(1, per_node + 1)
        for d in range(1, devices + 1)
        if p * t * d == devices and heads % t == 0 and per_node % t == 0
    }


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 6), st.integers(1, 200))
def test_generation_fills_the_same_devices_with_sizes_that_divide_those_of_training(
    pipeline: int, tensor: int, data: int, samples: int
) -> None:
    layout = ParallelStrategy(pipeline=pipeline, tensor=tensor, data=data)
    found = list(generation_layouts(layout, samples))
    assert len(set(found)) == len(found)
    for generate in found:
        assert generate.devices == layout.devices
        assert pipeline % generate.pipeline == 0
        assert tensor % generate.tensor == 0
        assert generate.max_sequences <= -(-samples // generate.replicas)
    assert {(generate.pipeline, generate.tensor) for generate in found} == {
        (p, t) for p in range(1, 7) for t in range(1, 7) if pipeline % p == 0 and tensor % t == 0
    }


@pytest.mark.parametrize(
    ("sequences", "expected"), [(1, [1]), (5, [1, 2, 3, 4, 5]), (20, [1, 2, 3, 4, 6, 8, 12, 16, 20])]
)
def test_waves_grow_by_halves_and_end_with_one_sequence_each(sequences: int, expected: list[int]) -> None:
    assert waves(sequences) == expected


def test_micro_batches_are_powers_of_two_and_never_none() -> None:
    assert micro_batches(0) == [1]
    assert micro_batches(16) == [1, 2, 4, 8, 16]

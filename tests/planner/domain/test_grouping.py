import pytest

from planner.domain.grouping import (
    Grouping,
    Kind,
    gather_groups,
    generation_groups,
    generation_place,
)
from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    generation_tensor_groups,
    micro_data_groups,
    rank_groups,
)
from tests.planner.domain.layouts import layouts

LAYOUTS = [pair for devices in (1, 2, 4, 6, 8) for pair in layouts(devices, stages=True)]
GROUPINGS: list[Grouping] = ["zero-redundancy", "vanilla", "full"]


@pytest.mark.parametrize(("train", "generate"), LAYOUTS, ids=str)
def test_the_zero_redundancy_grouping_is_that_of_the_micro_groups(
    train: ParallelStrategy, generate: GenerationStrategy
) -> None:
    assert gather_groups(train, generate, "zero-redundancy", "split") == micro_data_groups(train, generate)
    assert generation_groups(train, generate, "zero-redundancy") == generation_tensor_groups(train, generate)


@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize(("train", "generate"), LAYOUTS, ids=str)
def test_every_place_of_generation_is_taken_once(
    train: ParallelStrategy, generate: GenerationStrategy, grouping: Grouping
) -> None:
    places = {generation_place(train, generate, rank, grouping) for rank in range(train.devices)}
    assert places == {
        (stage, shard, replica)
        for stage in range(generate.pipeline)
        for shard in range(generate.tensor)
        for replica in range(generate.replicas)
    }
    for group in generation_groups(train, generate, grouping):
        assert [generation_place(train, generate, rank, grouping)[1] for rank in group] == list(
            range(generate.tensor)
        )


@pytest.mark.parametrize("kind", ["whole", "split", "expert"])
@pytest.mark.parametrize("grouping", GROUPINGS)
@pytest.mark.parametrize(("train", "generate"), LAYOUTS, ids=str)
def test_every_rank_is_in_one_group_of_each_kind(
    train: ParallelStrategy, generate: GenerationStrategy, grouping: Grouping, kind: Kind
) -> None:
    groups = gather_groups(train, generate, grouping, kind)
    assert sorted(rank for group in groups for rank in group) == list(range(train.devices))


def test_figure_8_has_strided_groups_and_vanilla_ones_consecutive() -> None:
    """HybridFlow, figure 8: training 1-4-2, generation 1-2-2-2, its ranks counted from 1."""
    train = ParallelStrategy(tensor=4, data=2)
    generate = GenerationStrategy(tensor=2, replicas=4, max_sequences=1)
    assert generation_groups(train, generate, "zero-redundancy") == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert gather_groups(train, generate, "zero-redundancy", "split") == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert generation_groups(train, generate, "vanilla") == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert gather_groups(train, generate, "vanilla", "split") == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert gather_groups(train, generate, "full", "split") == [list(range(8))]


def test_experts_are_gathered_from_the_ranks_that_they_are_spread_over_as_well() -> None:
    train = ParallelStrategy(tensor=2, data=4, expert=2)
    generate = GenerationStrategy(tensor=2, replicas=4, max_sequences=1)
    assert gather_groups(train, generate, "zero-redundancy", "split") == [[rank] for rank in range(8)]
    assert gather_groups(train, generate, "zero-redundancy", "expert") == [[0, 2], [1, 3], [4, 6], [5, 7]]
    halves = GenerationStrategy(replicas=8, max_sequences=1)
    assert gather_groups(train, halves, "zero-redundancy", "expert") == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_tensors_that_a_whole_stage_holds_come_from_one_rank_of_it() -> None:
    train = ParallelStrategy(pipeline=2, tensor=2, data=2)
    generate = GenerationStrategy(replicas=8, max_sequences=1)
    assert gather_groups(train, generate, "zero-redundancy", "whole") == rank_groups(train, "pipeline")


def test_context_ranks_hold_the_same_weights_and_gather_apart() -> None:
    train = ParallelStrategy(tensor=2, context=2)
    generate = GenerationStrategy(replicas=4, max_sequences=1)
    assert gather_groups(train, generate, "zero-redundancy", "split") == [[0, 1], [2, 3]]
    assert generation_groups(train, generate, "zero-redundancy") == [[0], [1], [2], [3]]

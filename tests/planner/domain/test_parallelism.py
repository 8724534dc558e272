from hypothesis import assume, given
from hypothesis import strategies as st

from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    expert_coordinate,
    generation_shard,
    generation_tensor_groups,
    micro_data_groups,
    micro_replicas,
    rank_groups,
    rank_of,
)

sizes = st.sampled_from([1, 2, 3, 4, 8])
layouts = st.builds(
    ParallelStrategy, pipeline=sizes, tensor=sizes, data=sizes, context=st.sampled_from([1, 1, 2, 3])
)


@st.composite
def reshards(draw: st.DrawFn) -> tuple[ParallelStrategy, GenerationStrategy]:
    train = draw(layouts)
    pipeline = draw(st.sampled_from([size for size in range(1, 9) if train.pipeline % size == 0]))
    tensor = draw(st.sampled_from([size for size in range(1, 9) if train.tensor % size == 0]))
    replicas = train.devices // (pipeline * tensor)
    return train, GenerationStrategy(pipeline=pipeline, tensor=tensor, replicas=replicas, max_sequences=1)


@given(layouts)
def test_coordinates_and_ranks_are_inverse(layout: ParallelStrategy) -> None:
    assert [rank_of(layout, coordinates(layout, rank)) for rank in range(layout.devices)] == list(
        range(layout.devices)
    )


@st.composite
def expert_layouts(draw: st.DrawFn) -> ParallelStrategy:
    layout = draw(layouts)
    ranks = layout.data * layout.context
    expert = draw(st.sampled_from([size for size in range(1, ranks + 1) if ranks % size == 0]))
    return layout.model_copy(update={"expert": expert})


@given(expert_layouts())
def test_ranks_that_share_experts_are_consecutive_tensor_groups_of_one_stage(
    layout: ParallelStrategy,
) -> None:
    ranks = range(layout.devices)
    places = [coordinates(layout, rank) for rank in ranks]
    assert [rank_of(layout, at) for at in places] == list(ranks)
    for rank in ranks[:: layout.expert * layout.tensor] if layout.expert > 1 else ():
        group = places[rank : rank + layout.expert * layout.tensor : layout.tensor]
        assert [expert_coordinate(layout, at) for at in group] == list(range(layout.expert))
        assert len({at.pipeline for at in group}) == 1


@given(layouts, st.sampled_from(["tensor", "context", "pipeline", "data"]))
def test_groups_of_one_kind_partition_the_ranks(layout: ParallelStrategy, kind: str) -> None:
    groups = rank_groups(layout, kind)  # type: ignore[arg-type]
    assert sorted(rank for group in groups for rank in group) == list(range(layout.devices))
    assert {len(group) for group in groups} == {getattr(layout, kind)}


@given(reshards())
def test_micro_data_groups_lie_inside_one_training_replica(
    pair: tuple[ParallelStrategy, GenerationStrategy],
) -> None:
    train, generate = pair
    for group in micro_data_groups(train, generate):
        assert len(group) == micro_replicas(train, generate)
        assert len({coordinates(train, rank).data for rank in group}) == 1


@given(reshards())
def test_each_generation_shard_contains_the_training_shard(
    pair: tuple[ParallelStrategy, GenerationStrategy],
) -> None:
    train, generate = pair
    for rank in range(train.devices):
        at = coordinates(train, rank)
        stage, shard, _ = generation_shard(train, generate, rank)
        assert shard * train.tensor <= at.tensor * generate.tensor
        assert (at.tensor + 1) * generate.tensor <= (shard + 1) * train.tensor
        assert stage * train.pipeline <= at.pipeline * generate.pipeline < (stage + 1) * train.pipeline


@given(reshards())
def test_every_generation_replica_is_complete(pair: tuple[ParallelStrategy, GenerationStrategy]) -> None:
    train, generate = pair
    shards = {generation_shard(train, generate, rank) for rank in range(train.devices)}
    assert len(shards) == train.devices
    assert {replica for _, _, replica in shards} == set(range(generate.replicas))


@given(reshards())
def test_generation_tensor_groups_are_one_replicas_shards_in_order(
    pair: tuple[ParallelStrategy, GenerationStrategy],
) -> None:
    train, generate = pair
    assume(generate.pipeline == train.pipeline)
    for group in generation_tensor_groups(train, generate):
        places = [generation_shard(train, generate, rank) for rank in group]
        assert [shard for _, shard, _ in places] == list(range(generate.tensor))
        assert len({replica for _, _, replica in places}) == 1


def test_the_papers_example_of_figure_8() -> None:
    train = ParallelStrategy(tensor=4, data=2)
    generate = GenerationStrategy(tensor=2, replicas=4, max_sequences=1)
    assert rank_groups(train, "data") == [[0, 4], [1, 5], [2, 6], [3, 7]]
    assert generation_tensor_groups(train, generate) == [[0, 2], [1, 3], [4, 6], [5, 7]]
    assert micro_data_groups(train, generate) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_cache_may_hold_the_tokens_of_a_whole_cluster():
    strategy = GenerationStrategy(max_sequences=10**6, cache_tokens=1_581_631_925)
    assert GenerationStrategy.model_validate_json(strategy.model_dump_json()) == strategy

from hypothesis import given
from hypothesis import strategies as st

from planner.domain.parallelism import (
    GenerationStrategy,
    ParallelStrategy,
    coordinates,
    generation_tensor_groups,
    rank_groups,
)
from runtime.transfer import (
    Ranks,
    all_to_all,
    distribute_mini_batches,
    dp_proto,
    one_to_all,
    split_rows,
    three_d_all_micro_dp,
    three_d_pp_only,
    three_d_proto,
)

POWERS = st.sampled_from([1, 2, 4])


@st.composite
def ranks(draw) -> Ranks:
    layout = ParallelStrategy(pipeline=draw(POWERS), tensor=draw(POWERS), data=draw(st.integers(1, 4)))
    tensor = draw(st.sampled_from([t for t in (1, 2, 4) if t <= layout.tensor]))
    pipeline = draw(st.sampled_from([p for p in (1, 2, 4) if p <= layout.pipeline]))
    replicas = layout.devices // (tensor * pipeline)
    generate = GenerationStrategy(pipeline=pipeline, tensor=tensor, replicas=replicas, max_sequences=1)
    return Ranks(layout=layout, generate=generate)


@given(count=st.integers(0, 200), parts=st.integers(1, 16))
def test_pieces_are_consecutive_and_differ_by_at_most_one(count, parts):
    pieces = split_rows(count, parts)
    assert [row for piece in pieces for row in piece] == list(range(count))
    lengths = [len(piece) for piece in pieces]
    assert max(lengths) - min(lengths) <= 1
    assert lengths == sorted(lengths, reverse=True)


@given(
    ranks=ranks(),
    samples=st.integers(0, 100),
    protocol=st.sampled_from([three_d_proto, three_d_all_micro_dp, dp_proto, all_to_all]),
)
def test_collect_after_distribute_is_the_identity(ranks, samples, protocol):
    rows = protocol.distribute(samples, ranks)
    assert protocol.concatenates
    assert len(rows) == ranks.count
    assert [row for rank in protocol.collect(ranks) for row in rows[rank]] == list(range(samples))


@given(ranks=ranks(), samples=st.integers(0, 100))
def test_ranks_of_one_replica_get_the_same_rows(ranks, samples):
    rows = three_d_proto.distribute(samples, ranks)
    for kind in ("tensor", "pipeline"):
        for group in rank_groups(ranks.layout, kind):
            assert len({rows[rank] for rank in group}) == 1
    assert {rows[rank] for rank in range(ranks.count)} == set(split_rows(samples, ranks.layout.data))


@given(ranks=ranks(), samples=st.integers(0, 100))
def test_ranks_of_one_generation_group_get_the_same_rows(ranks, samples):
    rows = three_d_all_micro_dp.distribute(samples, ranks)
    for group in generation_tensor_groups(ranks.layout, ranks.generate):
        assert len({rows[rank] for rank in group}) == 1
    assert len(three_d_all_micro_dp.collect(ranks)) == ranks.generate.replicas


@given(ranks=ranks())
def test_the_last_stage_answers_for_its_replica(ranks):
    for data, rank in enumerate(three_d_proto.collect(ranks)):
        at = coordinates(ranks.layout, rank)
        assert (at.data, at.tensor, at.pipeline) == (data, 0, ranks.layout.pipeline - 1)


@given(ranks=ranks(), samples=st.integers(0, 20))
def test_a_broadcast_gives_every_rank_everything(ranks, samples):
    for protocol in (one_to_all, three_d_pp_only):
        assert set(protocol.distribute(samples, ranks)) == {range(samples)}
    assert one_to_all.collect(ranks) == tuple(range(ranks.count))
    stages = [coordinates(ranks.layout, rank).pipeline for rank in three_d_pp_only.collect(ranks)]
    assert stages == list(range(ranks.layout.pipeline))


@given(ranks=ranks(), samples=st.integers(1, 100), mini_batches=st.integers(1, 8))
def test_mini_batches_hold_the_same_samples_in_every_layout(ranks, samples, mini_batches):
    pieces = distribute_mini_batches(three_d_proto, samples, mini_batches=mini_batches, ranks=ranks)
    answering = three_d_proto.collect(ranks)
    for number, expected in enumerate(split_rows(samples, mini_batches)):
        rows = [row for rank in answering for row in pieces[rank][number]]
        assert rows == list(expected)


def test_the_papers_generation_example_splits_over_four_replicas():
    layout = ParallelStrategy(tensor=4, data=2)
    ranks = Ranks(layout=layout, generate=GenerationStrategy(tensor=2, replicas=4, max_sequences=1))
    rows = three_d_all_micro_dp.distribute(8, ranks)
    assert [list(piece) for piece in rows] == [[0, 1], [2, 3], [0, 1], [2, 3], [4, 5], [6, 7], [4, 5], [6, 7]]
    assert three_d_all_micro_dp.collect(ranks) == (0, 1, 4, 5)

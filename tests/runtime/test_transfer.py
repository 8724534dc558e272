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
    balanced,
    distribute_mini_batches,
    dp_proto,
    in_groups,
    one_to_all,
    rank_zero,
    split_rows,
    three_d_all_micro_dp,
    three_d_pp_only,
    three_d_proto,
    three_d_weights,
)

POWERS = st.sampled_from([1, 2, 4])
TOKENS = st.lists(st.integers(1, 1000), max_size=60)


@st.composite
def ranks(draw) -> Ranks:
    layout = ParallelStrategy(
        pipeline=draw(POWERS),
        tensor=draw(POWERS),
        data=draw(st.integers(1, 4)),
        context=draw(st.sampled_from([1, 2])),
    )
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


@given(tokens=TOKENS, parts=st.integers(1, 9))
def test_balanced_parts_have_every_sample_once_and_equally_many(tokens, parts):
    shares = balanced(tokens, parts)
    assert sorted(sample for share in shares for sample in share) == list(range(len(tokens)))
    assert all(list(share) == sorted(share) for share in shares)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(tokens=st.lists(st.integers(1, 1000), min_size=1, max_size=60), parts=st.integers(1, 9))
def test_the_fullest_part_exceeds_the_mean_by_less_than_the_longest_samples(tokens, parts):
    sums = [sum(tokens[sample] for sample in share) for share in balanced(tokens, parts)]
    assert max(sums) <= sum(tokens) / parts + max(tokens)


def test_ragged_responses_are_balanced_by_tokens():
    tokens = [900, 20, 30, 800, 10, 850, 40, 950]
    sums = [sum(tokens[sample] for sample in share) for share in balanced(tokens, 2)]
    assert max(sums) / (sum(tokens) / 2) < 1.02
    in_order = max(sum(tokens[:4]), sum(tokens[4:])) / (sum(tokens) / 2)
    assert in_order > 1.02


@given(
    ranks=ranks(),
    tokens=TOKENS,
    protocol=st.sampled_from([three_d_proto, three_d_all_micro_dp, dp_proto, all_to_all, rank_zero]),
)
def test_collect_after_distribute_is_the_identity(ranks, tokens, protocol):
    rows = protocol.distribute(tokens, ranks)
    assert protocol.covers
    assert len(rows) == ranks.count
    batch = [f"sample {position}" for position in range(len(tokens))]
    outputs = {rank: [batch[position] for position in rows[rank]] for rank in protocol.collect(ranks)}
    result = [None] * len(batch)
    for rank, output in outputs.items():
        for position, sample in zip(rows[rank], output, strict=True):
            assert result[position] is None
            result[position] = sample
    assert result == batch


@given(ranks=ranks(), tokens=TOKENS)
def test_ranks_of_one_replica_get_the_same_rows(ranks, tokens):
    rows = three_d_proto.distribute(tokens, ranks)
    for kind in ("tensor", "pipeline", "context"):
        for group in rank_groups(ranks.layout, kind):
            assert len({rows[rank] for rank in group}) == 1
    assert {rows[rank] for rank in range(ranks.count)} == set(balanced(tokens, ranks.layout.data))


@given(ranks=ranks(), tokens=TOKENS)
def test_ranks_of_one_generation_group_get_the_same_rows(ranks, tokens):
    rows = three_d_all_micro_dp.distribute(tokens, ranks)
    for group in generation_tensor_groups(ranks.layout, ranks.generate):
        assert len({rows[rank] for rank in group}) == 1
    assert len(three_d_all_micro_dp.collect(ranks)) == ranks.generate.replicas


@given(ranks=ranks(), prompts=st.integers(0, 30), size=st.integers(1, 5))
def test_the_samples_of_a_prompt_stay_on_one_replica(ranks, prompts, size):
    rows = in_groups(three_d_all_micro_dp, prompts * size, size=size, ranks=ranks)
    answered = [position for rank in three_d_all_micro_dp.collect(ranks) for position in rows[rank]]
    assert sorted(answered) == list(range(prompts * size))
    for positions in rows:
        assert all(positions.count(position // size * size) == 1 for position in positions)


@given(ranks=ranks())
def test_the_last_stage_answers_for_its_replica(ranks):
    for data, rank in enumerate(three_d_proto.collect(ranks)):
        at = coordinates(ranks.layout, rank)
        assert (at.data, at.tensor, at.context) == (data, 0, 0)
        assert at.pipeline == ranks.layout.pipeline - 1


@given(ranks=ranks(), tokens=st.lists(st.integers(1, 9), max_size=9))
def test_a_broadcast_gives_every_rank_everything(ranks, tokens):
    for protocol in (one_to_all, three_d_pp_only, three_d_weights, rank_zero):
        assert set(protocol.distribute(tokens, ranks)) == {tuple(range(len(tokens)))}
    assert one_to_all.collect(ranks) == tuple(range(ranks.count))
    stages = [coordinates(ranks.layout, rank).pipeline for rank in three_d_pp_only.collect(ranks)]
    assert stages == list(range(ranks.layout.pipeline))


@given(ranks=ranks())
def test_the_ranks_that_send_hold_each_part_of_each_stage_once(ranks):
    at = [coordinates(ranks.layout, rank) for rank in three_d_weights.collect(ranks)]
    held = [(one.pipeline, one.tensor) for one in at]
    assert len(held) == len(set(held)) == ranks.layout.model_parallel


@given(ranks=ranks(), tokens=TOKENS, mini_batches=st.integers(1, 8))
def test_mini_batches_hold_the_same_samples_in_every_layout(ranks, tokens, mini_batches):
    pieces = distribute_mini_batches(three_d_proto, tokens, mini_batches=mini_batches, ranks=ranks)
    answering = three_d_proto.collect(ranks)
    for number, expected in enumerate(split_rows(len(tokens), mini_batches)):
        rows = [row for rank in answering for row in pieces[rank][number]]
        assert sorted(rows) == list(expected)


def test_the_papers_generation_example_splits_over_four_replicas():
    layout = ParallelStrategy(tensor=4, data=2)
    ranks = Ranks(layout=layout, generate=GenerationStrategy(tensor=2, replicas=4, max_sequences=1))
    rows = three_d_all_micro_dp.distribute([1] * 8, ranks)
    assert [list(piece) for piece in rows] == [[0, 1], [2, 3], [0, 1], [2, 3], [4, 5], [6, 7], [4, 5], [6, 7]]
    assert three_d_all_micro_dp.collect(ranks) == (0, 1, 4, 5)


def test_all_to_all_hands_the_callers_list_through():
    ranks = Ranks(layout=ParallelStrategy(tensor=2, data=2))
    assert all_to_all.distribute([1, 9, 5, 2], ranks) == ((0,), (1,), (2,), (3,))

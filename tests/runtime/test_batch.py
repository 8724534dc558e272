import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.batch import Batch, Future, Samples, Shard
from runtime.transfer import split_rows


def test_both_batches_fields_are_in_their_union_and_the_right_one_wins():
    old, new, other = Future(), Future(), Future()
    samples = Samples(range(4))
    union = Batch(samples, {"values": old}) | Batch(Samples(range(4)), {"values": new, "scores": other})
    assert union.fields["values"] is new
    assert union.fields["scores"] is other
    assert union.samples is samples


def test_a_batch_can_be_joined_to_another_without_its_other_fields():
    own, other, baselines = Future(), Future(), Future()
    greedy = Batch(Samples(range(0, 8, 2), each=2), {"tokens": other, "baselines": baselines})
    batch = Batch(Samples(range(8)), {"tokens": own}) | greedy.only("baselines")
    assert batch.fields == {"tokens": own, "baselines": baselines}
    assert batch.samples.rows == tuple(range(8))


def test_a_future_has_no_shards_before_its_call_is_submitted():
    future = Future()
    assert not future.is_submitted
    with pytest.raises(AssertionError):
        _ = future.shards
    future.resolve([Shard((0, 2), "a"), Shard((1, 3), "b")])
    assert future.is_submitted
    assert [shard.rows for shard in future.shards] == [(0, 2), (1, 3)]


def test_rows_that_come_later_are_waited_for():
    future = Future([Shard((0, 1), "a")])
    assert future.covers([0, 1])
    assert not future.covers([0, 2])
    future.resolve([Shard((2, 3), "b")])
    assert future.covers(range(4))
    assert future.pieces([3, 0]) == [(1, (1,)), (0, (0,))]


def test_one_row_of_a_prompt_speaks_for_all_its_samples():
    future = Future([Shard((0, 3), "a"), Shard((6,), "b")], each=3)
    assert future.covers(range(9))
    assert future.pieces([1, 4, 5, 8]) == [(0, (0, 1, 1)), (1, (0,))]


def test_samples_are_known_when_both_their_parts_are():
    first, second = Samples(are_candidates=True), Samples(are_candidates=True)
    both = first.joined(second)
    first.resolve([0, 1], {0: 5, 1: 6})
    assert not both.is_known
    second.resolve([4], {4: 7})
    assert both.is_known
    assert (both.rows, both.weights()) == ((0, 1, 4), [5, 6, 7])
    assert both.are_candidates


@given(samples=st.integers(1, 60), made_by=st.integers(1, 6), data=st.data())
def test_pieces_hold_exactly_the_wanted_rows_in_order(samples, made_by, data):
    order = data.draw(st.permutations(range(samples)))
    shards = [Shard(tuple(order[place] for place in rows), None) for rows in split_rows(samples, made_by)]
    wanted = data.draw(st.lists(st.integers(0, samples - 1), max_size=20))
    rows = [
        shards[piece.shard].rows[place]
        for piece in Future(shards).pieces(wanted)
        for place in piece.positions
    ]
    assert rows == wanted

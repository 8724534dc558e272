import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.batch import Batch, Future, Shard, pieces_of
from runtime.transfer import split_rows


def shards(samples: int, parts: int) -> list[Shard]:
    return [Shard(rows, None) for rows in split_rows(samples, parts)]


def test_both_batches_fields_are_in_their_union_and_the_right_one_wins():
    old, new, other = Future(), Future(), Future()
    union = Batch(4, {"values": old}) | Batch(4, {"values": new, "scores": other})
    assert union.fields["values"] is new
    assert union.fields["scores"] is other
    assert union.samples == 4


def test_a_batch_can_be_joined_to_another_without_its_other_fields():
    own, other, baselines = Future(), Future(), Future()
    batch = Batch(8, {"tokens": own}) | Batch(4, {"tokens": other, "baselines": baselines}).only("baselines")
    assert batch.fields == {"tokens": own, "baselines": baselines}
    assert batch.samples == 8


def test_a_future_has_no_shards_before_its_call_is_submitted():
    future = Future()
    assert not future.is_submitted
    with pytest.raises(AssertionError):
        _ = future.shards
    future.resolve(shards(4, 2))
    assert future.is_submitted
    assert [shard.rows for shard in future.shards] == [range(2), range(2, 4)]


@given(
    samples=st.integers(1, 60),
    made_by=st.integers(1, 6),
    wanted=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=4),
)
def test_pieces_hold_exactly_the_wanted_rows_in_order(samples, made_by, wanted):
    ranges = [range(min(start, samples), min(stop, samples)) for start, stop in wanted]
    all_shards = shards(samples, made_by)
    rows = [
        row
        for piece in pieces_of(all_shards, ranges)
        for row in list(all_shards[piece.shard].rows)[piece.start : piece.stop]
    ]
    assert rows == [row for wanted_rows in ranges for row in wanted_rows]

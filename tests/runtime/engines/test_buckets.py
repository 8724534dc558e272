from hypothesis import given
from hypothesis import strategies as st

from planner.domain.resharding import Piece
from planner.domain.weights import WeightTensor
from runtime.engines.buckets import buckets

SIZES = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([(0, 1), (2, 3)])), max_size=30)


def handed_out(sizes):
    return {
        WeightTensor(name=str(index), shape=(size,), split="rows", layer=index): {
            owner: Piece(part, 0, size) for part, owner in enumerate(owners)
        }
        for index, (size, owners) in enumerate(sizes)
    }


@given(sizes=SIZES, limit=st.integers(1, 200))
def test_every_tensor_is_in_one_bucket_and_none_is_too_full(sizes, limit):
    given_out = handed_out(sizes)
    found = buckets(given_out, elements=limit)
    assert sorted(tensor.layer for bucket in found for tensor in bucket) == list(range(len(sizes)))
    for bucket in found:
        filled = sum(piece.elements for tensor in bucket for piece in given_out[tensor].values())
        by_owners = {tuple(given_out[tensor]) for tensor in bucket}
        assert filled <= limit or any(
            sum(tuple(given_out[tensor]) == owners for tensor in bucket) == 1 for owners in by_owners
        )


@given(sizes=SIZES, limit=st.integers(1, 200))
def test_the_tensors_of_one_set_of_owners_keep_their_order(sizes, limit):
    given_out = handed_out(sizes)
    found = buckets(given_out, elements=limit)
    for owners in ((0, 1), (2, 3)):
        order = [tensor.layer for bucket in found for tensor in bucket if tuple(given_out[tensor]) == owners]
        assert order == sorted(order)


def test_all_owners_send_at_once():
    sizes = [(10, (0, 1))] * 4 + [(10, (2, 3))] * 4
    found = buckets(handed_out(sizes), elements=80)
    assert [[tensor.layer for tensor in bucket] for bucket in found] == [[0, 1, 4, 5], [2, 3, 6, 7]]

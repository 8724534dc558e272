import torch
from hypothesis import given
from hypothesis import strategies as st

from planner.domain.parallelism import ParallelStrategy
from runtime.engines.sequences import length_multiple, own_part, padded, positions
from tests.runtime.worlds import run_world

SIZES = st.integers(1, 4)


@given(tensor=SIZES, context=SIZES, length=st.integers(0, 40))
def test_every_position_is_on_one_rank_and_every_rank_has_as_many(tensor, context, length):
    rows_bs = padded(torch.ones(1, length), length_multiple(ParallelStrategy(tensor=tensor, context=context)))
    whole = rows_bs.shape[1]
    parts = [positions(whole, rank, context, torch.device("cpu")) for rank in range(context)]
    assert sorted(torch.cat(parts).tolist()) == list(range(whole))
    assert {len(part) * context for part in parts} == {whole}
    assert len(parts[0]) % tensor == 0
    assert int(rows_bs.sum()) == length <= whole


@given(context=SIZES, pairs=st.integers(1, 5))
def test_causal_attention_costs_every_rank_the_same(context, pairs):
    length = 2 * context * pairs
    seen = [int((own_part(torch.arange(length)[None], rank, context) + 1).sum()) for rank in range(context)]
    assert len(set(seen)) == 1


def joined(rows_bs, ranks):
    import torch.distributed as dist

    from runtime.engines.sequences import whole

    part = own_part(rows_bs, dist.get_rank(), ranks).clone().requires_grad_()
    result = whole(part, dist.group.WORLD)
    (result * torch.arange(result.shape[1])).sum().backward()
    return result.detach(), part.grad


def test_parts_make_up_the_rows_and_gradients_go_back_to_the_part_they_belong_to():
    rows_bs = torch.rand(2, 8)
    for rank, (result, gradient) in enumerate(run_world(joined, 2, rows_bs, 2)):
        assert torch.equal(result, rows_bs)
        assert torch.equal(gradient, own_part(torch.arange(8.0).expand(2, 8), rank, 2))

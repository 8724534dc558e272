import pytest
import torch
import torch.distributed as dist
from megatron.core import parallel_state

from planner.domain.parallelism import ParallelStrategy, rank_groups
from runtime.engines.layout import Layout
from tests.runtime.worlds import WorldError, run_world


def megatron_groups(strategies):
    found = []
    for layout in [Layout(ParallelStrategy.parse(strategy)) for strategy in strategies]:
        with layout:
            groups = {
                "tensor": parallel_state.get_tensor_model_parallel_group(),
                "pipeline": parallel_state.get_pipeline_model_parallel_group(),
                "data": parallel_state.get_data_parallel_group(),
            }
        found.append({kind: dist.get_process_group_ranks(group) for kind, group in groups.items()})
    return found


def test_megatron_groups_ranks_as_the_domain_says():
    strategies = ["p2t2d1", "p1t2d2", "p2t1d2", "p1t4d1", "p4t1d1"]
    for rank, of_strategies in enumerate(run_world(megatron_groups, 4, strategies)):
        for text, groups in zip(strategies, of_strategies, strict=True):
            for kind, ranks in groups.items():
                expected = rank_groups(ParallelStrategy.parse(text), kind)
                assert ranks in expected, (text, kind)
                assert rank in ranks


def nested_sizes():
    tensor, data = Layout(ParallelStrategy(tensor=2)), Layout(ParallelStrategy(data=2))
    sizes = []
    with tensor:
        sizes.append(parallel_state.get_tensor_model_parallel_world_size())
        with data:
            sizes.append(parallel_state.get_tensor_model_parallel_world_size())
        sizes.append(parallel_state.get_tensor_model_parallel_world_size())
    return sizes, parallel_state.is_initialized()


def test_a_layout_is_current_only_while_entered():
    assert run_world(nested_sizes, 2) == [([2, 1, 2], False)] * 2


def wait_for_a_rank_that_does_not_come():
    if dist.get_rank() == 0:
        dist.recv(torch.zeros(1), src=1)


def test_a_world_that_hangs_is_ended():
    with pytest.raises(WorldError, match=r"no answer|Timed out"):
        run_world(wait_for_a_rank_that_does_not_come, 2, timeout_s=1.0)

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.transition import (
    deepspeed_chat_bytes,
    deepspeed_chat_redundant_bytes,
    hybridflow_bytes,
    reshard_elements,
    reshard_seconds,
    vanilla_bytes,
    vanilla_redundant_bytes,
)
from planner.domain.catalog import read_model
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy, micro_replicas
from planner.domain.resharding import reshard_volume

SMALL = ModelSpec(
    name="small", family="llama", layers=8, hidden=64, heads=8, kv_heads=8, head_dim=8, ffn=96, vocab=128
)
SIZES = {1: (1,), 2: (1, 2), 4: (1, 2, 4), 8: (1, 2, 4, 8)}


@st.composite
def transitions(draw):
    pipeline, tensor = draw(st.sampled_from(list(SIZES))), draw(st.sampled_from(list(SIZES)))
    train = ParallelStrategy(pipeline=pipeline, tensor=tensor, data=draw(st.integers(1, 2)))
    to_pipeline, to_tensor = draw(st.sampled_from(SIZES[pipeline])), draw(st.sampled_from(SIZES[tensor]))
    replicas = train.devices // (to_pipeline * to_tensor)
    generate = GenerationStrategy(pipeline=to_pipeline, tensor=to_tensor, replicas=replicas, max_sequences=1)
    return train, generate


@given(transitions())
def test_volumes_equal_table_2_and_its_identity(transition):
    train, generate = transition
    tp, tpg = train.model_parallel, generate.pipeline * generate.tensor
    d_g = micro_replicas(train, generate)
    assert (d_g - 1) / tp == pytest.approx((tp - tpg) / (tpg * tp))
    assert hybridflow_bytes(1.0, train, generate) == pytest.approx((tp - tpg) / (tpg * tp))
    assert (
        hybridflow_bytes(1.0, train, generate)
        <= vanilla_bytes(1.0, train)
        <= deepspeed_chat_bytes(1.0, train)
    )
    assert deepspeed_chat_bytes(1.0, train) + deepspeed_chat_redundant_bytes(1.0, train) == pytest.approx(1)
    assert vanilla_bytes(1.0, train) + vanilla_redundant_bytes(1.0, train) == pytest.approx(1)


@given(transitions())
def test_costed_volume_is_the_neediest_ranks_of_the_slice_map(transition):
    train, generate = transition
    received = [
        reshard_volume(SMALL, train, generate, rank=rank, precision="bf16").received
        for rank in range(train.devices)
    ]
    elements = reshard_elements(SMALL, train.pipeline, train.tensor, generate.pipeline, generate.tensor)
    assert 2 * elements == max(received)


@pytest.mark.parametrize(
    ("name", "train", "received_gb"),
    [("llama-2-7b", "p1t8d1", 5.1), ("llama-2-13b", "p1t8d1", 3.3), ("codellama-34b", "p4t8d1", 6.3),
     ("llama-2-70b", "p8t8d1", 15.1)],
)  # fmt: skip
def test_volume_of_the_papers_settings(name, train, received_gb):
    """HybridFlow, section 8.4: t_g of 2, 4, 8 and 8."""
    model, layout = read_model(name), ParallelStrategy.parse(train)
    tensor = {"llama-2-7b": 2, "llama-2-13b": 4}.get(name, 8)
    generate = GenerationStrategy(tensor=tensor, replicas=layout.devices // tensor, max_sequences=1)
    assert hybridflow_bytes(2e-9 * model.parameters(), layout, generate) == pytest.approx(
        received_gb, abs=0.06
    )


def test_equal_layouts_move_nothing():
    assert reshard_elements(SMALL, 2, 4, 2, 4) == 0


@pytest.mark.parametrize(("train", "to_tensor"), [("p1t8d{}", 2), ("p4t8d{}", 8), ("p8t8d{}", 8)])
def test_transition_time_does_not_grow_with_the_cluster(setting, train, to_tensor):
    """HybridFlow, figure 14: one all-gather per micro-DP group, whatever their number."""
    seconds = set()
    for data in (2, 4, 16):
        layout = ParallelStrategy.parse(train.format(data))
        generate = GenerationStrategy(tensor=to_tensor, replicas=layout.devices // to_tensor, max_sequences=1)
        seconds.add(reshard_seconds(setting, layout, generate))
    assert len(seconds) == 1


def test_micro_data_groups_across_nodes_share_the_network(setting):
    """70B, p8 t8 to t_g 8: each of a node's eight devices gathers from seven other nodes."""
    big = replace(setting, model=read_model("llama-2-70b"))
    layout = ParallelStrategy.parse("p8t8d1")
    generate = GenerationStrategy(tensor=8, replicas=8, max_sequences=1)
    received = 2 * reshard_elements(big.model, 8, 8, 1, 8)
    least = received / (setting.node_pool.network.bandwidth / 8)
    moving = reshard_seconds(big, layout, generate) - setting.stack.generation.wake
    assert least < moving < 2 * least

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.inference import inference_seconds
from planner.costs.kernels import forward_flops
from planner.costs.training import optimizer_seconds, synchronization_seconds, training_seconds
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import RoleStrategy

layouts = st.builds(
    ParallelStrategy,
    pipeline=st.sampled_from([1, 2, 3, 4, 8]),
    tensor=st.sampled_from([1, 2, 4, 8]),
    data=st.sampled_from([1, 2, 5, 16]),
)
strategies = st.builds(
    RoleStrategy,
    train=layouts,
    micro_batch=st.sampled_from([1, 2, 4, 8]),
    recompute=st.sampled_from(["none", "full"]),
)


@given(strategies)
def test_an_update_takes_at_least_its_flops_at_peak(setting, node_pool, strategy):
    flops = 3 * forward_flops(setting.model, setting.head, 2048) * setting.workload.samples
    peak = node_pool.device.peak["bf16"] * strategy.layout.devices
    assert training_seconds(setting, strategy) >= flops / peak


@given(strategies)
def test_a_forward_pass_takes_at_least_its_flops_at_peak(setting, node_pool, strategy):
    flops = forward_flops(setting.model, setting.head, 2048) * setting.workload.samples
    peak = node_pool.device.peak["bf16"] * strategy.layout.devices
    assert inference_seconds(setting, strategy) >= flops / peak


@given(strategies)
def test_twice_every_speed_and_half_every_latency_is_half_the_time(setting, faster, strategy):
    twice = replace(setting, rates=faster(setting.rates, 2.0))
    for seconds in (training_seconds, inference_seconds):
        assert seconds(twice, strategy) == pytest.approx(seconds(setting, strategy) / 2)


@given(
    strategies,
    st.sampled_from(
        ["training_flops_per_s", "memory_bytes_per_s", "link_bytes_per_s", "network_bytes_per_s"]
    ),
)
def test_a_faster_device_or_link_is_never_slower(setting, strategy, name):
    better = replace(setting, rates=replace(setting.rates, **{name: 1.5 * getattr(setting.rates, name)}))
    assert training_seconds(better, strategy) <= training_seconds(setting, strategy)


@given(layouts, st.sampled_from([1, 2, 4]))
def test_recomputation_never_saves_time(setting, layout, micro_batch):
    kept = RoleStrategy(train=layout, micro_batch=micro_batch)
    again = RoleStrategy(train=layout, micro_batch=micro_batch, recompute="full")
    assert training_seconds(setting, kept) < training_seconds(setting, again)


def test_a_pipeline_of_four_stages_takes_three_slots_beside_its_micro_batches(setting):
    four = RoleStrategy(train=ParallelStrategy(pipeline=4))

    def seconds(samples):
        workload = setting.workload.model_copy(update={"prompts": samples, "mini_batches": 1})
        return inference_seconds(replace(setting, workload=workload), four)

    assert seconds(8) / seconds(4) == pytest.approx((8 + 3) / (4 + 3))


def test_uneven_batches_cost_what_the_fullest_replica_does(setting):
    samples_128 = RoleStrategy(train=ParallelStrategy(data=128))
    samples_65 = RoleStrategy(train=ParallelStrategy(data=65))
    one = setting.workload.model_copy(update={"prompts": 128, "mini_batches": 1})
    at = replace(setting, workload=one)
    assert inference_seconds(at, samples_65) == pytest.approx(2 * inference_seconds(at, samples_128))


def test_data_parallel_ranks_share_the_optimizer_and_pay_for_gradients(setting):
    alone, eight = ParallelStrategy(), ParallelStrategy(data=8)
    assert synchronization_seconds(setting, alone) == 0.0
    assert synchronization_seconds(setting, eight) > 0.0
    assert optimizer_seconds(setting, eight) == pytest.approx(optimizer_seconds(setting, alone) / 8)


def test_epochs_repeat_the_update(setting):
    strategy = RoleStrategy(train=ParallelStrategy(tensor=8))
    twice = replace(setting, workload=setting.workload.model_copy(update={"epochs": 2}))
    assert training_seconds(twice, strategy) == pytest.approx(2 * training_seconds(setting, strategy))

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.kernels.flops import forward_flops
from planner.costs.passes.inference import inference_seconds
from planner.costs.passes.training import (
    RECOMPUTE,
    cached_tables,
    exchange_of,
    optimizer_step_seconds,
    sizes_of,
    step_seconds,
    tables_of,
    training_seconds,
)
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import RoleStrategy

layouts = st.builds(
    ParallelStrategy,
    pipeline=st.sampled_from([1, 2, 3, 4, 8]),
    tensor=st.sampled_from([1, 2, 4, 8]),
    data=st.sampled_from([1, 2, 5, 16]),
    context=st.sampled_from([1, 2]),
    virtual=st.sampled_from([1, 2]),
)
strategies = st.builds(
    RoleStrategy,
    train=layouts,
    micro_batch=st.sampled_from([1, 2, 4, 8]),
    recompute=st.sampled_from(["none", "selective", "full"]),
)
shardings = st.sampled_from(["none", "optimizer", "gradients", "full"])


def with_stack(setting, **fields):
    training = setting.stack.training.model_copy(update=fields)
    return replace(setting, stack=setting.stack.model_copy(update={"training": training}))


def with_device(setting, factor, *names):
    """The setting on devices whose data sheet states ``factor`` times these rates."""
    device, network = setting.device, setting.node_pool.network
    update = {}
    if "peak" in names:
        update["peak"] = {precision: factor * peak for precision, peak in device.peak.items()}
    if "memory" in names:
        update["memory_bandwidth"] = factor * device.memory_bandwidth
    if "link" in names:
        update["link"] = device.link.model_copy(update={"bandwidth": factor * device.link.bandwidth})
    if "network" in names:
        network = network.model_copy(update={"bandwidth": factor * network.bandwidth})
    pool = setting.node_pool.model_copy(
        update={"device": device.model_copy(update=update), "network": network}
    )
    return replace(setting, node_pool=pool)


@given(strategies, shardings)
def test_an_update_takes_at_least_its_flops_at_peak(setting, strategy, sharding):
    flops = 3 * forward_flops(setting.model, setting.head, 2048) * setting.workload.samples
    peak = setting.device.peak["bf16"] * strategy.layout.devices
    assert training_seconds(with_stack(setting, sharding=sharding), strategy) >= flops / peak


@given(strategies)
def test_a_forward_pass_takes_at_least_its_flops_at_peak(setting, strategy):
    flops = forward_flops(setting.model, setting.head, 2048) * setting.workload.samples
    peak = setting.device.peak["bf16"] * strategy.layout.devices
    assert inference_seconds(setting, strategy) >= flops / peak


@given(strategies, shardings, st.sampled_from(["peak", "memory", "link", "network"]))
def test_a_faster_device_or_link_is_never_slower(setting, strategy, sharding, name):
    here = with_stack(setting, sharding=sharding, gradient_overlap=0.7)
    better = with_device(here, 1.5, name)
    for seconds in (training_seconds, inference_seconds):
        assert seconds(better, strategy) <= seconds(here, strategy) * (1 + 1e-9)


@given(layouts, st.sampled_from([1, 2, 4]))
def test_recomputation_never_saves_time(setting, layout, micro_batch):
    none, selective, full = (
        training_seconds(setting, RoleStrategy(train=layout, micro_batch=micro_batch, recompute=mode))
        for mode in ("none", "selective", "full")
    )
    assert none < selective < full


@given(st.lists(strategies, min_size=2, max_size=5))
def test_arrays_cost_what_their_numbers_do(setting, many):
    job, total = setting.job, setting.mini_batch
    sizes = [sizes_of(one.layout) for one in many]
    stacked = type(sizes[0])(
        **{name: np.array([getattr(each, name) for each in sizes]) for name in sizes[0].__slots__}
    )
    sequences = np.array([one.micro_batch for one in many])
    replicas = np.ceil(total / stacked.data)
    sequences = np.minimum(sequences, replicas)
    step = step_seconds(
        job,
        tables_of(job, tensor=stacked.tensor, context=stacked.context, sequences=sequences),
        exchange_of(job, stacked),
        stacked,
        sequences=sequences,
        micro_batches=np.ceil(replicas / sequences),
        recompute=np.array([RECOMPUTE[one.recompute] for one in many]),
    )
    alone = [optimizer_step_seconds(setting, one) for one in many]
    assert step.total == pytest.approx(alone, rel=1e-12)


def test_a_pipeline_of_four_stages_takes_three_slots_beside_its_micro_batches(setting):
    scalar = replace(setting, head="scalar", model=setting.model.model_copy(update={"vocab": 1}))
    four = RoleStrategy(train=ParallelStrategy(pipeline=4))

    def seconds(samples):
        workload = setting.workload.model_copy(update={"prompts": samples, "mini_batches": 1})
        return inference_seconds(replace(scalar, workload=workload), four)

    assert seconds(8) / seconds(4) == pytest.approx((8 + 3) / (4 + 3), rel=1e-3)


def test_interleaving_shrinks_the_bubble(setting):
    def bubble(virtual):
        layout = ParallelStrategy(pipeline=4, virtual=virtual)
        sizes = sizes_of(layout)
        return step_seconds(
            setting.job,
            cached_tables(setting.job, 1, 1, 1, 1),
            exchange_of(setting.job, sizes),
            sizes,
            sequences=1,
            micro_batches=8,
            recompute=0,
        ).bubble

    assert bubble(4) == pytest.approx(bubble(1) / 4)


def test_uneven_batches_cost_what_the_fullest_replica_does(setting):
    samples_128 = RoleStrategy(train=ParallelStrategy(data=128))
    samples_65 = RoleStrategy(train=ParallelStrategy(data=65))
    one = setting.workload.model_copy(update={"prompts": 128, "mini_batches": 1})
    at = replace(setting, workload=one)
    assert inference_seconds(at, samples_65) == pytest.approx(2 * inference_seconds(at, samples_128))


def test_data_parallel_ranks_share_the_optimizer_and_pay_for_gradients(setting):
    alone, eight = (exchange_of(setting.job, sizes_of(ParallelStrategy(data=data))) for data in (1, 8))
    assert alone.step_s == 0.0
    assert eight.step_s > 0.0
    assert eight.part == pytest.approx(alone.part / 8)


def test_fully_sharded_parameters_are_gathered_with_every_micro_batch(setting):
    sharded = with_stack(setting, sharding="full")
    exchange = exchange_of(sharded.job, sizes_of(ParallelStrategy(data=8)))
    assert exchange.step_s == 0.0
    assert exchange.backward_s > exchange.forward_s > 0.0


def test_epochs_repeat_the_update(setting):
    strategy = RoleStrategy(train=ParallelStrategy(tensor=8))
    twice = replace(setting, workload=setting.workload.model_copy(update={"epochs": 2}))
    assert training_seconds(twice, strategy) == pytest.approx(2 * training_seconds(setting, strategy))


def test_offloaded_states_cross_the_host_link_once_per_update(setting):
    layout = ParallelStrategy(tensor=8, data=2)
    none, optimizer, everything = (
        training_seconds(setting, RoleStrategy(train=layout, offload=mode))
        for mode in ("none", "optimizer", "all")
    )
    part = exchange_of(setting.job, sizes_of(layout)).part
    link = setting.device.host_link
    assert optimizer - none == pytest.approx(2 * (12 * part / link.bandwidth + link.latency))
    assert everything > optimizer


def test_a_budget_of_tokens_packs_the_sequences_that_it_holds(setting):
    layout = ParallelStrategy(tensor=8)
    packed = RoleStrategy(train=layout, micro_batch_tokens=4 * 2048)
    counted = RoleStrategy(train=layout, micro_batch=4)
    assert training_seconds(setting, packed) == pytest.approx(training_seconds(setting, counted))

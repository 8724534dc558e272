from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from planner.costs.passes.ends import end_costs
from planner.costs.passes.layer import KINDS, UNFUSED_SOFTMAX, host_seconds, layer_costs
from planner.costs.passes.layer_kernels import Cut, layer_kernels
from planner.costs.passes.matrices import layer_matrices, padded_vocab
from planner.domain.catalog import read_model
from planner.domain.stack import Speeds


def job_with(setting, *, model=None, precision=None, **stack):
    training = setting.job.stack.model_copy(update=stack)
    changes = {"stack": training} | ({"model": read_model(model)} if model else {})
    return replace(setting.job, **changes, **({"precision": precision} if precision else {}))


def kind(costs, name):
    return costs[KINDS.index(name)]


@pytest.mark.parametrize("name", ["llama-2-7b", "llama-2-70b", "gpt-3-175b", "mixtral-8x7b", "deepseek-v3"])
@pytest.mark.parametrize("is_sparse", [False, True])
def test_linear_maps_are_the_parameters_of_a_layer(name, is_sparse):
    model = read_model(name)
    if is_sparse and model.moe is None:
        return
    experts = model.moe.experts if model.moe else 0
    maps = layer_matrices(model, is_sparse=is_sparse)
    held = sum(each.parameters * (experts if each.is_routed else 1) for each in maps)
    expected = model.layer_matrix_parameters if is_sparse else model.dense_layer_matrix_parameters
    assert held == expected


@given(st.sampled_from([1, 2, 4, 8, 16, 32]))
def test_each_rank_keeps_at_least_one_head_of_keys_and_values(tensor):
    model = read_model("llama-2-70b")
    projection = layer_matrices(model, is_sparse=False)[0]
    queries = model.query_size / tensor
    assert projection.columns(tensor) == queries + 2 * model.head_dim * max(1, model.kv_heads / tensor)


def test_the_vocabulary_is_padded_on_every_rank():
    model = read_model("llama-2-7b").model_copy(update={"vocab": 1000})
    assert padded_vocab(model, 3, 128) == 384
    assert padded_vocab(model, 1, 1) == 1000


def test_no_collectives_without_a_group(setting):
    alone = layer_costs(setting.job, tensor=1, sequences=4)
    for name in ("tensor", "expert", "context"):
        assert kind(alone.forward, name) == kind(alone.backward, name) == 0.0


def test_tensor_parallelism_cuts_computation_and_pays_in_collectives(setting):
    one, eight = (layer_costs(setting.job, tensor=tensor, sequences=4) for tensor in (1, 8))
    assert kind(eight.forward, "compute") < kind(one.forward, "compute") / 4
    assert kind(eight.forward, "tensor") > 0


def test_hidden_collectives_cost_nothing(setting):
    hidden = layer_costs(job_with(setting, tensor_overlap=1.0), tensor=8, sequences=4)
    assert kind(hidden.forward, "tensor") == 0.0


def test_a_slow_host_sets_the_pace(setting):
    slow = layer_costs(job_with(setting, layer_launch=1.0), tensor=1, sequences=1)
    assert slow.forward.sum() == pytest.approx(1.0, rel=1e-6)
    assert kind(slow.forward, "launch") > 0.9


def test_ranks_of_a_tensor_group_wait_for_the_slowest_host(setting):
    job = job_with(setting, layer_launch=1e-3, rank_wait=0.1)
    cut = Cut(tensor=np.array([1, 2, 8]), context=1, expert=1, sequences=1, tokens=2048)
    assert host_seconds(job, cut) == pytest.approx([1e-3, 1.1e-3, 1.7e-3])


def test_a_softmax_that_is_not_fused_takes_the_host_longer(setting):
    job = job_with(setting, layer_launch=1e-3, rank_wait=0.0, flash_attention=False)
    cut = Cut(tensor=16, context=1, expert=1, sequences=np.array([1, 2]), tokens=2048)
    assert host_seconds(job, cut) == pytest.approx([UNFUSED_SOFTMAX * 1e-3, 1e-3])


def test_recomputation_adds_nothing_the_core_or_a_forward_pass(setting):
    costs = layer_costs(setting.job, tensor=2, sequences=4)
    none, selective, full = (costs.recomputed(code).sum() for code in (0, 1, 2))
    assert none == 0.0
    assert selective == pytest.approx(costs.core)
    assert full == pytest.approx(costs.forward.sum())


@given(st.sampled_from(["products", "attention", "streams"]))
def test_slower_kernels_never_save_time(setting, name):
    fast = {"any": Speeds(products=1.0, attention=1.0, streams=1.0)}
    slow = {"any": fast["any"].model_copy(update={name: 0.5})}
    passes = [layer_costs(job_with(setting, speeds=each), tensor=2, sequences=4) for each in (fast, slow)]
    assert passes[0].forward.sum() < passes[1].forward.sum()
    assert passes[0].backward.sum() < passes[1].backward.sum()


def test_no_speed_beats_the_peak(setting):
    fast = job_with(setting, speeds={"any": Speeds(products=1.25, attention=1.0, streams=1.0)})
    kernels = layer_kernels(fast, tensor=1, sequences=64)
    assert kind(layer_costs(fast, tensor=1, sequences=64).forward, "compute") >= kernels.floor


def test_frozen_weights_have_no_gradients(setting):
    trained = layer_costs(setting.job, tensor=1, sequences=4)
    frozen = layer_costs(replace(setting.job, is_frozen=True), tensor=1, sequences=4)
    assert frozen.backward.sum() < 0.75 * trained.backward.sum()
    assert frozen.forward == pytest.approx(trained.forward)


def test_routed_experts_compute_their_share_and_exchange_tokens(setting):
    job = job_with(setting, model="mixtral-8x7b")
    here, spread = (
        layer_costs(job, tensor=1, expert=expert, sequences=4, is_sparse=True) for expert in (1, 8)
    )
    assert kind(here.forward, "expert") == 0.0
    assert kind(spread.forward, "expert") > 0.0
    assert kind(spread.forward, "compute") == pytest.approx(kind(here.forward, "compute"), rel=0.3)


def test_context_ranks_share_a_sequence_and_pass_keys_and_values_on(setting):
    job = job_with(setting, model="llama-3.1-8b")
    one, four = (
        layer_costs(replace(job, tokens=32768), tensor=1, context=size, sequences=1) for size in (1, 4)
    )
    assert kind(four.forward, "compute") == pytest.approx(kind(one.forward, "compute") / 4, rel=0.15)
    assert kind(four.forward, "context") >= 0.0


def test_latent_attention_and_fp8_are_costed(setting):
    latent = layer_costs(job_with(setting, model="deepseek-v3"), tensor=8, sequences=1, is_sparse=True)
    assert np.isfinite(latent.backward).all()
    hopper = setting.device.model_copy(update={"peak": setting.device.peak | {"fp8": 624e12}})
    pool = setting.node_pool.model_copy(update={"device": hopper})
    wide, narrow = (
        layer_costs(replace(setting.job, precision=precision, node_pool=pool), tensor=1, sequences=8)
        for precision in ("bf16", "fp8")
    )
    assert narrow.forward.sum() < wide.forward.sum()


def test_tables_of_arrays_are_those_of_their_numbers(setting):
    tensors, sequences = np.array([1, 2, 4, 8]), np.array([1, 8, 2, 4])
    many = layer_costs(setting.job, tensor=tensors, sequences=sequences)
    for index, (tensor, count) in enumerate(zip(tensors, sequences, strict=True)):
        one = layer_costs(setting.job, tensor=int(tensor), sequences=int(count))
        assert many.forward[:, index] == pytest.approx(one.forward, rel=1e-12)
        assert many.backward[:, index] == pytest.approx(one.backward, rel=1e-12)


def test_a_scalar_head_costs_less_than_a_vocabulary(setting):
    vocabulary = end_costs(setting.job, tensor=1, sequences=4)
    scalar = end_costs(replace(setting.job, head="scalar"), tensor=1, sequences=4)
    assert scalar.head.sum() < vocabulary.head.sum() / 10
    assert scalar.embedding == pytest.approx(vocabulary.embedding)

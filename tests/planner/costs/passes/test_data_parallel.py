from dataclasses import replace

import numpy as np
import pytest

from planner.costs.passes.data_parallel import (
    Sizes,
    data_channel,
    expert_channel,
    exposed_seconds,
    gather_seconds,
    pipeline_channel,
    shards,
    step_exchange_seconds,
)
from planner.domain.catalog import read_model


def job_with(setting, *, model=None, **stack):
    training = setting.job.stack.model_copy(update=stack)
    job = replace(setting.job, stack=training)
    return replace(job, model=read_model(model)) if model else job


def sizes(**given):
    return Sizes(**{"pipeline": 1, "tensor": 1, "data": 1} | given)


def test_the_fullest_rank_holds_its_layers_and_an_end(setting):
    model = setting.model
    held = shards(setting.job, sizes(pipeline=4, tensor=2))
    assert held.layer == model.layer_matrix_parameters / 2
    assert held.dense == model.layers / 4 * held.layer + model.embedding_parameters / 2


def test_expert_ranks_share_the_experts(setting):
    job = job_with(setting, model="mixtral-8x7b")
    alone, spread = shards(job, sizes(data=8)), shards(job, sizes(data=8, expert=8))
    assert alone.experts == 8 * spread.experts
    assert alone.dense == spread.dense


@pytest.mark.parametrize(
    ("order", "given", "local"),
    [
        ("data-pipeline", {"tensor": 2, "data": 8}, 4),
        ("data-pipeline", {"tensor": 8, "data": 8}, 1),
        ("pipeline-data", {"pipeline": 4, "tensor": 2, "data": 8}, 1),
        ("pipeline-data", {"pipeline": 1, "tensor": 2, "data": 8}, 4),
        ("pipeline-data", {"pipeline": 2, "tensor": 2, "context": 2, "data": 4}, 2),
    ],
)
def test_ranks_of_a_data_group_on_one_node_follow_from_the_order(setting, order, given, local):
    assert data_channel(job_with(setting, order=order), sizes(**given)).local == local


def test_neighbouring_stages_stand_next_to_each_other_where_pipeline_comes_first(setting):
    layout = sizes(pipeline=4, tensor=2, data=16)
    near = pipeline_channel(job_with(setting, order="pipeline-data"), layout)
    far = pipeline_channel(job_with(setting, order="data-pipeline"), layout)
    assert not near.crosses
    assert far.crosses


def test_expert_gradients_are_reduced_by_fewer_ranks(setting):
    job = job_with(setting, model="mixtral-8x7b")
    assert expert_channel(job, sizes(data=16, expert=8)).size == 2


def test_what_runs_beside_computation_is_hidden_as_far_as_there_is_any():
    assert exposed_seconds(10.0, beside=100.0, overlap=0.8) == pytest.approx(2.0)
    assert exposed_seconds(10.0, beside=3.0, overlap=0.8) == pytest.approx(7.0)
    assert exposed_seconds(np.array([0.0, 1.0]), beside=5.0, overlap=1.0) == pytest.approx([0.0, 0.0])


def test_gradients_in_two_bytes_move_half(setting):
    layout = sizes(tensor=8, data=16)
    half, whole = (
        step_exchange_seconds(job_with(setting, sharding="none", gradient_bytes=count), layout)
        for count in (2, 4)
    )
    assert half < 0.6 * whole


def test_frozen_models_exchange_nothing(setting):
    frozen = replace(setting.job, is_frozen=True)
    assert step_exchange_seconds(frozen, sizes(data=16)) == 0.0


def test_a_layer_is_gathered_in_two_bytes_and_reduced_in_four(setting):
    gathers = gather_seconds(job_with(setting, sharding="full", gradient_bytes=4), sizes(data=64))
    assert 1.5 * gathers.layer < gathers.layer_reduce < 2.5 * gathers.layer
    assert gathers.end > 0

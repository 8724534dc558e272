from dataclasses import replace

import numpy as np
import pytest

from planner.algorithms import ALGORITHMS, asynchronous, trace
from planner.costs import CostModel
from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.table import Configurations
from planner.costs.sync.broadcast import broadcast_transition
from planner.costs.sync.transfer import receiving_seconds, sending_seconds, transfer_bytes
from planner.costs.sync.transition import onload_seconds, training_shard_bytes
from planner.domain.catalog import read_model
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.scenario import Scenario

GRAPH = asynchronous(trace(ALGORITHMS["ppo"], name="ppo"), 1)
SEND, RECEIVE = GRAPH.call("actor.send"), GRAPH.call("generator.receive")


@pytest.fixture
def scenario(node_pool, workload, stack):
    roles = [role for role in GRAPH.roles if role != "generator"]
    return Scenario(
        name="apart",
        algorithm={"name": "ppo"},
        models=dict.fromkeys(roles, read_model("llama-2-7b")),
        cluster={"node_pools": [node_pool]},
        workload=workload,
        stack=stack,
        staleness=1,
    )


@pytest.mark.parametrize("pipeline", [1, 2])
@pytest.mark.parametrize(("trainers", "generators"), [(1, 1), (4, 4), (8, 7), (64, 16), (512, 256)])
def test_send_and_receive_are_together_the_broadcast(setting, pipeline, trainers, generators):
    train = ParallelStrategy(data=trainers)
    generate = GenerationStrategy(tensor=generators // pipeline or 1, pipeline=pipeline, max_sequences=1)
    joint = broadcast_transition(setting, train, generate).seconds
    parts = sending_seconds(setting, train.devices) + receiving_seconds(setting, generate.devices)
    assert parts == pytest.approx(joint, rel=1e-9)


def test_one_trainer_has_all_weights_already(setting):
    assert sending_seconds(setting, 1) == 0.0
    assert sending_seconds(setting, 2) > 0.0


def test_a_receive_takes_at_least_all_weights_over_the_slowest_link(setting):
    weights = setting.model.parameters() * setting.element_bytes
    inside, across = receiving_seconds(setting, 4), receiving_seconds(setting, 64)
    assert inside > weights / setting.device.link.bandwidth
    assert across > weights / setting.node_pool.network.bandwidth > inside


def test_the_largest_tensor_is_the_embedding(setting):
    assert transfer_bytes(setting) == 2 * setting.model.vocab * setting.model.hidden


def test_offloaded_weights_return_for_the_send(scenario, node_pool):
    costs = CostModel(scenario, GRAPH)
    here = RoleStrategy(train=ParallelStrategy(tensor=8, data=2))
    away = here.model_copy(update={"offload": "all"})
    setting = costs.setting("actor", node_pool)
    returning = onload_seconds(setting, here.layout)
    assert returning > 0
    seconds = [costs.call(SEND, each, node_pool).seconds for each in (here, away)]
    assert seconds[1] - seconds[0] == pytest.approx(returning)
    peaks = [sum(costs.transient_bytes(SEND, each, node_pool).values()) for each in (here, away)]
    assert peaks[1] - peaks[0] == training_shard_bytes(setting, here.layout)


def ones(count, **columns):
    names = ("pipeline", "tensor", "data", "virtual", "context", "expert", "micro_batch")
    own = {name: np.asarray(columns.get(name, np.ones(count)), dtype=np.int64) for name in names}
    zeros = np.zeros(count, dtype=np.int64)
    return Configurations(**own, recompute=zeros, micro_batch_tokens=zeros)


@pytest.mark.parametrize("offload", ["none", "optimizer", "all"])
def test_sends_of_many_layouts_equal_those_of_one(scenario, node_pool, offload):
    tensor, data = np.array([1, 2, 4, 8, 8]), np.array([3, 4, 2, 1, 64])
    costs = CostModel(scenario, GRAPH)
    (table,) = costs.layouts("actor", ones(5, tensor=tensor, data=data), node_pool, offloads=[offload])
    for row, sizes in enumerate(zip(tensor.tolist(), data.tolist(), strict=True)):
        layout = ParallelStrategy(tensor=sizes[0], data=sizes[1])
        strategy = RoleStrategy(train=layout, offload=offload)
        assert table.seconds[SEND.name][row] == pytest.approx(costs.call(SEND, strategy, node_pool).seconds)
        memory = costs.memory("actor", strategy, node_pool)
        assert table.transient[row] == memory.transient_bytes
        assert memory.transient[SEND.name]["sync_buffer"] > 0


def test_receives_of_many_strategies_equal_those_of_one(scenario, node_pool):
    columns = {"pipeline": [1, 2, 1], "tensor": [1, 2, 8], "replicas": [3, 4, 16]}
    rows = Generations(
        **{name: np.array(values) for name, values in columns.items()},
        max_sequences=np.array([64, 64, 64]),
        cache_tokens=np.zeros(3, dtype=np.int64),
    )
    costs = CostModel(scenario, GRAPH)
    table = costs.generators("generator", rows, node_pool)
    for row in range(3):
        strategy = RoleStrategy(generate=rows.one(row))
        call = costs.call(RECEIVE, strategy, node_pool)
        assert table.seconds[RECEIVE.name][row] == pytest.approx(call.seconds)
        memory = costs.memory("generator", strategy, node_pool)
        assert table.transient[row] == memory.transient_bytes
        assert set(memory.transient) == {"generator.generate", "generator.receive"}


def test_a_faster_network_never_slows_a_transfer(setting):
    devices = np.array([1, 2, 4, 8, 16, 64])
    fast = setting.node_pool.network.model_copy(update={"bandwidth": 4 * setting.node_pool.network.bandwidth})
    faster = replace(setting, node_pool=setting.node_pool.model_copy(update={"network": fast}))
    assert (sending_seconds(faster, devices) <= sending_seconds(setting, devices)).all()
    assert (receiving_seconds(faster, devices) <= receiving_seconds(setting, devices)).all()

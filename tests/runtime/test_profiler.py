"""A profile for real, on one device."""

import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.domain.parallelism import ParallelStrategy
from runtime.profiler import profile
from tests.runtime.plans import quickstart_plan

ALL = ("actor", "critic", "reference", "reward")


@pytest.fixture(scope="module")
def measured():
    told = []
    plan = quickstart_plan({ALL: ParallelStrategy()})
    return plan, profile(plan.scenario, progress=told.append), told


def test_every_call_of_the_algorithm_is_measured_where_a_plan_would_look_for_it(measured):
    plan, answer, _ = measured
    graph = trace(ALGORITHMS["ppo"], name="ppo")
    for call in graph.model_calls:
        found = answer.find(
            call,
            model=plan.scenario.models[call.role].name,
            strategy=next(other.strategy for other in answer.calls if other.role == call.role),
            workload=plan.scenario.workload,
        )
        assert found is not None
        assert 0 < found.seconds < 60
        assert found.repeats == 3
    generate = next(call for call in answer.calls if call.kind == "generate")
    assert 0 < generate.reshard_seconds < generate.seconds


def test_the_device_has_the_rates_of_this_machine(measured):
    plan, answer, _ = measured
    device = answer.device
    assert device.name == plan.scenario.cluster.node_pools[0].device.name
    assert device.kind == "cpu"
    assert 1e8 < device.peak["fp32"] < 1e13
    assert 1e8 < device.memory_bandwidth < 1e12
    assert device.memory > device.reserved
    assert answer.processes == 1


def test_versions_are_noted_and_progress_is_told(measured):
    _, answer, told = measured
    assert {"python", "torch", "ray", "megatron-core"} <= set(answer.versions)
    assert told[0] == "starting 1 processes"
    assert "measuring 1 of 1" in told[-1]

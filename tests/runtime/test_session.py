"""Which plans can be executed in processes that others have used."""

import shutil
from contextlib import contextmanager

import pytest

from planner.domain.cluster import Cluster
from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.pins import Pins
from planner.domain.plan import RoleMemory
from planner.domain.reading import read_scenario
from planner.errors import PlanMismatchError
from runtime import session
from runtime.execution import run
from runtime.profiler import profile
from runtime.resource_pool import Node
from runtime.session import KeptProcesses, engines_of
from runtime.trials import trial_plans
from tests.runtime import tiny
from tests.runtime.plans import QUICKSTART, tiny_plan

ALL = ("actor", "critic", "reference", "reward")


def generating(text, tensor, **changes):
    """A plan with the actor trained in a layout, and generation in tensor groups of a size."""
    train = ParallelStrategy.parse(text)
    plan = tiny_plan({ALL: train})
    generate = GenerationStrategy(tensor=tensor, replicas=train.devices // tensor, max_sequences=8)
    changed = {"generate": generate.model_copy(update=changes)}
    actor = plan.strategies["actor"].model_copy(update=changed)
    return plan.model_copy(update={"strategies": {**plan.strategies, "actor": actor}})


def share_processes(first, second, kind):
    engines = [engines_of(plan, plan.pools[0], kind) for plan in (first, second)]
    assert all(engines)
    return engines[0] == engines[1]


def test_on_a_cpu_engines_of_the_same_groups_share_a_process():
    assert share_processes(generating("p1t2d2", 1), generating("p1t1d4", 1, max_sequences=4), "cpu")
    assert not share_processes(generating("p1t2d2", 2), generating("p1t4d1", 2), "cpu")
    assert not share_processes(generating("p1t2d2", 2), generating("p1t2d2", 1), "cpu")


def test_on_cuda_only_the_same_engine_does():
    first = generating("p1t2d2", 1)
    assert share_processes(first, generating("p1t2d2", 1), "cuda")
    others = (generating("p1t1d4", 1), generating("p1t2d2", 1, max_sequences=4))
    assert not any(share_processes(first, other, "cuda") for other in others)
    scenario, stack = first.scenario, first.scenario.stack
    lengths = TokenLengths(mean=8, maximum=16)
    generation = stack.generation.model_copy(update={"prefill_tokens": 100})
    for change in (
        {"workload": scenario.workload.model_copy(update={"response_tokens": lengths})},
        {"stack": stack.model_copy(update={"generation": generation})},
    ):
        changed = first.model_copy(update={"scenario": scenario.model_copy(update=change)})
        assert not share_processes(first, changed, "cuda")


@pytest.fixture
def lives(monkeypatch):
    """Plans that processes on a small node were started for, and those whose processes have ended."""
    starts, ends = [], []
    node = Node(id="n1", address="n1", devices=4, memory_bytes=5 * 2**30)

    @contextmanager
    def started(plan, *, address):
        starts.append(plan)
        yield [node], {"pool-0": (len(starts),)}
        ends.append(plan)

    monkeypatch.setattr(session, "started", started)
    return starts, ends


def test_processes_are_kept_until_a_plan_does_not_fit_them(lives):
    plans = [generating("p1t2d2", 2), generating("p1t2d2", 2), generating("p1t4d1", 2)]
    with KeptProcesses() as kept:
        first, second, third = (kept.groups(plan, address=None) for plan in plans)
    assert first is second
    assert first is not third
    assert lives == ([plans[0], plans[2]], [plans[0], plans[2]])


def test_a_plan_that_needs_more_memory_is_refused_in_kept_processes_too(lives):
    plan = generating("p1t2d2", 2)
    needy = RoleMemory(persistent={"weights": 2**30}, transient={})
    prediction = plan.prediction.model_copy(update={"memory": dict.fromkeys(ALL, needy)})
    with KeptProcesses() as kept:
        kept.groups(plan, address=None)
        with pytest.raises(PlanMismatchError, match=r"n1: the processes need 20\.0 GiB, free are 5\.00 GiB"):
            kept.groups(plan.model_copy(update={"prediction": prediction}), address=None)
    assert lives == ([plan], [plan])


def scenario_of(folder, devices, tensor):
    """GRPO on a policy whose vocabulary two shards divide, that generates in tensor groups of a size."""
    scenario = read_scenario(QUICKSTART.with_name("quickstart-grpo.yaml"))
    model = tiny.write_model(folder, "llama", kv_heads=4, vocab=512)
    shutil.copytree(QUICKSTART.parent / "quickstart" / "tokenizer", folder, dirs_exist_ok=True)
    (node_pool,) = scenario.cluster.node_pools
    changed = {
        "models": {"actor": model, "reference": model},
        "workload": scenario.workload.model_copy(update={"prompts": 4}),
        "pin": Pins({"actor.generate.tensor": tensor}),
        "cluster": Cluster(node_pools=(node_pool.model_copy(update={"devices_per_node": devices}),)),
    }
    return scenario.model_copy(update=changed)


def run_in(kept, scenario, layout, folder):
    (plan,) = trial_plans(scenario, layouts=[ParallelStrategy.parse(layout)], count=1)
    return run(plan, out=folder, iterations=1, kept=kept).metrics["reshard/logprob_difference_max"]


@pytest.mark.slow
def test_a_run_after_one_of_another_generation_size_has_the_weights_too(tmp_path):
    with KeptProcesses() as kept:
        for tensor in (1, 2):
            scenario = scenario_of(tmp_path / "model", 2, tensor)
            assert 0 < run_in(kept, scenario, "p1t2d1", tmp_path / f"t{tensor}") < 1e-4


@pytest.mark.slow
def test_layouts_with_other_generation_groups_are_measured_one_after_the_other(tmp_path):
    scenario = scenario_of(tmp_path / "model", 4, 2)
    with KeptProcesses() as kept:
        calls = profile(scenario, kept=kept).calls
        found = {str(call.strategy.layout) for call in calls if call.kind == "generate"}
        assert found == {"p1t2d2", "p1t4d1"}
        other = scenario_of(tmp_path / "model", 4, 1)
        assert 0 < run_in(kept, other, "p1t4d1", tmp_path / "run") < 1e-4

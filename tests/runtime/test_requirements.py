from dataclasses import replace

import pytest

from planner.domain.algorithm import RemaxOptions
from planner.domain.capabilities import RUNTIME
from planner.domain.job import Rollouts
from planner.domain.lengths import TokenLengths
from planner.domain.model import MlaSpec, MoeSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleMemory
from planner.domain.runnable import plan_refusals
from planner.domain.workload import Turns
from planner.errors import PlanMismatchError
from runtime import requirements
from runtime.requirements import DryRun, bytes_per_process, check, dry_run, memory_problems
from runtime.resource_pool import Assignment, Node, Share, assign
from tests.runtime.plans import asynchronous_plan, tiny_model, tiny_plan

ALL = ("actor", "critic", "reference", "reward")
TWO_BY_TWO = ParallelStrategy(tensor=2, data=2)


@pytest.fixture
def plan(tmp_path):
    return tiny_plan({ALL: TWO_BY_TWO}, model=tiny_model(tmp_path))


def with_actor(plan, **changes):
    actor = plan.strategies["actor"].model_copy(update=changes)
    return plan.model_copy(update={"strategies": {**plan.strategies, "actor": actor}})


def node(name, devices, memory_bytes=2**40):
    return Node(id=name, address=name, devices=devices, memory_bytes=memory_bytes)


def test_a_dry_run_says_pools_processes_and_bytes(plan):
    answer = dry_run(plan)
    assert isinstance(answer, DryRun)
    assert answer.fits
    (pool,) = answer.pools
    assert (pool.pool, pool.roles, pool.processes) == ("pool-0", ALL, (("this machine", 4),))
    assert pool.bytes_per_process == 2**30 + 4 * 2**20
    assert "pool-0 (actor, critic, reference, reward): processes 4 on this machine; 1.00 GiB each" in str(
        answer
    )
    assert answer.as_dict()["fits"] is True


def test_memory_that_does_not_hold_the_processes_is_a_problem(plan):
    small = node("n1", 4, memory_bytes=3 * 2**30)
    assignment = Assignment(pool=plan.pools[0], shares=(Share(node=small, devices=4),))
    (problem,) = memory_problems(plan, [assignment])
    assert "n1: the processes need 4.02 GiB, free are 3.00 GiB" in problem
    big = replace(small, memory_bytes=4 * bytes_per_process(plan, plan.pools[0]))
    assert memory_problems(plan, [Assignment(pool=plan.pools[0], shares=(Share(node=big, devices=4),))]) == []


def test_a_pool_larger_than_a_node_takes_whole_nodes():
    plan = tiny_plan({ALL: TWO_BY_TWO}, nodes=2, per_node=2)
    (assignment,) = assign(plan, [node("a", 4), node("b", 1), node("c", 2)], "cpu")
    assert [(share.node.address, share.devices) for share in assignment.shares] == [("a", 2), ("c", 2)]


def test_a_second_pool_takes_what_the_first_left():
    pools = {("actor", "reference"): ParallelStrategy(data=2), ("critic", "reward"): ParallelStrategy(data=2)}
    assignments = assign(tiny_plan(pools), [node("a", 3), node("b", 2)], "cpu")
    assert [assignment.shares[0].node.address for assignment in assignments] == ["a", "b"]


def test_a_cluster_without_the_devices_is_refused_with_what_there_is(plan):
    with pytest.raises(
        PlanMismatchError, match=r"asks for 4 \(pool-0\).*free on a: 3, b: 1; add nodes with"
    ) as caught:
        assign(plan, [node("a", 3), node("b", 1)], "cpu")
    assert "ray start" in str(caught.value)


def test_a_machine_with_fewer_devices_than_the_plan_does_not_fit(tmp_path):
    plan = tiny_plan({ALL: TWO_BY_TWO}, nodes=2, per_node=2, model=tiny_model(tmp_path))
    answer = dry_run(plan)
    assert not answer.fits
    assert "virtual_device free on this machine: 2" in answer.problems[0]


def on_cuda(plan, monkeypatch, memories):
    """The plan for CUDA devices of 2 GiB, on a machine that seems to have CUDA devices of these sizes."""
    monkeypatch.setattr(requirements, "device_kind", lambda: "cuda")
    monkeypatch.setattr(requirements, "device_memories", lambda: memories)
    return plan.model_copy(
        update={
            "scenario": plan.scenario.with_node_pools(
                lambda pool: pool.model_copy(
                    update={"device": pool.device.model_copy(update={"kind": "cuda"})}
                )
            )
        }
    )


@pytest.mark.parametrize("size", [2**31, 2**31 - 2**27])
def test_the_devices_of_a_machine_hold_a_plan_for_such(plan, monkeypatch, size):
    """Also where the driver reports less than the data sheet says, and the plan needs that."""
    memory = RoleMemory(persistent={"weights": 2**28}, transient={})
    plan = on_cuda(plan, monkeypatch, [size] * 4)
    full = plan.prediction.model_copy(update={"memory": dict.fromkeys(ALL, memory)})
    answer = dry_run(plan.model_copy(update={"prediction": full}))
    assert answer.pools[0].bytes_per_process == 2**31
    assert (answer.fits, answer.problems) == (True, ())


def test_a_machine_has_no_more_cuda_devices_than_it_has(plan, monkeypatch):
    (problem,) = dry_run(on_cuda(plan, monkeypatch, [2**31] * 3)).problems
    assert "asks for 4 (pool-0) devices cpu-core" in problem
    assert "GPU free on this machine: 3" in problem


def test_a_device_that_is_smaller_than_the_plans_is_a_problem(plan, monkeypatch):
    (problem,) = dry_run(on_cuda(plan, monkeypatch, [2**31] * 3 + [2**29])).problems
    assert problem.startswith(
        "pools.pool-0: a process needs 1.00 GiB of a cpu-core, a device of this machine"
    )
    assert "has 512 MiB" in problem


def test_generation_pipelines_are_refused_by_name(plan):
    generate = GenerationStrategy(pipeline=2, replicas=2, max_sequences=8)
    with pytest.raises(PlanMismatchError, match=r"strategies\.actor: generate p2t1x2: pipeline=2"):
        check(with_actor(plan, generate=generate))


def test_a_vocabulary_that_vllm_would_pad_is_refused(plan):
    generate = GenerationStrategy(tensor=2, replicas=2, max_sequences=8)
    with pytest.raises(
        PlanMismatchError, match=r"strategies\.actor: generate p1t2x2: vocab=64 .* multiple of 128"
    ):
        check(with_actor(plan, generate=generate))


def test_replicas_without_samples_are_run(plan):
    check(with_actor(plan, train=ParallelStrategy(data=5), generate=None))


def test_every_missing_input_is_named_at_once():
    plan = tiny_plan({ALL: TWO_BY_TWO})
    plan = plan.model_copy(update={"scenario": plan.scenario.model_copy(update={"run": None})})
    with pytest.raises(PlanMismatchError, match=r"scenario\.run: missing") as caught:
        check(plan)
    assert len(str(caught.value).splitlines()) == 1 + len(ALL)


def test_a_plan_for_cuda_is_refused_on_a_machine_without(plan):
    (pool,) = plan.scenario.cluster.node_pools
    cuda = pool.model_copy(update={"device": pool.device.model_copy(update={"kind": "cuda"})})
    cluster = plan.scenario.cluster.model_copy(update={"node_pools": (cuda,)})
    scenario = plan.scenario.model_copy(update={"cluster": cluster})
    with pytest.raises(PlanMismatchError, match=r"asks for cpu-core \(cuda\), this machine has cpu only"):
        check(plan.model_copy(update={"scenario": scenario}))


MIXTURE = MoeSpec(experts=8, experts_per_token=2, expert_ffn=64)
LATENT = MlaSpec(kv_rank=16, nope_dim=16, rope_dim=16, value_dim=32)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"family": "mistral"},
            "tiny: family='mistral' is not run yet, only llama, qwen2, qwen3, qwen3_moe are",
        ),
        ({"family": "gpt", "has_linear_bias": True}, "tiny: family='gpt' is not run yet"),
        ({"family": "mixtral", "moe": MIXTURE}, "tiny: family='mixtral' is not run yet"),
        ({"family": "deepseek_v3", "mla": LATENT}, "tiny: mla is not run yet"),
        ({"rope_type": "yarn"}, "tiny: rope_type='yarn' is not run yet"),
    ],
)
def test_models_that_the_engines_do_not_know_are_refused_by_field(plan, change, expected):
    models = {role: model.model_copy(update=change) for role, model in plan.scenario.models.items()}
    scenario = plan.scenario.model_copy(update={"models": models})
    with pytest.raises(PlanMismatchError) as caught:
        check(plan.model_copy(update={"scenario": scenario}))
    for role in ALL:
        assert f"scenario.models.{role}: {expected}" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"train": ParallelStrategy(tensor=2, data=2, expert=2)},
            "strategy p1t2d2e2: expert=2, and tiny has no experts",
        ),
        (
            {"train": ParallelStrategy(pipeline=2, data=2, virtual=2)},
            "strategy p2t1d2v2: pipeline x virtual = 4 chunks exceed layers=2 of tiny",
        ),
        (
            {"train": ParallelStrategy(data=4, virtual=2)},
            "strategy p1t1d4v2: virtual=2 interleaves pipeline stages, and pipeline=1",
        ),
        (
            {"train": ParallelStrategy(data=4, expert=3)},
            "strategy p1t1d4e3: expert=3 does not divide data x context = 4",
        ),
    ],
)
def test_layouts_that_do_not_divide_are_refused_by_field(plan, change, expected):
    with pytest.raises(PlanMismatchError) as caught:
        check(with_actor(plan, **change))
    assert "strategies.actor: " in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize("precision", ["fp16", "fp8"])
def test_precisions_that_the_engines_do_not_compute_in_are_refused(plan, precision):
    scenario = plan.scenario.model_copy(update={"precision": precision})
    with pytest.raises(
        PlanMismatchError, match=f"scenario.precision: '{precision}' is not run yet, only bf16, fp32"
    ):
        check(plan.model_copy(update={"scenario": scenario}))


def with_scenario(plan, **changes):
    return plan.model_copy(update={"scenario": plan.scenario.model_copy(update=changes)})


def with_pools(plan, **changes):
    return plan.model_copy(update={"pools": tuple(pool.model_copy(update=changes) for pool in plan.pools)})


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"rollouts": Rollouts(balance="queue")},
            "scenario.rollouts.balance: 'queue' is not run yet, only 'split' is",
        ),
        (
            {"rollouts": Rollouts(carry=2.0)},
            "scenario.rollouts.carry: 16 prompts beside 8 on the 4 replicas of the actor are more than leave "
            "in one iteration; carry fewer",
        ),
        (
            {"rollouts": Rollouts(carry=0.5), "algorithm": RemaxOptions()},
            "scenario.rollouts.carry: remax has to know its prompts beforehand; use 0",
        ),
    ],
)
def test_scenarios_that_the_runtime_does_not_know_are_refused_by_field(plan, change, expected):
    with pytest.raises(PlanMismatchError) as caught:
        check(with_scenario(plan, **change))
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"turns": Turns(count=2, wait="1 s")},
            "scenario.workload.turns.count: 2 is not run yet, only 1 is",
        ),
        (
            {"response_tokens": TokenLengths(mean=57, maximum=57)},
            "scenario.models.actor: tiny: maximum_tokens=65 exceeds max_positions=64; shorten prompts or",
        ),
    ],
)
def test_work_that_the_runtime_does_not_know_is_refused_by_field(plan, change, expected):
    workload = plan.scenario.workload.model_copy(update=change)
    with pytest.raises(PlanMismatchError) as caught:
        check(with_scenario(plan, workload=workload))
    assert expected in str(caught.value)


def test_pools_in_different_node_pools_are_refused(plan):
    elsewhere = plan.pools[0].model_copy(update={"node_pool": "elsewhere"})
    assert list(plan_refusals(RUNTIME, plan)) == []
    (refusal,) = plan_refusals(RUNTIME, plan.model_copy(update={"pools": (plan.pools[0], elsewhere)}))
    assert refusal.startswith("pools.node_pool: a run over several node pools (cores, elsewhere)")


def test_a_generator_of_its_own_is_run():
    check(asynchronous_plan(staleness=2))


def test_a_smaller_cache_is_run(plan):
    generate = GenerationStrategy(replicas=4, max_sequences=8, cache_tokens=64)
    check(with_actor(plan, generate=generate))

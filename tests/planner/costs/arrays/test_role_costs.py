from dataclasses import fields, replace

import numpy as np
import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel
from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.sync_table import Syncs
from planner.costs.arrays.table import Configurations
from planner.costs.passes.training import RECOMPUTE
from planner.domain.catalog import read_model
from planner.domain.lengths import TokenLengths
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.scenario import Scenario
from planner.errors import SpecError

PPO = trace(ALGORITHMS["ppo"], name="ppo")
OFFLOADS = ("none", "optimizer", "all")
MODES = list(RECOMPUTE)
MODELS = ["llama-3.1-70b", "qwen3-30b-a3b", "deepseek-v3"]


@pytest.fixture(params=MODELS)
def scenario(request, node_pool, workload, stack):
    """Responses differ in length."""
    work = workload.model_copy(update={"response_tokens": TokenLengths(mean=600.5, maximum=1024)})
    return Scenario(
        name="many",
        algorithm={"name": "ppo"},
        models=dict.fromkeys(PPO.roles, read_model(request.param)),
        cluster={"node_pools": [node_pool]},
        workload=work,
        stack=stack,
    )


def random_pairs(scenario, count, *, seed=0):
    """Training layouts with generation sizes that divide theirs."""
    generator = np.random.default_rng(seed)
    pipeline, tensor = generator.choice([1, 2, 3, 4, 8], count), generator.choice([1, 2, 4, 8], count)
    data, context = generator.integers(1, 20, count), generator.choice([1, 2, 4], count)
    moe = scenario.models["actor"].moe
    expert = np.gcd(generator.choice([2, 4, 32], count), data * context) if moe else np.ones(count, dtype=int)
    layouts = Configurations(
        pipeline=pipeline,
        tensor=tensor,
        data=data,
        virtual=generator.integers(1, 4, count),
        context=context,
        expert=expert,
        micro_batch=generator.integers(1, 33, count),
        recompute=generator.integers(0, 3, count),
        micro_batch_tokens=generator.choice([0, 3000, 4096], count),
    )
    to_pipeline, to_tensor = np.gcd(pipeline, 4), np.gcd(tensor, generator.choice([1, 2, 8], count))
    generations = Generations(
        pipeline=to_pipeline,
        tensor=to_tensor,
        replicas=pipeline * tensor * data * context // (to_pipeline * to_tensor),
        max_sequences=generator.integers(1, 300, count),
        cache_tokens=generator.choice([0, 5000, 90_000], count),
    )
    return Syncs(train=layouts, generate=generations)


def strategy(pairs, row, *, offload, role="actor"):
    layouts = pairs.train
    layout = ParallelStrategy(
        **{name: int(getattr(layouts, name)[row]) for name in ParallelStrategy.model_fields}
    )
    return RoleStrategy(
        train=layout if role != "reward" else None,
        infer=layout if role == "reward" else None,
        generate=pairs.generate.one(row) if role == "actor" else None,
        micro_batch=int(layouts.micro_batch[row]),
        micro_batch_tokens=int(layouts.micro_batch_tokens[row]) or None,
        recompute=MODES[layouts.recompute[row]] if role != "reward" else "none",
        offload=offload,
    )


def assert_equal(costs, table, role, strategies, node_pool, *, generating=False):
    """The table's entries against the same strategies one by one."""
    calls = [call for call in PPO.calls_of(role) if (call.kind == "generate") == generating]
    for row, each in enumerate(strategies):
        memory = costs.memory(role, each, node_pool)
        for call in calls:
            expected = costs.call(call, each, node_pool).seconds
            assert table.seconds[call.name][row] == pytest.approx(expected, rel=1e-12)
        peaks = [sum(memory.transient[call.name].values()) for call in calls]
        assert table.transient[row] == max(peaks)
        if not generating:
            assert (table.persistent[row], table.host[row]) == (memory.persistent_bytes, memory.host)


@pytest.mark.parametrize("role", ["actor", "critic", "reward"])
def test_layouts_cost_what_each_does_alone(scenario, node_pool, role):
    costs, pairs = CostModel(scenario, PPO), random_pairs(scenario, 30)
    rows = pairs.train
    if role == "reward":
        rows = replace(rows, virtual=np.ones(30, dtype=int))
        pairs = replace(pairs, train=rows)
    tables = costs.layouts(role, rows, node_pool, offloads=OFFLOADS)
    for offload, table in zip(OFFLOADS, tables, strict=True):
        if role != "reward" or offload != "optimizer":
            each = [strategy(pairs, row, offload=offload, role=role) for row in range(30)]
            assert_equal(costs, table, role, each, node_pool)


@pytest.mark.parametrize("offload", ["none", "all"])
def test_generation_costs_what_each_pair_does_alone(scenario, node_pool, offload):
    costs, pairs = CostModel(scenario, PPO), random_pairs(scenario, 60)
    (table,) = costs.generations("actor", pairs, node_pool, offloads=[offload])
    each = [strategy(pairs, row, offload=offload) for row in range(60)]
    assert_equal(costs, table, "actor", each, node_pool, generating=True)


@pytest.mark.parametrize("offload", ["none", "all"])
def test_what_generates_with_the_training_weights_holds_them_for_the_whole_call(scenario, node_pool, offload):
    """Beside its cache and working set, where they lie in host memory else."""
    engine = scenario.stack.generation.model_copy(update={"resharding": "none"})
    stack = scenario.stack.model_copy(update={"generation": engine})
    own = scenario.model_copy(update={"stack": stack})
    costs, pairs = CostModel(own, PPO), random_pairs(own, 30)
    (table,) = costs.generations("actor", pairs, node_pool, offloads=[offload])
    each = [strategy(pairs, row, offload=offload) for row in range(30)]
    assert_equal(costs, table, "actor", each, node_pool, generating=True)
    for row in each:
        generating = costs.memory("actor", row, node_pool).transient["actor.generate"]
        assert ("parameters" in generating) == (offload == "all")
        assert generating["kv_cache"] > 0


def test_a_role_that_only_generates_keeps_its_weights_and_reshards_nothing(scenario, node_pool):
    costs, rows = CostModel(scenario, PPO), random_pairs(scenario, 30).generate
    table = costs.generators("actor", rows, node_pool)
    (call,) = [call for call in PPO.calls_of("actor") if call.kind == "generate"]
    for row in range(30):
        alone = RoleStrategy(generate=rows.one(row))
        predicted = costs.call(call, alone, node_pool)
        assert predicted.reshard_seconds == 0
        assert table.seconds[call.name][row] == pytest.approx(predicted.seconds, rel=1e-12)
        assert table.transient[row] == sum(costs.transient_bytes(call, alone, node_pool).values())
        pairs = Syncs(train=random_pairs(scenario, 30).train, generate=rows)
        (resharded,) = costs.generations("actor", pairs, node_pool)
        assert table.persistent[row] + table.transient[row] == resharded.transient[row]


def test_weights_that_come_back_may_be_the_peak_of_a_sync(scenario, node_pool):
    """A cache of few tokens is smaller than the training weights of one device."""
    costs, pairs = CostModel(scenario, PPO), random_pairs(scenario, 1)
    one = np.ones(1, dtype=int)
    layouts = replace(pairs.train, pipeline=one, tensor=one, context=one, expert=one, data=one)
    generations = Generations(
        pipeline=one, tensor=one, replicas=one, max_sequences=one, cache_tokens=2048 * one
    )
    pairs = Syncs(train=layouts, generate=generations)
    there, away = costs.generations("actor", pairs, node_pool, offloads=["none", "all"])
    assert away.transient[0] > there.transient[0]


def measured(call, each, scenario, *, seconds):
    return MeasuredCall(
        role=call.role,
        model=scenario.models[call.role].name,
        kind=call.kind,
        method=call.method,
        strategy=each,
        samples=scenario.workload.samples,
        prompt_tokens=scenario.workload.prompt_tokens.mean,
        response_tokens=scenario.workload.response_tokens.mean,
        seconds=seconds,
        reshard_seconds=seconds / 4 if call.kind == "generate" else 0.0,
        repeats=3,
    )


@pytest.mark.parametrize("offload", ["none", "all"])
def test_measured_strategies_take_their_seconds_and_others_the_factor(scenario, node_pool, offload):
    pairs = random_pairs(scenario, 20)
    rows = [strategy(pairs, row, offload=offload) for row in range(20)]
    calls = PPO.calls_of("actor")
    profile = Profile(
        device=node_pool.device,
        processes=8,
        calls=tuple(measured(call, rows[at], scenario, seconds=17.0 + at) for call in calls for at in (3, 5)),
        versions={},
        date="2025-01-01",
    )
    costs = CostModel(scenario, PPO, profiles=[profile])
    layouts = costs.layouts("actor", pairs.train, node_pool, offloads=[offload])[0]
    (generations,) = costs.generations("actor", pairs, node_pool, offloads=[offload])
    assert_equal(costs, layouts, "actor", rows, node_pool)
    assert_equal(costs, generations, "actor", rows, node_pool, generating=True)
    for call in calls:
        table = generations if call.kind == "generate" else layouts
        assert table.seconds[call.name][3] == 20.0
        assert table.seconds[call.name][5] == 22.0


def test_columns_of_different_lengths_are_refused():
    columns = {field.name: np.ones(3, dtype=int) for field in fields(Generations)}
    with pytest.raises(SpecError, match=r"replicas \(2,\)"):
        Generations(**{**columns, "replicas": np.ones(2, dtype=int)})

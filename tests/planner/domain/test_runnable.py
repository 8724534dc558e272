from collections.abc import Iterator

import pytest

from planner.domain.algorithm import RemaxOptions
from planner.domain.capabilities import Capabilities
from planner.domain.job import Rollouts
from planner.domain.model import MlaSpec, MoeSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import Plan, RoleStrategy
from planner.domain.runnable import plan_refusals, scenario_refusals, strategy_refusals
from planner.domain.scenario import Scenario, Service
from planner.domain.workload import Turns
from tests.runtime.plans import tiny_plan

EVERYTHING = Capabilities(
    algorithms=("remax",),
    families=("gpt",),
    precisions=("fp8",),
    rope_types=("yarn",),
    staleness=8,
    **{name: True for name, field in Capabilities.model_fields.items() if field.annotation is bool},
)


@pytest.fixture(scope="module")
def wish() -> Plan:
    """A plan that asks for everything that a capability can deny."""
    plan = tiny_plan({("actor", "critic", "reference", "reward"): ParallelStrategy(tensor=2, data=2)})
    (pool,) = plan.pools
    pools = (
        pool.model_copy(update={"roles": ("actor",), "ahead": {"actor.generate": 1}}),
        pool.model_copy(update={"roles": ("generator",), "node_pool": "elsewhere"}),
    )
    generator = RoleStrategy(generate=GenerationStrategy(replicas=1, max_sequences=8))
    strategies = {"actor": WISHED, "generator": generator}
    return plan.model_copy(
        update={"scenario": wished(plan.scenario), "pools": pools, "strategies": strategies}
    )


WISHED = RoleStrategy(
    train=ParallelStrategy(pipeline=2, tensor=2, data=8, context=2, expert=2, virtual=2),
    generate=GenerationStrategy(pipeline=2, replicas=32, max_sequences=1, cache_tokens=16),
    recompute="selective",
    offload="all",
    micro_batch_tokens=64,
)


def wished(scenario: Scenario) -> Scenario:
    """The scenario with an algorithm, a model and work that no runtime has to know."""
    model = {
        "family": "gpt",
        "layers": 4,
        "moe": MoeSpec(experts=8, experts_per_token=2, expert_ffn=64),
        "mla": MlaSpec(kv_rank=16, nope_dim=16, rope_dim=16, value_dim=32),
        "rope_type": "yarn",
        "vocab": 63,
    }
    turns = Turns(count=2, wait="1 s")
    work = {"resampling": 1.5, "pretraining_tokens": 64.0, "turns": turns}
    return scenario.model_copy(
        update={
            "algorithm": RemaxOptions(),
            "models": {"actor": scenario.models["actor"].model_copy(update=model)},
            "precision": "fp8",
            "staleness": 2,
            "services": {"reward": Service(seconds_per_sample="1 s")},
            "workload": scenario.workload.model_copy(update=work),
            "rollouts": Rollouts(balance="queue", carry=0.5),
        }
    )


def refusals(can: Capabilities, plan: Plan) -> Iterator[str]:
    yield from scenario_refusals(can, plan.scenario)
    yield from plan_refusals(can, plan)
    for role, strategy in plan.strategies.items():
        yield from strategy_refusals(can, plan.scenario, role, strategy)


def test_a_runtime_that_can_do_everything_refuses_nothing(wish: Plan) -> None:
    assert list(refusals(EVERYTHING, wish)) == []


@pytest.mark.parametrize("name", list(Capabilities.model_fields))
def test_what_a_runtime_cannot_do_is_refused_for_that_reason_alone(wish: Plan, name: str) -> None:
    lesser = EVERYTHING.model_copy(update={name: getattr(LEAST, name)})
    found = list(refusals(lesser, wish))
    assert found
    assert all(any(word in refusal for word in WORDS.get(name, (name,))) for refusal in found)


LEAST = Capabilities(algorithms=("ppo",), families=("llama",), precisions=("fp32",))
WORDS = {
    "algorithms": ("algorithm: 'remax'",),
    "families": ("family='gpt'",),
    "precisions": ("precision: 'fp8'",),
    "rope_types": ("rope_type='yarn'",),
    "selective": ("recompute='selective'",),
    "token_budgets": ("micro_batch_tokens=64",),
    "padding": ("vocab=63",),
    "empty_replicas": ("replicas",),
    "generation_pipeline": ("pipeline=2",),
    "node_pools": ("several node pools",),
    "pretraining": ("pretraining_tokens",),
}
"""What a refusal says where it is not the capability's own name."""


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ("p1t1d1v2", "virtual=2 interleaves pipeline stages"),
        ("p1t1d2e4", "expert=4 does not divide data x context = 2"),
        ("p2t1d1v4", "8 chunks exceed layers=4"),
        ("p1t1d3e3", "expert=3 does not divide moe.experts=8"),
        ("p1t3d1", "tensor=3 does not divide moe.expert_ffn=64"),
        ("p2t1d1c2", "only where those are spread"),
    ],
)
def test_sizes_that_do_not_fit_each_other_are_refused_whatever_the_runtime(
    wish: Plan, layout: str, reason: str
) -> None:
    strategy = RoleStrategy(train=ParallelStrategy.parse(layout))
    (found,) = strategy_refusals(EVERYTHING, wish.scenario, "actor", strategy)
    assert reason in found

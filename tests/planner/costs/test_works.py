"""What calls cost that compute something else than all samples once."""

import numpy as np
import pytest

from planner.algorithms import ALGORITHMS, trace
from planner.costs import CostModel
from planner.costs.arrays.generation_table import Generations
from planner.costs.arrays.sync_table import Syncs
from planner.costs.arrays.table import Configurations
from planner.costs.services import service_seconds
from planner.domain.catalog import read_model
from planner.domain.cluster import Cluster, NodePool
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.scenario import Scenario, Service
from planner.domain.stack import Stack
from planner.domain.workload import Workload

LAYOUT = ParallelStrategy(tensor=8, data=2)
ACTOR = RoleStrategy(
    train=LAYOUT, generate=GenerationStrategy(tensor=2, replicas=8, max_sequences=64), micro_batch=2
)
REWARD = RoleStrategy(infer=LAYOUT, micro_batch=4)
WORK = Workload(
    prompts=256, samples_per_prompt=4, prompt_tokens=512, response_tokens=512, mini_batches=4, resampling=1.0
)


@pytest.fixture(scope="module")
def scenario_of(node_pool: NodePool, stack: Stack):
    def make(algorithm: str, **work: float) -> Scenario:
        graph = trace(ALGORITHMS[algorithm], name=algorithm)
        return Scenario(
            name="works",
            algorithm={"name": algorithm},
            models=dict.fromkeys(graph.roles, read_model("llama-2-7b")),
            cluster=Cluster(node_pools=(node_pool,)),
            workload=WORK.model_copy(update=work),
            stack=stack,
        )

    return make


def seconds(scenario: Scenario, call: str) -> float:
    graph = trace(ALGORITHMS[scenario.algorithm.name], name=scenario.algorithm.name)
    costs, node_pool = CostModel(scenario, graph), scenario.cluster.node_pools[0]
    strategy = ACTOR if call.startswith("actor") else REWARD
    return costs.call(graph.call(call), strategy, node_pool).seconds


def tabled_seconds(scenario: Scenario, role: str) -> dict[str, float]:
    """Of each of the role's calls, from its tables."""
    graph = trace(ALGORITHMS[scenario.algorithm.name], name=scenario.algorithm.name)
    costs, node_pool = CostModel(scenario, graph), scenario.cluster.node_pools[0]
    strategy = ACTOR if role == "actor" else REWARD
    sizes = strategy.layout.model_dump() | {"micro_batch": strategy.micro_batch, "recompute": 0}
    rows = Configurations(**{name: np.array([size]) for name, size in sizes.items()})
    tables = costs.layouts(role, rows, node_pool)
    if strategy.generate:
        sizes = strategy.generate.model_dump() | {"cache_tokens": 0}
        generate = Generations(**{name: np.array([size]) for name, size in sizes.items()})
        tables += costs.generations(role, Syncs(train=rows, generate=generate), node_pool)
    return {name: float(column[0]) for table in tables for name, column in table.seconds.items()}


def test_remax_decodes_and_scores_one_greedy_response_per_prompt(scenario_of) -> None:
    several, single = scenario_of("remax"), scenario_of("remax", samples_per_prompt=1)
    assert seconds(several, "actor.generate#2") == seconds(single, "actor.generate")
    assert seconds(several, "reward.baselines") == seconds(single, "reward.scores")
    assert seconds(several, "reward.baselines") < seconds(several, "reward.scores")
    assert seconds(several, "actor.generate") == seconds(scenario_of("grpo"), "actor.generate")


def test_dapo_generates_and_scores_what_it_drops_and_does_not_train_on_it(scenario_of) -> None:
    dropping, keeping = scenario_of("dapo", resampling=1.5), scenario_of("dapo")
    more = scenario_of("dapo", prompts=384)
    for call in ("actor.generate", "reward.scores"):
        assert seconds(dropping, call) == seconds(more, call) > seconds(keeping, call)
    assert seconds(dropping, "actor.update") == seconds(keeping, "actor.update")


def test_the_safe_update_learns_from_as_many_pretraining_tokens_as_it_is_told(scenario_of) -> None:
    equal, none = scenario_of("safe_rlhf"), scenario_of("safe_rlhf", pretraining_tokens=0.0)
    update = "actor.update"
    assert seconds(none, update) == seconds(scenario_of("ppo"), update)
    assert seconds(equal, update) == seconds(scenario_of("ppo", prompts=512), update)
    half = scenario_of("safe_rlhf", pretraining_tokens=WORK.total_tokens / 2)
    assert seconds(none, update) < seconds(half, update) < seconds(equal, update)


def test_the_safe_cost_model_costs_what_the_reward_model_does(scenario_of) -> None:
    scenario = scenario_of("safe_rlhf")
    assert seconds(scenario, "cost.costs") == seconds(scenario, "reward.scores")


def test_samples_of_one_prompt_share_its_prefill(scenario_of) -> None:
    grouped = seconds(scenario_of("grpo", prompts=64, samples_per_prompt=16), "actor.generate")
    assert grouped < seconds(scenario_of("grpo", prompts=1024, samples_per_prompt=1), "actor.generate")


@pytest.mark.parametrize(
    ("algorithm", "work"), [("remax", {}), ("dapo", {"resampling": 1.5}), ("safe_rlhf", {})]
)
def test_tables_have_each_call_at_the_cost_of_its_own_work(scenario_of, algorithm, work) -> None:
    scenario = scenario_of(algorithm, **work)
    graph = trace(ALGORITHMS[algorithm], name=algorithm)
    for role in ("actor", "reward"):
        expected = {call.name: seconds(scenario, call.name) for call in graph.calls_of(role)}
        assert tabled_seconds(scenario, role) == pytest.approx(expected, rel=1e-12)


def test_a_service_works_on_so_many_samples_at_once(scenario_of) -> None:
    judge = Service(seconds_per_sample="3 s", concurrency=100)
    graph = trace(ALGORITHMS["remax"], name="remax")
    scenario = scenario_of("remax").model_copy(update={"services": {"reward": judge}})
    assert service_seconds(scenario, graph.call("reward.scores")) == 11 * 3.0
    assert service_seconds(scenario, graph.call("reward.baselines")) == 3 * 3.0

import pytest

from planner.algorithms import ALGORITHMS, asynchronous, trace
from planner.algorithms.trace import METHODS
from planner.costs.sync.crossing import (
    SAMPLE_BYTES,
    TOKEN_BYTES,
    crossing_bytes,
    crossing_seconds,
    crossings,
    link_loads,
)
from planner.domain.catalog import read_model
from planner.domain.scenario import Scenario

PPO = trace(ALGORITHMS["ppo"], name="ppo")
GRAPH = asynchronous(PPO, 1)


@pytest.fixture
def scenario(node_pool, workload, stack):
    pools = [node_pool, node_pool.model_copy(update={"name": "other"})]
    return Scenario(
        name="two",
        algorithm={"name": "ppo"},
        models=dict.fromkeys(PPO.roles, read_model("llama-2-7b")),
        cluster={"node_pools": pools, "between": {"bandwidth": "1 GB/s", "latency": "1 ms"}},
        workload=workload,
        stack=stack,
        staleness=1,
    )


def wait(graph, source, target):
    return next(each for each in graph.dependences if (each.source, each.target) == (source, target))


def test_every_field_between_calls_has_a_size():
    written = {field for method in METHODS.values() for field in method.writes}
    assert written == set(TOKEN_BYTES) | set(SAMPLE_BYTES)


def test_responses_cross_as_token_ids_and_masks(scenario):
    rollout = wait(PPO, "actor.generate", "critic.values")
    assert crossing_bytes(scenario, PPO, rollout) == 1024 * 2048 * (8 + 1)
    assert crossing_seconds(scenario, PPO, rollout) == pytest.approx(1e-3 + 1024 * 2048 * 9 / 1e9)


def test_scores_cross_as_one_number_per_sample(scenario):
    assert crossing_bytes(scenario, PPO, wait(PPO, "reward.scores", "controller.advantages")) == 1024 * 4


def test_greedy_responses_are_one_per_prompt(scenario):
    remax = trace(ALGORITHMS["remax"], name="remax")
    work = scenario.workload.model_copy(update={"samples_per_prompt": 4})
    many = scenario.model_copy(update={"workload": work})
    greedy = wait(remax, "actor.generate#2", "reward.baselines")
    assert crossing_bytes(many, remax, greedy) == crossing_bytes(scenario, remax, greedy)


def test_all_weights_cross_between_a_send_and_its_receive(scenario):
    weights = wait(GRAPH, "actor.send", "generator.receive")
    assert crossing_bytes(scenario, GRAPH, weights) == 2 * scenario.models["actor"].parameters()


def test_only_what_leaves_a_node_pool_crosses(scenario):
    homes = dict.fromkeys(GRAPH.roles, "pool")
    assert crossings(scenario, GRAPH, homes) == {}
    apart = crossings(scenario, GRAPH, homes | {"generator": "other"})
    assert {(each.source, each.target) for each in apart} == {
        ("generator.generate", "critic.values"),
        ("generator.generate", "reference.logprobs"),
        ("generator.generate", "reward.scores"),
        ("generator.generate", "critic.update"),
        ("generator.generate", "actor.update"),
        ("actor.send", "generator.receive"),
    }
    assert all(seconds > 1e-3 for seconds in apart.values())


def test_all_that_crosses_in_one_direction_loads_one_link(scenario):
    """Prompts, responses and what the update reads go one way, the weights the other."""
    homes = dict.fromkeys(GRAPH.roles, "pool") | {"generator": "other"}
    away = crossings(scenario, GRAPH, homes)
    weights_s = away[wait(GRAPH, "actor.send", "generator.receive")]
    assert link_loads(GRAPH, away, homes) == {
        ("other", "pool"): pytest.approx(sum(away.values()) - weights_s),
        ("pool", "other"): weights_s,
    }
    assert link_loads(GRAPH, away, dict.fromkeys(GRAPH.roles, "pool")) == {}

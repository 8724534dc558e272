"""Keys that are right each by itself: what is said where they are wrong together."""

from pathlib import Path
from typing import Any

import pytest

from planner.algorithms import dataflow_of
from planner.domain.contradictions import check_roles
from planner.domain.dataflow import DataflowGraph
from planner.domain.reading import parse_scenario
from planner.domain.scenario import Scenario
from planner.domain.text import load_yaml
from planner.errors import SpecError

TEMPLATE = Path(__file__).parents[3] / "scenarios" / "template.yaml"
JUDGE = {"seconds_per_sample": "2 s", "concurrency": 64}


def value_with(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = load_yaml(TEMPLATE)
    return {**value, **changes}


def read(value: dict[str, Any]) -> tuple[Scenario, DataflowGraph]:
    scenario = parse_scenario(value, where="file", relative_to=Path())
    graph = dataflow_of(scenario)
    check_roles(scenario, graph, where="file")
    return scenario, graph


def mistakes_of(**changes: Any) -> list[str]:
    """The lines of a scenario's mistakes, without the file's name."""
    with pytest.raises(SpecError) as caught:
        read(value_with(**changes))
    lines = str(caught.value).splitlines()
    assert all(line.startswith("file: ") for line in lines)
    return [line.removeprefix("file: ") for line in lines]


def models_of(*roles: str) -> dict[str, str]:
    return dict.fromkeys(roles, "qwen2.5-7b")


def test_pins_of_what_a_role_does_not_have_are_named_at_once() -> None:
    pins = {
        "reward.train.tensor": 1,
        "critic.generate.tensor": 1,
        "generator.train.tensor": 1,
        "critic.node_pool": "h10",
        "generator.generate.tensor": 2,
        "actor.generate.tensor": 2,
    }
    assert mistakes_of(pin=pins, staleness=1) == [
        "pin.reward.train.tensor: reward has no 'train' layout, only infer",
        "pin.critic.generate.tensor: critic has no 'generate' layout, only train",
        "pin.generator.train.tensor: generator has no 'train' layout, only generate",
        "pin.critic.node_pool: no node pool 'h10'; did you mean 'h100'? (there are h100)",
    ]


GROUPS = {"prompts": 64, "samples_per_prompt": 8, "prompt_tokens": 512, "response_tokens": 512}
PPO = ("actor", "critic", "reference", "reward")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"within": "0 s"}, "within: input should be greater than 0"),
        ({"within": "ten"}, "within: 'ten' is not a time such as '50 s' or '2 min'"),
        ({"within": 50}, "within: 50 has no unit; write for instance '50 s'"),
        ({"within": "1e308 s"}, "within: input should be less than or equal to 1000000000"),
        ({"colocate": [[]]}, "colocate[0]: names nothing; name two or more roles, each once"),
        ({"colocate": [["actor"]]}, "colocate[0]: names actor; name two or more roles, each once"),
        ({"apart": [["actor", "actor"]]}, "apart[0]: names actor, actor; name two or more roles, each once"),
        ({"maximum_devices": 0}, "maximum_devices: input should be greater than or equal to 1, found 0"),
        ({"staleness": -1}, "staleness: input should be greater than or equal to 0, found -1"),
        ({"staleness": 9}, "staleness: input should be less than or equal to 8, found 9"),
        ({"minimise": "money"}, "minimise: input should be 'seconds', 'tokens_per_second', 'dollars' or"),
        ({"time_model": "exact"}, "time_model: input should be 'period' or 'stage', found 'exact'"),
        ({"capabilities": "vllm"}, "capabilities: 'vllm' is not known; write runtime, or its fields"),
        (
            {"minimise": "dollars"},
            "cluster.node_pools[0].price: missing; minimise: dollars needs what a device-hour of",
        ),
        (
            {"pin": {"generator.devices": 8}},
            "pin.generator.devices: generator is a role of its own only with staleness: 1 or more",
        ),
        (
            {"apart": [["actor", "rewards"]]},
            "apart[0]: names the role 'rewards', which has no model; did you mean 'reward'?",
        ),
        (
            {"capabilities": "runtime", "rollouts": {"balance": "queue"}},
            "capabilities: rollouts.balance: 'queue' is not run yet, only 'split' is; change it, or plan "
            "without",
        ),
        (
            {"capabilities": "runtime", "precision": "fp8"},
            "capabilities: precision: 'fp8' is not run yet, only bf16, fp32 are",
        ),
        (
            {
                "capabilities": "runtime",
                "workload": {"prompts": 8, "prompt_tokens": 100, "response_tokens": 131072},
            },
            "capabilities: models.actor: llama-3.1-8b: maximum_tokens=131172 exceeds max_positions=131072",
        ),
        ({"pin": {"actor.recompute": "half"}}, "pin: actor.recompute must be one of none, selective, full"),
        ({"pin": {"actor.train": "p0t1d1"}}, "pin: actor.train: each size of 'p0t1d1' must be a whole"),
    ],
)
def test_one_contradiction_one_line(changes: dict[str, Any], expected: str) -> None:
    (line,) = mistakes_of(**changes)
    assert line.startswith(expected)


@pytest.mark.parametrize("algorithm", ["grpo", "rloo", "dapo"])
def test_algorithms_that_compare_the_samples_of_a_prompt_need_two(algorithm: str) -> None:
    roles = ("actor", "reward") if algorithm == "dapo" else ("actor", "reference", "reward")
    (line,) = mistakes_of(algorithm=algorithm, models=models_of(*roles))
    assert line == (
        f"workload.samples_per_prompt: {algorithm} compares the samples of a prompt; give at least 2"
    )


def test_a_buffer_that_is_no_part_of_the_response_is_refused() -> None:
    algorithm = {"name": "dapo", "overlong_buffer": 512}
    (line,) = mistakes_of(algorithm=algorithm, models=models_of("actor", "reward"), workload=GROUPS)
    assert line.startswith("algorithm.overlong_buffer: 512 tokens leave nothing of workload.response_tokens")


def test_a_steered_penalty_never_becomes_a_reward() -> None:
    """An iteration of 16 responses takes 0.2 x 16 / 3 off, all of it and more, but only 0.8 with 4."""
    workload = {**GROUPS, "prompts": 2, "samples_per_prompt": 8}
    algorithm = {"name": "ppo", "kl_target": 0.1, "kl_horizon": 3}
    (line,) = mistakes_of(algorithm=algorithm, workload=workload)
    assert line.startswith("algorithm.kl_horizon: 3 responses: an iteration of 16 could take more than the")
    assert line.endswith("write at least 4")
    read(value_with(algorithm=algorithm | {"kl_horizon": 4}, workload=workload))


def test_work_that_the_algorithm_has_no_use_for_is_refused() -> None:
    workload = {**GROUPS, "resampling": 1.5, "pretraining_tokens": 1000}
    assert mistakes_of(workload=workload) == [
        "workload.resampling: ppo drops no samples; drop this key",
        "workload.pretraining_tokens: ppo learns from no pretraining data; drop this key",
    ]


def test_every_role_has_a_model_or_a_service_and_all_mistakes_come_at_once() -> None:
    services = {"reward": JUDGE, "critic": JUDGE, "judge": JUDGE}
    assert mistakes_of(models=models_of("actor", "reward", "cost"), services=services) == [
        "services.critic: ppo trains it or generates with it; only a model can do that",
        "models.reference: missing; ppo needs it, or a service in its place",
        "services.reward: has a model as well; drop one of the two",
        "models.cost: not a role of ppo (roles: actor, critic, reference, reward)",
        "services.judge: not a role of ppo (roles: actor, critic, reference, reward)",
    ]


def test_a_reference_is_needed_for_a_divergence_only() -> None:
    free = {"name": "grpo", "kl_loss_coefficient": 0}
    _, graph = read(value_with(algorithm=free, models=models_of("actor", "reward"), workload=GROUPS))
    assert "reference" not in graph.roles
    models = models_of("actor", "reference", "reward")
    _, graph = read(value_with(algorithm=free, models=models, workload=GROUPS))
    assert "reference" in graph.roles
    (line,) = mistakes_of(algorithm="grpo", models=models_of("actor", "reward"), workload=GROUPS)
    assert line == "models.reference: missing; grpo needs it, or a service in its place"


def test_a_service_takes_no_devices() -> None:
    models = models_of("actor", "critic", "reference")
    (line,) = mistakes_of(models=models, services={"reward": JUDGE}, pin={"reward.devices": 2})
    assert line.startswith("pin.reward.devices: reward is a service and takes no devices")
    _, graph = read(value_with(models=models, services={"reward": JUDGE}))
    assert graph.roles == ("actor", "critic", "reference")
    assert [call.name for call in graph.service_calls] == ["reward.scores"]
    assert "reward.scores" in [call.name for call in graph.stages[1]]


@pytest.mark.parametrize("price", [0, 1e-7, 1e13, -1])
def test_a_price_is_one_that_can_be_counted_in_micro_dollars(price: float) -> None:
    value = value_with()
    value["cluster"]["node_pools"][0]["price"] = price
    (line,) = mistakes_of(**value)
    assert line.startswith(
        "cluster.node_pools[0].price: a price is dollars per device-hour from 0.001 to 1,000,000, such as 2.5"
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("network", {"bandwidth": "1e-300 B/s", "latency": "1 us"}),
        ("network", {"bandwidth": "1 GB/s", "latency": "1e308 s"}),
        ("host_memory", "1e300 B"),
        ("oversubscription", 1e308),
    ],
)
def test_no_hardware_is_beyond_what_can_be_computed_with(key: str, value: Any) -> None:
    scenario = value_with()
    scenario["cluster"]["node_pools"][0][key] = value
    (line,) = mistakes_of(**scenario)
    assert line.startswith(f"cluster.node_pools[0].{key}")
    assert "input should be" in line


def test_every_demand_is_read() -> None:
    value = value_with(
        minimise="dollars",
        within="90 s",
        time_model="stage",
        staleness=2,
        maximum_devices=8,
        pin={"actor.train": "p1t4d2c2", "generator.generate.tensor": 2},
    )
    value["cluster"]["between"] = {"bandwidth": "25 GB/s", "latency": "20 us"}
    value["cluster"]["node_pools"][0] |= {"price": 2.5, "host_memory": "2 TiB"}
    scenario, _ = read(value)
    (node_pool,) = scenario.cluster.node_pools
    assert (scenario.minimise, scenario.within, scenario.time_model) == ("dollars", 90.0, "stage")
    assert (scenario.staleness, scenario.maximum_devices) == (2, 8)
    assert (node_pool.price, node_pool.host_memory_per_device) == (2.5, 2**38)
    assert scenario.cluster.crossing.bandwidth == 25e9
    assert scenario.pin.model_dump()["actor.train.context"] == 2


def test_growth_that_leaves_less_than_a_token_is_refused() -> None:
    workload = {"prompts": 64, "prompt_tokens": 100, "response_tokens": {"mean": 40, "maximum": 80}}
    job = {"iterations": 10, "growth": {"factor": 0.02}}
    assert mistakes_of(workload=workload, job=job) == [
        "job.growth.factor: 0.02 leaves 0.8 tokens of a response that has 40 on average; write a factor from "
        "0.025 on"
    ]
    read(value_with(workload=workload, job={"iterations": 10, "growth": {"factor": 0.025}}))

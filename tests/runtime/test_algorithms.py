"""Every algorithm trains on the quickstart's task, for real, and what it is to raise rises."""

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from planner.domain.algorithm import AlgorithmOptions
from planner.domain.plan import Plan
from planner.domain.reading import read_scenario
from planner.domain.run import RewardFunctionSettings
from planner.domain.scenario import Scenario, Service
from planner.domain.workload import Workload
from runtime.execution import run
from runtime.session import KeptProcesses
from runtime.trials import trial_plans
from tests.runtime.plans import QUICKSTART

HERE = Path(__file__).parent
ITERATIONS = 14
OPTIONS = {
    "ppo": {"kl_coefficient": 0.02},
    "remax": {"kl_coefficient": 0.02},
    "safe_rlhf": {"kl_coefficient": 0.02, "pretraining_coefficient": 0.1, "multiplier_learning_rate": 0.2},
    "grpo": {"kl_loss_coefficient": 0.01},
    "dr_grpo": {},
    "rloo": {"kl_coefficient": 0.02},
    "reinforce_plus_plus": {},
    "dapo": {"overlong_buffer": 8, "maximum_rounds": 3},
    "gspo": {},
}
RATES = {"gspo": 1e-3, "dr_grpo": 1e-3}


def plan_of(name: str, *, seed: int, folder: Path, **workload: object) -> Plan:
    """All roles on two devices; scores come from the quickstart's rule."""
    base = read_scenario(QUICKSTART.with_name("quickstart-grpo.yaml"))
    policy = base.models["actor"]
    models = {"actor": policy, "reference": policy}
    services = dict(base.services)
    settings = {"seed": seed, "actor_learning_rate": RATES.get(name, 3e-4), "critic_learning_rate": 1e-3}
    sizes = {
        "prompts": 16,
        "samples_per_prompt": 4,
        "prompt_tokens": base.workload.prompt_tokens,
        "response_tokens": base.workload.response_tokens,
        "mini_batches": 2,
        **workload,
    }
    if name in ("ppo", "safe_rlhf"):
        models["critic"] = policy
    if name in ("dapo", "dr_grpo", "gspo"):
        del models["reference"]
    if name == "dapo":
        sizes["resampling"] = 1.25
    if name == "safe_rlhf":
        services["cost"] = Service(seconds_per_sample="50 us")
        settings["cost_function"] = RewardFunctionSettings(
            path=str(HERE / "costs_of_words.py"), name="compute_cost"
        )
        settings["pretraining"] = (str(_texts(folder)),)
        sizes["pretraining_tokens"] = 400.0
    options = TypeAdapter(AlgorithmOptions).validate_python({"name": name, **OPTIONS[name]})
    scenario = Scenario.model_validate(
        {
            **base.model_dump(),
            "name": name,
            "algorithm": options,
            "models": models,
            "services": services,
            "workload": Workload(**sizes),
            "pin": {},
            "cluster": _two_devices(base),
            "run": base.run.model_copy(update=settings),
        }
    )
    (plan,) = trial_plans(scenario, layouts=(), count=1)
    return plan.model_copy(update={"scenario": scenario})


def _two_devices(scenario: Scenario) -> object:
    (pool,) = scenario.cluster.node_pools
    return scenario.cluster.model_copy(
        update={"node_pools": (pool.model_copy(update={"devices_per_node": 2}),)}
    )


def _texts(folder: Path) -> Path:
    path = folder / "texts.jsonl"
    prompts = (QUICKSTART.parent / "quickstart" / "prompts.jsonl").read_text().splitlines()
    texts = [json.loads(line)["prompt"][0]["content"] for line in prompts[:64]]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


@pytest.fixture(scope="module")
def kept():
    with KeptProcesses() as processes:
        yield processes


def lines_of(plan: Plan, folder: Path, kept: KeptProcesses, *, iterations: int) -> list[dict[str, float]]:
    run(plan, out=folder / "run", iterations=iterations, kept=kept)
    return [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]


def mean(lines: list[dict[str, float]], name: str) -> float:
    return sum(line[name] for line in lines) / len(lines)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", OPTIONS)
def test_the_score_rises(name: str, seed: int, tmp_path: Path, kept: KeptProcesses) -> None:
    lines = lines_of(plan_of(name, seed=seed, folder=tmp_path), tmp_path, kept, iterations=ITERATIONS)
    first, last = mean(lines[:3], "critic/score/mean"), mean(lines[-3:], "critic/score/mean")
    print(f"{name} seed {seed}: {first:.3f} to {last:.3f}")
    assert last > first + 0.1
    assert all(0 < line["reshard/logprob_difference_max"] < 1e-4 for line in lines)


@pytest.mark.parametrize("name", ["safe_rlhf", "dapo"])
def test_an_iteration_of_each_kind_of_dataflow_runs(name: str, tmp_path: Path, kept: KeptProcesses) -> None:
    """A cost, a multiplier and pretraining; candidates that are dropped."""
    lines = lines_of(plan_of(name, seed=0, folder=tmp_path, prompts=6), tmp_path, kept, iterations=2)
    assert len(lines) == 2
    assert all(abs(line["actor/pg_loss"]) < 100 and line["actor/grad_norm"] > 0 for line in lines)
    if name == "safe_rlhf":
        assert all(line["actor/ptx_loss"] > 0 for line in lines)

"""The quickstart's models and prompts on two processes of one thread each, with workloads of other sizes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from planner.domain.plan import Plan
from planner.domain.reading import parse_scenario, read_keys
from planner.domain.scenario import Scenario
from runtime.trials import SLOW_LEARNING

SCENARIO = Path("scenarios/quickstart.yaml")
PROCESSES = 2
NETWORK = {"bandwidth": "10 GB/s", "latency": "50 us"}
ROLES = {"ppo": ("actor", "critic", "reference", "reward"), "grpo": ("actor", "reference", "reward")}
MICRO_BATCH = 32


def quickstart(name: str, *, roles: Sequence[str] = ROLES["ppo"], **keys: Any) -> Scenario:
    """The quickstart's scenario with models for these roles and other keys, and without its pins."""
    written = read_keys(SCENARIO)
    node_pool = {
        "name": "local",
        "nodes": 1,
        "devices_per_node": PROCESSES,
        "device": "cpu",
        "network": NETWORK,
    }
    cluster = {"name": "this-machine", "node_pools": [node_pool]}
    changed = {
        "name": name,
        "models": {role: written.value["models"][role] for role in roles},
        "cluster": cluster,
        "capabilities": "runtime",
        "pin": {},
    }
    value = {**written.value, **changed, **keys}
    return parse_scenario(value, where=written.where, relative_to=written.relative_to)


def resharding_pins(roles: Sequence[str] = ROLES["ppo"], *, micro_batch: int = MICRO_BATCH) -> dict[str, int]:
    """The quickstart's layouts: trained roles are cut in two, the others and generation are not."""
    pins = {"actor.generate.tensor": 1}
    for role in roles:
        phase, tensor = ("train", 2) if role in ("actor", "critic") else ("infer", 1)
        pins |= {f"{role}.{phase}.pipeline": 1, f"{role}.{phase}.tensor": tensor}
    return pins | micro_batch_pins(roles, micro_batch)


def micro_batch_pins(roles: Sequence[str] = ROLES["ppo"], micro_batch: int = MICRO_BATCH) -> dict[str, int]:
    """The same micro-batch for all; by default the quickstart's."""
    return {f"{role}.micro_batch": micro_batch for role in roles}


def standing(plan: Plan) -> Plan:
    """The same plan with learning rates that change nothing, so that all iterations have as much to do."""
    return changed_run(plan, actor_learning_rate=SLOW_LEARNING, critic_learning_rate=SLOW_LEARNING)


def changed_run(plan: Plan, **settings: Any) -> Plan:
    """The same plan with other settings of its run."""
    run = plan.scenario.run.model_copy(update=settings)
    return plan.model_copy(update={"scenario": plan.scenario.model_copy(update={"run": run})})

"""Plans of a tiny PPO for the runtime's tests."""

from pathlib import Path

from planner.domain.algorithm import PpoOptions
from planner.domain.cluster import Cluster, DeviceSpec, LinkSpec, NodePool
from planner.domain.job import Rollouts
from planner.domain.lengths import TokenLengths
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import CallPrediction, Plan, Pool, Prediction, Proof, RoleMemory, RoleStrategy
from planner.domain.reading import read_scenario
from planner.domain.run import RunSettings
from planner.domain.scenario import Scenario
from planner.domain.stack import GenerationStack, Stack, TrainingStack
from planner.domain.workload import Workload

QUICKSTART = Path(__file__).parents[2] / "scenarios" / "quickstart.yaml"

CALLS = {
    "actor": ("actor.generate", "actor.update"),
    "critic": ("critic.values", "critic.update"),
    "reference": ("reference.logprobs",),
    "reward": ("reward.scores",),
}
ORDER = (
    "actor.generate",
    "critic.values",
    "reference.logprobs",
    "reward.scores",
    "critic.update",
    "actor.update",
)


def cpu_device() -> DeviceSpec:
    return DeviceSpec(
        name="cpu-core",
        kind="cpu",
        memory="2 GiB",
        reserved="1 GiB",
        peak={"fp32": "50 GFLOP/s"},
        memory_bandwidth="10 GB/s",
        link=LinkSpec(bandwidth="1 GB/s", latency="50 us"),
    )


def tiny_model(folder: Path | None = None) -> ModelSpec:
    return ModelSpec(
        name="tiny",
        family="llama",
        layers=2,
        hidden=64,
        heads=4,
        kv_heads=2,
        head_dim=32,
        ffn=128,
        vocab=64,
        max_positions=64,
        folder=None if folder is None else str(folder),
    )


def tiny_scenario(*, model: ModelSpec, nodes: int, per_node: int, prompts: str = "none") -> Scenario:
    device = cpu_device()
    link = LinkSpec(bandwidth="1 GB/s", latency="100 us")
    pool = NodePool(name="cores", nodes=nodes, devices_per_node=per_node, device=device, network=link)
    return Scenario(
        name="tiny",
        algorithm=PpoOptions(),
        models=dict.fromkeys(CALLS, model),
        precision="fp32",
        cluster=Cluster(node_pools=(pool,)),
        workload=Workload(
            prompts=8,
            prompt_tokens=TokenLengths(mean=6, maximum=8),
            response_tokens=TokenLengths(mean=8, maximum=8),
            mini_batches=2,
        ),
        stack=Stack(
            training=TrainingStack(name="none"),
            generation=GenerationStack(name="none", step="1 ms"),
        ),
        run=RunSettings(prompts=prompts, iterations=2),
    )


def tiny_plan(
    pools: dict[tuple[str, ...], ParallelStrategy],
    *,
    nodes: int = 1,
    per_node: int = 4,
    order: tuple[str, ...] = ORDER,
    model: ModelSpec | None = None,
    prompts: str = "none",
) -> Plan:
    """A plan with one pool per entry: its roles, all in the same layout."""
    memory = RoleMemory(persistent={"weights": 2**20}, transient={})
    strategies = {}
    for roles, layout in pools.items():
        for role in roles:
            generate = (
                GenerationStrategy(replicas=layout.devices, max_sequences=8) if role == "actor" else None
            )
            layouts = {"train": layout} if role in ("actor", "critic") else {"infer": layout}
            strategies[role] = RoleStrategy(**layouts, generate=generate, micro_batch=2)
    return Plan(
        scenario=tiny_scenario(model=model or tiny_model(), nodes=nodes, per_node=per_node, prompts=prompts),
        pools=tuple(
            Pool(
                name=f"pool-{number}",
                node_pool="cores",
                devices=layout.devices,
                roles=roles,
                order=tuple(call for call in order if call.split(".")[0] in roles),
            )
            for number, (roles, layout) in enumerate(pools.items())
        ),
        strategies=strategies,
        prediction=Prediction(
            calls={call: CallPrediction(seconds=1.0, origin="modelled") for call in ORDER},
            memory=dict.fromkeys(strategies, memory),
            iteration_seconds=6.0,
            stage_cost_seconds=6.0,
            tokens_per_second=16.0,
        ),
        proof=Proof(solver="cpsat", status="optimal", time_model="period", objective=6.0, bound=6.0),
    )


def quickstart_plan(pools: dict[tuple[str, ...], ParallelStrategy], **workload: object) -> Plan:
    """A plan with the quickstart's models and prompts, and little to do."""
    quickstart = read_scenario(QUICKSTART)
    sizes = {
        "prompts": 10,
        "prompt_tokens": quickstart.workload.prompt_tokens,
        "response_tokens": TokenLengths(mean=6, maximum=8),
        "mini_batches": 2,
        **workload,
    }
    plan = tiny_plan(pools, per_node=sum(layout.devices for layout in pools.values()))
    scenario = plan.scenario.model_copy(
        update={"models": quickstart.models, "run": quickstart.run, "workload": Workload(**sizes)}
    )
    return plan.model_copy(update={"scenario": scenario})


def asynchronous_plan(
    *, staleness: int = 1, generator: int = 1, trainer: int = 1, carry: float = 0.0, **workload: object
) -> Plan:
    """GRPO on the quickstart's policy and rule; generation on its own pool runs ahead by the staleness."""
    scenario = read_scenario(QUICKSTART.with_name("quickstart-grpo.yaml"))
    sizes = {
        "prompts": 8,
        "samples_per_prompt": 2,
        "prompt_tokens": scenario.workload.prompt_tokens,
        "response_tokens": TokenLengths(mean=6, maximum=8),
        **workload,
    }
    layout = ParallelStrategy(data=trainer)
    generate = GenerationStrategy(replicas=generator, max_sequences=16)
    base = tiny_plan({("actor", "reference"): layout}, per_node=generator + trainer)
    pools = (
        Pool(
            name="pool-0",
            node_pool="cores",
            devices=generator,
            roles=("generator",),
            order=("generator.generate", "generator.receive"),
            ahead={"generator.generate": staleness},
        ),
        Pool(
            name="pool-1",
            node_pool="cores",
            devices=trainer,
            roles=("actor", "reference"),
            order=("reference.logprobs", "actor.update", "actor.send"),
        ),
    )
    changed = {
        "algorithm": scenario.algorithm,
        "models": scenario.models,
        "services": scenario.services,
        "run": scenario.run,
        "staleness": staleness,
        "rollouts": Rollouts(carry=carry),
        "workload": Workload(**sizes),
    }
    return base.model_copy(
        update={
            "scenario": base.scenario.model_copy(update=changed),
            "pools": pools,
            "strategies": {
                "generator": RoleStrategy(generate=generate),
                "actor": RoleStrategy(train=layout, micro_batch=8),
                "reference": RoleStrategy(infer=layout, micro_batch=8),
            },
            "prediction": base.prediction.model_copy(
                update={
                    "memory": dict.fromkeys(
                        ("generator", "actor", "reference"), next(iter(base.prediction.memory.values()))
                    )
                }
            ),
        }
    )

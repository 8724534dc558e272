"""Makes the roles of a pool's processes from the plan."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch.distributed as dist

from planner.domain.model import ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import Plan
from planner.domain.run import RunSettings
from planner.domain.scenario import head_of
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from runtime.engines.vllm import GenerationEngine
from runtime.workers.actor import ActorWorker
from runtime.workers.call import Role
from runtime.workers.critic import CriticWorker
from runtime.workers.inference import ReferenceWorker, RewardWorker
from runtime.workers.objectives import policy_objective, value_objective


def pool_roles(plan: Plan, names: Sequence[str]) -> Mapping[str, Role]:
    """Roles of one pool on this rank, with their weights loaded; those of one strategy share its layout."""
    layouts: dict[ParallelStrategy, Layout] = {}
    roles = {}
    for role in names:
        strategy = plan.strategies[role].layout
        if strategy not in layouts:
            layouts[strategy] = Layout(strategy)
        roles[role] = build_role(plan, role, layouts[strategy])
    return roles


def build_role(plan: Plan, role: str, layout: Layout) -> Role:
    """One role on this rank, with its weights loaded."""
    strategy = plan.strategies[role]
    engine = load_engine(plan, role, layout)
    algorithm, epochs = plan.scenario.algorithm, plan.scenario.workload.epochs
    if strategy.generate is not None:
        return ActorWorker(
            engine,
            build_generator(
                engine.model,
                layout.strategy,
                strategy.generate,
                plan.scenario.precision,
                plan.scenario.workload.maximum_tokens,
            ),
            settings=run_settings(plan),
            logprob_tolerance=plan.scenario.logprob_tolerance,
            loss=policy_objective(algorithm),
            epochs=epochs,
            micro_batch=strategy.micro_batch,
            maximum_response_tokens=plan.scenario.workload.response_tokens.maximum,
            stop_token=stop_token(Path(engine.model.folder)),
        )
    if strategy.train is not None:
        loss = value_objective(algorithm)
        return CriticWorker(engine, loss=loss, epochs=epochs, micro_batch=strategy.micro_batch)
    worker = RewardWorker if head_of(role) == "scalar" else ReferenceWorker
    return worker(engine, micro_batch=strategy.micro_batch)


def load_engine(plan: Plan, role: str, layout: Layout) -> MegatronEngine:
    """The role's model in its layout, with an optimizer if it is trained."""
    strategy, model = plan.strategies[role], plan.scenario.models[role]
    settings = run_settings(plan)
    engine = MegatronEngine(
        model=model,
        head=head_of(role),
        layout=layout,
        precision=plan.scenario.precision,
        seed=settings.seed,
        optimizer=None if strategy.train is None else _optimizer(settings, role),
        recompute=strategy.recompute,
    )
    engine.load(model.folder)
    return engine


@cache
def build_generator(
    model: ModelSpec, train: ParallelStrategy, generate: GenerationStrategy, precision: Precision, tokens: int
) -> GenerationEngine:
    """A generation engine, without weights yet; one per process and layout, for it takes seconds to start."""
    return GenerationEngine(
        model=model,
        train=train,
        generate=generate,
        rank=dist.get_rank(),
        precision=precision,
        maximum_tokens=tokens,
        kv_cache_bytes=None,
    )


def run_settings(plan: Plan) -> RunSettings:
    """The settings of the run, which a plan that came this far has."""
    assert plan.scenario.run is not None, "a plan without run settings is refused"
    return plan.scenario.run


def stop_token(folder: Path) -> int | None:
    """The token that ends a response, as the model's config says."""
    token = json.loads((folder / "config.json").read_text()).get("eos_token_id")
    return token[0] if isinstance(token, list) else token


def _optimizer(settings: RunSettings, role: str) -> OptimizerSettings:
    rates = {"actor": settings.actor_learning_rate}
    return OptimizerSettings(
        learning_rate=rates.get(role, settings.critic_learning_rate),
        gradient_clip=settings.gradient_clip,
    )

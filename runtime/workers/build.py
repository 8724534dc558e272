"""Makes the roles of a pool's processes from the plan."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import torch.distributed as dist

from planner.domain.dataflow import ACTOR, GENERATOR
from planner.domain.parallelism import ParallelStrategy
from planner.domain.plan import Plan
from planner.domain.run import RunSettings
from planner.domain.scenario import head_of
from planner.domain.weights import weight_tensors
from runtime.engines.checkpoint import ModelFolder, stop_tokens
from runtime.engines.layout import Layout
from runtime.engines.megatron import MegatronEngine
from runtime.engines.optimizer import OptimizerSettings
from runtime.engines.requests import Sampling
from runtime.engines.settings import GenerationSettings, generation_settings
from runtime.engines.transformer import DTYPE
from runtime.engines.vllm import GenerationEngine
from runtime.platform import current_device
from runtime.workers.actor import ActorWorker
from runtime.workers.call import Role
from runtime.workers.critic import CriticWorker
from runtime.workers.generator import GeneratorWorker
from runtime.workers.inference import ReferenceWorker, ScoreWorker
from runtime.workers.objectives import policy_objective, value_objective
from runtime.workers.reward_service import reward_function
from runtime.workers.sampling import Sampler
from runtime.workers.training import MicroBatchSize


def pool_roles(plan: Plan, names: Sequence[str]) -> Mapping[str, Role]:
    """Roles of one pool on this rank, with their weights loaded; those of one strategy share its layout."""
    return {role: build_role(plan, role, layout_of(plan.strategies[role].layout)) for role in names}


@cache
def layout_of(strategy: ParallelStrategy) -> Layout:
    """The layout of a strategy; one per process, whose groups serve all roles that it ever gets."""
    return Layout(strategy)


def build_role(plan: Plan, role: str, layout: Layout) -> Role:
    """One role on this rank, with its weights loaded."""
    if role == GENERATOR:
        return _generator_role(plan)
    strategy = plan.strategies[role]
    engine = load_engine(plan, role, layout)
    scenario, epochs = plan.scenario, plan.scenario.workload.epochs
    longest = scenario.workload.response_tokens.maximum
    size = MicroBatchSize(rows=strategy.micro_batch, tokens=strategy.micro_batch_tokens)
    if role == ACTOR:
        generator = None if strategy.generate is None else _generator(plan, role)
        return ActorWorker(
            engine,
            generator=generator,
            sampler=None if generator is None else _sampler(plan, generator),
            loss=policy_objective(scenario.algorithm, longest_response=longest),
            logprob_tolerance=scenario.logprob_tolerance,
            epochs=epochs,
            size=size,
            maximum_tokens=scenario.workload.maximum_tokens,
        )
    if strategy.train is not None:
        loss = value_objective(scenario.algorithm, longest_response=longest)
        return CriticWorker(engine, loss=loss, epochs=epochs, size=size)
    if head_of(role) == "vocabulary":
        return ReferenceWorker(engine, size=size)
    return ScoreWorker(engine, size=size, function=reward_function(plan, role))


def _generator_role(plan: Plan) -> GeneratorWorker:
    """The generation engine of a pool of its own, with the actor's weights as they are before training."""
    engine = _generator(plan, GENERATOR)
    folder = ModelFolder(engine.model.folder)
    engine.load(
        (
            tensor.name,
            folder.part(tensor, index=0, count=1).to(current_device(), DTYPE[plan.scenario.precision]),
        )
        for tensor in weight_tensors(engine.model)
    )
    return GeneratorWorker(
        engine,
        _sampler(plan, engine),
        staleness=plan.staleness,
        logprob_tolerance=plan.scenario.logprob_tolerance,
    )


def _generator(plan: Plan, role: str) -> GenerationEngine:
    settings = generation_settings(plan, role)
    assert settings is not None, "only a role that generates has a generation engine"
    return build_generator(settings)


def _sampler(plan: Plan, engine: GenerationEngine) -> Sampler:
    settings, workload, rollouts = plan.scenario.run_settings, plan.scenario.workload, plan.scenario.rollouts
    return Sampler(
        engine,
        Sampling(
            temperature=1.0 if settings.temperature else 0.0,
            maximum_response_tokens=workload.response_tokens.maximum,
            stop_tokens=stop_tokens(Path(engine.model.folder)),
            top_p=settings.top_p,
            top_k=settings.top_k,
        ),
        seed=settings.seed,
        samples_per_prompt=workload.samples_per_prompt,
        carry_limit=rollouts.carry_limit if rollouts.carry else None,
    )


def load_engine(plan: Plan, role: str, layout: Layout) -> MegatronEngine:
    """The role's model in its layout, with an optimizer if it is trained."""
    strategy, model = plan.strategies[role], plan.scenario.models[role]
    settings = plan.scenario.run_settings
    engine = MegatronEngine(
        model=model,
        head=head_of(role),
        layout=layout,
        precision=plan.scenario.precision,
        seed=settings.seed,
        optimizer=None if strategy.train is None else _optimizer(settings, role),
        recompute=strategy.recompute,
        offload=strategy.offload,
        sequence_parallel=plan.scenario.stack.training.sequence_parallel,
        temperature=settings.policy_temperature,
    )
    engine.load(model.folder)
    return engine


@cache
def build_generator(settings: GenerationSettings) -> GenerationEngine:
    """A generation engine, without weights yet; one per process and layout, for it takes seconds to start.

    Which of them one process can hold says `runtime.session.engines_of`.
    """
    return GenerationEngine(
        model=settings.model,
        train=settings.train,
        generate=settings.generate,
        rank=dist.get_rank(),
        precision=settings.precision,
        maximum_tokens=settings.maximum_tokens,
        kv_cache_bytes=None,
        prefill_tokens=settings.prefill_tokens,
        temperature=settings.temperature,
    )


def _optimizer(settings: RunSettings, role: str) -> OptimizerSettings:
    rates = {ACTOR: settings.actor_learning_rate}
    return OptimizerSettings(
        learning_rate=rates.get(role, settings.critic_learning_rate),
        gradient_clip=settings.gradient_clip,
    )

"""What a runtime of given capabilities can't run of a scenario, a strategy or a plan, by the field's name.

The search leaves out what is refused here, and a runtime refuses it, so that both mean the same.
"""

from collections.abc import Iterator

from planner.domain.capabilities import Capabilities
from planner.domain.dataflow import ACTOR
from planner.domain.model import ModelSpec
from planner.domain.parallelism import VOCABULARY_MULTIPLE, GenerationStrategy, ParallelStrategy
from planner.domain.plan import Plan, RoleStrategy
from planner.domain.scenario import Scenario
from planner.domain.workload import Workload


def scenario_refusals(can: Capabilities, scenario: Scenario) -> Iterator[str]:
    """Why no plan of a scenario can be run, as ``key: reason``."""
    name, work = scenario.algorithm.name, scenario.workload
    if name not in can.algorithms:
        yield f"algorithm: {name!r} is not run yet, only {', '.join(can.algorithms)} is"
    if scenario.precision not in can.precisions:
        yield f"precision: {scenario.precision!r} is not run yet, only {', '.join(can.precisions)} are"
    for role, model in scenario.models.items():
        for problem in model_refusals(can, model):
            yield f"models.{role}: {problem}"
    if ACTOR in scenario.models:
        for problem in length_refusals(scenario.models[ACTOR], work.maximum_tokens):
            yield f"models.{ACTOR}: {problem}"
    if scenario.services and not can.services:
        yield f"services: {', '.join(scenario.services)} can't be asked yet, give models instead"
    if scenario.staleness > can.staleness:
        yield f"staleness: {scenario.staleness} is not run yet, only up to {can.staleness}"
    if work.resampling > 1 and not can.resampling:
        yield f"workload.resampling: {work.resampling:g} is not run yet, only 1 is"
    if work.pretraining_tokens is not None and not can.pretraining:
        yield f"workload.pretraining_tokens: {work.pretraining_tokens:g} are not trained on yet"
    yield from _rollout_refusals(can, scenario)


def _rollout_refusals(can: Capabilities, scenario: Scenario) -> Iterator[str]:
    """Why a scenario's responses can't be generated so."""
    work, rollouts = scenario.workload, scenario.rollouts
    if work.turns and work.turns.answers and not can.turns:
        yield f"workload.turns.count: {work.turns.count} is not run yet, only 1 is"
    if rollouts.balance == "queue" and not can.queue:
        yield "rollouts.balance: 'queue' is not run yet, only 'split' is"
    if rollouts.carry and not can.carry:
        yield f"rollouts.carry: {rollouts.carry:g} is not run yet, only 0 is"


def strategy_refusals(
    can: Capabilities, scenario: Scenario, role: str, strategy: RoleStrategy
) -> Iterator[str]:
    """Why a role can't be run so; its model is not looked at."""
    model, work = scenario.model_of(role), scenario.workload
    yield from option_refusals(can, strategy)
    yield from layout_refusals(can, model, strategy.layout)
    yield from group_refusals(strategy.layout)
    yield from division_refusals(model, strategy.layout)
    yield from sample_refusals(can, work, strategy)
    if strategy.generate is not None:
        yield from generation_refusals(can, model, strategy.layout, strategy.generate)


def plan_refusals(can: Capabilities, plan: Plan) -> Iterator[str]:
    """Why a plan's schedule and pools can't be run; its scenario and strategies are not looked at."""
    if plan.staleness > can.staleness:
        yield f"staleness={plan.staleness} is not run yet, only up to {can.staleness}"
    for pool in plan.pools:
        ahead = {name: count for name, count in pool.ahead.items() if count}
        if ahead and not can.ahead:
            listed = ", ".join(f"{name} by {count}" for name, count in ahead.items())
            yield (
                f"pools.{pool.name}.ahead: {listed}; calls of different iterations in one period are not run "
                "yet, plan with --runnable"
            )
    names = dict.fromkeys(pool.node_pool for pool in plan.pools)
    if len(names) > 1 and not can.node_pools:
        yield (
            f"pools.node_pool: a run over several node pools ({', '.join(names)}) is not supported; plan for "
            "one of them"
        )


def model_refusals(can: Capabilities, model: ModelSpec) -> Iterator[str]:
    """Why a model can't be run in any layout."""
    if model.family not in can.families:
        yield f"{model.name}: family={model.family!r} is not run yet, only {', '.join(can.families)} are"
    for field in ("moe", "mla"):
        if getattr(model, field) is not None and not getattr(can, field):
            yield f"{model.name}: {field} is not run yet, only dense models with plain attention are"
    if model.rope_type not in can.rope_types:
        only = ", ".join(map(repr, can.rope_types))
        yield f"{model.name}: rope_type={model.rope_type!r} is not run yet, only {only} is"


def length_refusals(model: ModelSpec, maximum_tokens: int) -> Iterator[str]:
    """Why a model can't generate sequences of a length."""
    if maximum_tokens > model.max_positions:
        yield (
            f"{model.name}: maximum_tokens={maximum_tokens} exceeds max_positions={model.max_positions}; "
            "shorten prompts or responses"
        )


def option_refusals(can: Capabilities, strategy: RoleStrategy) -> Iterator[str]:
    """Why a role can't be run so, whatever its model and layout."""
    if strategy.recompute == "selective" and not can.selective:
        yield "recompute='selective' is not run yet, choose 'none' or 'full'"
    if strategy.offload != "none" and not can.offload:
        yield f"offload={strategy.offload!r} is not run yet, only 'none' is"
    if strategy.micro_batch_tokens is not None and not can.token_budgets:
        yield f"micro_batch_tokens={strategy.micro_batch_tokens} is not run yet, give micro_batch instead"


def layout_refusals(can: Capabilities, model: ModelSpec, layout: ParallelStrategy) -> Iterator[str]:
    """Why a model can't be trained or infer in a layout."""
    for field in ("context", "expert", "virtual"):
        size = getattr(layout, field)
        if size > 1 and not getattr(can, field):
            yield f"strategy {layout}: {field}={size} is not run yet, only {field}=1 is"
    for field in ("heads", "kv_heads", "ffn", "vocab"):
        size = getattr(model, field)
        if size % layout.tensor and not can.padding:
            yield (
                f"strategy {layout}: tensor={layout.tensor} does not divide {field}={size} of "
                f"{model.name}; the runtime pads nothing, choose a tensor size that divides it"
            )
    if layout.pipeline > model.layers:
        yield f"strategy {layout}: pipeline={layout.pipeline} exceeds layers={model.layers} of {model.name}"


def group_refusals(layout: ParallelStrategy) -> Iterator[str]:
    """Why the ranks of a layout can't be grouped, whatever the model."""
    if layout.virtual > 1 and layout.pipeline == 1:
        yield f"strategy {layout}: virtual={layout.virtual} interleaves pipeline stages, and pipeline=1"
    if layout.data * layout.context % layout.expert:
        yield (
            f"strategy {layout}: expert={layout.expert} does not divide data x context = "
            f"{layout.data * layout.context}, the ranks that experts are spread over"
        )


def division_refusals(model: ModelSpec, layout: ParallelStrategy) -> Iterator[str]:
    """Why a layout does not divide a model's layers or experts."""
    chunks = layout.pipeline * layout.virtual
    if layout.virtual > 1 and chunks > model.layers:
        yield (
            f"strategy {layout}: pipeline x virtual = {chunks} chunks exceed layers={model.layers} of "
            f"{model.name}"
        )
    if model.moe is None:
        if layout.expert > 1:
            yield f"strategy {layout}: expert={layout.expert}, and {model.name} has no experts"
        return
    if layout.pipeline > 1 and layout.context > 1 and layout.expert == 1:
        yield (
            f"strategy {layout}: Megatron groups pipeline={layout.pipeline} with context={layout.context} of "
            "a model with experts only where those are spread, choose expert > 1"
        )
    for field, count, size in (
        ("expert", model.moe.experts, layout.expert),
        ("tensor", model.moe.expert_ffn, layout.tensor),
    ):
        if count % size:
            what = "moe.experts" if field == "expert" else "moe.expert_ffn"
            yield f"strategy {layout}: {field}={size} does not divide {what}={count} of {model.name}"


def generation_refusals(
    can: Capabilities, model: ModelSpec, layout: ParallelStrategy, generate: GenerationStrategy
) -> Iterator[str]:
    """Why a model whose weights live in a layout can't generate so."""
    if generate.pipeline != 1 and not can.generation_pipeline:
        yield (
            f"generate {generate}: pipeline={generate.pipeline}; inside the training processes vLLM runs "
            "pipeline=1 only"
        )
    if generate.cache_tokens is not None and not can.cache_tokens:
        yield (
            f"generate {generate}: cache_tokens={generate.cache_tokens} is not run yet; leave it out, for a "
            "cache of all sequences at their greatest length"
        )
    if layout.tensor % generate.tensor or generate.devices != layout.devices:
        yield (
            f"generate {generate} does not fit train {layout}: its tensor size must divide {layout.tensor}, "
            f"and its replicas must fill {layout.devices} devices"
        )
    if generate.tensor > 1 and model.vocab % (VOCABULARY_MULTIPLE * generate.tensor) and not can.padding:
        yield (
            f"generate {generate}: vocab={model.vocab} of {model.name} must be a multiple of "
            f"{VOCABULARY_MULTIPLE * generate.tensor}, or vLLM cuts it elsewhere than Megatron; use tensor=1"
        )


def sample_refusals(can: Capabilities, work: Workload, strategy: RoleStrategy) -> Iterator[str]:
    """Why there is too little work for the replicas of a role; mini-batches are as even as they can be."""
    if can.empty_replicas:
        return
    samples, what = (
        (work.samples // work.mini_batches, "mini-batch") if strategy.train else (work.samples, "iteration")
    )
    if samples < strategy.layout.data:
        yield (
            f"data: {strategy.layout.data} replicas share the {samples} samples of a {what}, so that some "
            "have none; use fewer replicas or more samples"
        )
    if strategy.generate is not None and work.samples < strategy.generate.replicas:
        yield (
            f"generate.replicas: {strategy.generate.replicas} replicas share {work.samples} samples; use "
            "fewer replicas or more samples"
        )

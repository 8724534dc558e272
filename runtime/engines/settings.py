"""What tells generation engines apart; imports no upstream."""

from dataclasses import dataclass

from planner.domain.model import ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationSettings:
    """Of one rank's engine."""

    model: ModelSpec
    train: ParallelStrategy
    """Layout of the weights that are resharded."""
    generate: GenerationStrategy
    precision: Precision
    maximum_tokens: int
    """Greatest length of prompt and response together."""
    prefill_tokens: int
    """Of one pass on CUDA."""
    temperature: float = 1.0
    """What logits are divided by."""


def generation_settings(plan: Plan, role: str) -> GenerationSettings | None:
    """The settings of a role's generation engine; None for a role without."""
    strategy, scenario = plan.strategies[role], plan.scenario
    if strategy.generate is None:
        return None
    return GenerationSettings(
        model=scenario.model_of(role),
        train=strategy.layout,
        generate=strategy.generate,
        precision=scenario.precision,
        maximum_tokens=scenario.workload.maximum_tokens,
        prefill_tokens=scenario.stack.generation.prefill_tokens,
        temperature=scenario.run_settings.policy_temperature,
    )

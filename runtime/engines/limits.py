"""What the engines can't run of what a plan may ask for, by `RUNTIME`; imports no upstream."""

from collections.abc import Iterable, Iterator

from planner.domain.capabilities import RUNTIME
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.runnable import (
    division_refusals,
    generation_refusals,
    layout_refusals,
    length_refusals,
    model_refusals,
)
from planner.errors import PlanMismatchError


def refuse(problems: Iterable[str]) -> None:
    """Raise if there is any problem.

    Raises
    ------
    PlanMismatchError
        With all of them, one a line.
    """
    found = list(problems)
    if found:
        raise PlanMismatchError("\n".join(found))


def training_problems(model: ModelSpec, strategy: ParallelStrategy) -> Iterator[str]:
    """Why Megatron can't train or infer with the model in this layout, each with the field's name."""
    yield from model_refusals(RUNTIME, model)
    yield from layout_refusals(RUNTIME, model, strategy)
    yield from division_refusals(model, strategy)


def generation_problems(
    model: ModelSpec, train: ParallelStrategy, generate: GenerationStrategy, *, maximum_tokens: int
) -> Iterator[str]:
    """Why vLLM can't generate with the model in this layout, each with the field's name."""
    yield from generation_refusals(RUNTIME, model, train, generate)
    yield from length_refusals(model, maximum_tokens)
    if generate.cache_tokens is not None and generate.cache_tokens < maximum_tokens:
        yield (
            f"generate {generate}: cache_tokens={generate.cache_tokens} has no room for one sequence of "
            f"{maximum_tokens} tokens; give at least so many"
        )

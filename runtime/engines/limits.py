"""What the engines can't run of what a plan may ask for; imports no upstream."""

from collections.abc import Iterable, Iterator

from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.errors import PlanMismatchError

_VOCAB_MULTIPLE = 64
"""vLLM pads the vocabulary to a multiple of this before it cuts it."""


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
    for field in ("heads", "kv_heads", "ffn", "vocab"):
        size = getattr(model, field)
        if size % strategy.tensor:
            yield (
                f"strategy {strategy}: tensor={strategy.tensor} does not divide {field}={size} of "
                f"{model.name}; the runtime pads nothing, choose a tensor size that divides it"
            )
    if strategy.pipeline > model.layers:
        yield (
            f"strategy {strategy}: pipeline={strategy.pipeline} exceeds layers={model.layers} of {model.name}"
        )
    if model.rope_type != "default":
        yield f"{model.name}: rope_type={model.rope_type!r} is not run yet, only 'default' is"


def generation_problems(
    model: ModelSpec, train: ParallelStrategy, generate: GenerationStrategy, *, maximum_tokens: int
) -> Iterator[str]:
    """Why vLLM can't generate with the model in this layout, each with the field's name."""
    if generate.pipeline != 1:
        yield (
            f"generate {generate}: pipeline={generate.pipeline}; inside the training processes vLLM runs "
            "pipeline=1 only"
        )
    if train.tensor % generate.tensor or generate.devices != train.devices:
        yield (
            f"generate {generate} does not fit train {train}: its tensor size must divide {train.tensor}, "
            f"and its replicas must fill {train.devices} devices"
        )
    if generate.tensor > 1 and model.vocab % (_VOCAB_MULTIPLE * generate.tensor):
        yield (
            f"generate {generate}: vocab={model.vocab} of {model.name} must be a multiple of "
            f"{_VOCAB_MULTIPLE * generate.tensor}, or vLLM cuts it elsewhere than Megatron; use tensor=1"
        )
    if maximum_tokens > model.max_positions:
        yield (
            f"{model.name}: maximum_tokens={maximum_tokens} exceeds max_positions={model.max_positions}; "
            "shorten prompts or responses"
        )

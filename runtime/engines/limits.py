"""What the engines can't run of what a plan may ask for; imports no upstream."""

from collections.abc import Iterable, Iterator

from planner.domain.model import Family, ModelSpec, Precision
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.errors import PlanMismatchError

FAMILIES: tuple[Family, ...] = ("llama", "qwen2", "qwen3")
PRECISIONS: tuple[Precision, ...] = ("bf16", "fp32")

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


def model_problems(model: ModelSpec) -> Iterator[str]:
    """Why the engines can't run a model in any layout, each with the field's name."""
    if model.family not in FAMILIES:
        yield f"{model.name}: family={model.family!r} is not run yet, only {', '.join(FAMILIES)} are"
    for field in ("moe", "mla"):
        if getattr(model, field) is not None:
            yield f"{model.name}: {field} is not run yet, only dense models with plain attention are"
    if model.rope_type != "default":
        yield f"{model.name}: rope_type={model.rope_type!r} is not run yet, only 'default' is"


def strategy_problems(strategy: RoleStrategy) -> Iterator[str]:
    """Why the engines can't run a role so, whatever its model, each with the field's name."""
    if strategy.recompute == "selective":
        yield "recompute='selective' is not run yet, choose 'none' or 'full'"
    if strategy.offload != "none":
        yield f"offload={strategy.offload!r} is not run yet, only 'none' is"
    if strategy.micro_batch_tokens is not None:
        yield f"micro_batch_tokens={strategy.micro_batch_tokens} is not run yet, give micro_batch instead"


def precision_problems(precision: Precision) -> Iterator[str]:
    """Why the engines can't compute in a precision."""
    if precision not in PRECISIONS:
        yield f"precision={precision!r} is not run yet, only {', '.join(PRECISIONS)} are"


def training_problems(model: ModelSpec, strategy: ParallelStrategy) -> Iterator[str]:
    """Why Megatron can't train or infer with the model in this layout, each with the field's name."""
    yield from model_problems(model)
    for field in ("context", "expert", "virtual"):
        size = getattr(strategy, field)
        if size > 1:
            yield f"strategy {strategy}: {field}={size} is not run yet, only {field}=1 is"
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

"""What measurements say about modelled seconds: exact points, and a factor per kind of call."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planner.domain.dataflow import CallKind, ModelCall
from planner.domain.model import ModelSpec
from planner.domain.parallelism import GenerationStrategy, ParallelStrategy
from planner.domain.plan import RoleStrategy
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.workload import Workload

ModelledSeconds = Callable[[MeasuredCall], float | None]
"""Modelled seconds of a measured call; none where the scenario lacks its model or method."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Measurements of one device."""

    profiles: tuple[Profile, ...]
    factors: dict[CallKind, float]
    """Geometric mean of measured over modelled seconds, by kind."""

    @classmethod
    def fit(cls, profiles: Sequence[Profile], modelled: ModelledSeconds) -> "Corrections":
        """Factors from every measured call that the cost model can also compute."""
        logs: dict[CallKind, list[float]] = {}
        for profile in profiles:
            for call in profile.calls:
                seconds = modelled(call)
                if seconds:
                    logs.setdefault(call.kind, []).append(math.log(call.seconds / seconds))
        factors = {kind: math.exp(sum(values) / len(values)) for kind, values in logs.items()}
        return cls(profiles=tuple(profiles), factors=factors)

    def find(
        self, call: ModelCall, strategy: RoleStrategy, model: ModelSpec, workload: Workload
    ) -> MeasuredCall | None:
        """The measurement of exactly this call in this layout, if any profile has it."""
        generation = str(strategy.generate) if call.kind == "generate" else None
        for profile in self.profiles:
            measured = profile.find(
                role=call.role,
                model=model.name,
                method=call.method,
                strategy=str(strategy.layout),
                generation=generation,
                micro_batch=strategy.micro_batch,
                samples=workload.samples,
                prompt_tokens=workload.prompt_tokens.mean,
                response_tokens=workload.response_tokens.mean,
            )
            if measured is not None:
                return measured
        return None


def strategy_of(measured: MeasuredCall) -> RoleStrategy:
    """The strategy that a measurement was taken in; decoding is taken to have had room for all sequences."""
    layout = ParallelStrategy.parse(measured.strategy)
    if measured.generation is None:
        return RoleStrategy(train=layout, micro_batch=measured.micro_batch)
    pipeline_tensor, replicas = measured.generation.split("x")
    shape = ParallelStrategy.parse(f"{pipeline_tensor}d{replicas}")
    generate = GenerationStrategy(
        pipeline=shape.pipeline,
        tensor=shape.tensor,
        replicas=shape.data,
        max_sequences=math.ceil(measured.samples / shape.data),
    )
    return RoleStrategy(train=layout, generate=generate, micro_batch=measured.micro_batch)


def workload_of(measured: MeasuredCall, workload: Workload) -> Workload:
    """The scenario's workload with the samples and mean lengths of a measurement."""
    lengths = {
        "prompt_tokens": _lengths(measured.prompt_tokens, workload.prompt_tokens.maximum),
        "response_tokens": _lengths(measured.response_tokens, workload.response_tokens.maximum),
    }
    mini_batches = min(workload.mini_batches, measured.samples)
    return Workload.model_validate(
        {
            **lengths,
            "prompts": measured.samples,
            "epochs": workload.epochs,
            "mini_batches": mini_batches,
        }
    )


def _lengths(mean: float, maximum: int) -> dict[str, float | int]:
    return {"mean": mean, "maximum": max(maximum, math.ceil(mean))}

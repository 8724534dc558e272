"""What measurements say about modelled seconds: exact points, and a factor per call and per kind."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from planner.domain.dataflow import ModelCall
from planner.domain.model import ModelSpec
from planner.domain.plan import RoleStrategy
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.workload import Workload

ModelledSeconds = Callable[[MeasuredCall], float | None]
"""Modelled seconds of a measured call; none where the scenario lacks its model or method."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Measurements of one device."""

    profiles: tuple[Profile, ...]
    factors: dict[str, float]
    """Geometric mean of measured over modelled seconds, by call (``critic.values``) and kind (``infer``)."""

    @classmethod
    def fit(cls, profiles: Sequence[Profile], modelled: ModelledSeconds) -> "Corrections":
        """Factors from every measured call that the cost model can also compute."""
        logs: dict[str, list[float]] = {}
        for call in (call for profile in profiles for call in profile.calls):
            seconds = modelled(call)
            if not seconds:
                continue
            for name in (f"{call.role}.{call.method}", call.kind):
                logs.setdefault(name, []).append(math.log(call.seconds / seconds))
        factors = {name: math.exp(sum(values) / len(values)) for name, values in logs.items()}
        return cls(profiles=tuple(profiles), factors=factors)

    def factor(self, call: ModelCall) -> float | None:
        """The call's own factor, else that of its kind, else none."""
        return self.factors.get(f"{call.role}.{call.method}", self.factors.get(call.kind))

    def corrected(
        self,
        call: ModelCall,
        seconds: NDArray[np.float64],
        alike: Callable[[RoleStrategy], NDArray[np.bool_]],
        *,
        model: ModelSpec,
        workload: Workload,
    ) -> NDArray[np.float64]:
        """Modelled seconds of many strategies as `find` and `factor` would have each of them.

        Parameters
        ----------
        alike
            Which entries cost what a measured strategy does.
        """
        found = (factor if (factor := self.factor(call)) is not None else 1.0) * seconds
        for profile in reversed(self.profiles):
            for measured in reversed(list(profile.all_of(call, model=model.name, workload=workload))):
                found[alike(measured.strategy)] = measured.seconds
        return found

    def find(
        self, call: ModelCall, strategy: RoleStrategy, model: ModelSpec, workload: Workload
    ) -> MeasuredCall | None:
        """The measurement of exactly this call in this strategy, if any profile has it."""
        found = (
            profile.find(call, model=model.name, strategy=strategy, workload=workload)
            for profile in self.profiles
        )
        return next((measured for measured in found if measured is not None), None)


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

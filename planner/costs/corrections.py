"""What measurements say about modelled seconds: exact points, and factors per call and per kind."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from planner.costs.memory.rounding import Numbers
from planner.domain.dataflow import ModelCall
from planner.domain.model import ModelSpec
from planner.domain.plan import RoleStrategy
from planner.domain.profile import MeasuredCall, Profile
from planner.domain.workload import Workload


class CallSeconds(NamedTuple):
    """Seconds of a call in two parts, each modelled and corrected by itself; numbers or arrays."""

    work: Numbers
    sync: Numbers = 0.0
    """Of the weight sync before generation."""

    @property
    def whole(self) -> Numbers:
        """Of both."""
        return self.work + self.sync

    def times(self, factors: "CallSeconds") -> "CallSeconds":
        """Each part times its own factor."""
        return CallSeconds(factors.work * self.work, factors.sync * self.sync)


ModelledSeconds = Callable[[MeasuredCall], CallSeconds | None]
"""Modelled seconds of a measured call; none where the scenario lacks its model or method."""

_SYNC = "/sync"
"""Behind the name of a factor that is the weight sync's."""


@dataclass(frozen=True, slots=True)
class Corrections:
    """Measurements of one device."""

    profiles: tuple[Profile, ...]
    factors: dict[str, float]
    """Geometric mean of measured over modelled seconds, by call (``critic.values``) and kind (``infer``), and
    of the weight syncs of such calls (``actor.generate/sync``)."""

    @classmethod
    def fit(cls, profiles: Sequence[Profile], modelled: ModelledSeconds) -> "Corrections":
        """Factors from every measured call that the cost model can also compute."""
        logs: dict[str, list[float]] = {}
        for call in (call for profile in profiles for call in profile.calls):
            seconds = modelled(call)
            if seconds is None:
                continue
            for part, ratio in _ratios(call, seconds):
                for name in (f"{call.role}.{call.method}", call.kind):
                    logs.setdefault(name + part, []).append(math.log(ratio))
        factors = {name: math.exp(sum(values) / len(values)) for name, values in logs.items()}
        return cls(profiles=tuple(profiles), factors=factors)

    def factor(self, call: ModelCall) -> CallSeconds | None:
        """Of each part the call's own factor, else that of its kind, else the other part's; else none."""
        names = (f"{call.role}.{call.method}", call.kind)
        work, sync = (
            next((self.factors[name + part] for name in names if name + part in self.factors), None)
            for part in ("", _SYNC)
        )
        if work is None and sync is None:
            return None
        return CallSeconds(sync if work is None else work, work if sync is None else sync)

    def corrected(
        self,
        call: ModelCall,
        seconds: CallSeconds,
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
        factor = self.factor(call)
        found = np.array((seconds if factor is None else seconds.times(factor)).whole)
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


def _ratios(call: MeasuredCall, seconds: CallSeconds) -> Iterator[tuple[str, float]]:
    """Measured over modelled seconds of each part; of both together where the sync was not told apart."""
    sync = call.reshard_seconds
    measured = CallSeconds(call.seconds - sync, sync)
    modelled = seconds if sync else CallSeconds(seconds.whole)
    for part, found, expected in (("", measured.work, modelled.work), (_SYNC, sync, modelled.sync)):
        if found > 0 and expected > 0:
            yield part, float(found / expected)


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

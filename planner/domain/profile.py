"""Measurements of model calls on the devices at hand."""

from collections.abc import Hashable

from planner.domain.cluster import DeviceSpec
from planner.domain.dataflow import CallKind, ModelCall
from planner.domain.plan import RoleStrategy
from planner.domain.quantities import PositiveInt, Value
from planner.domain.workload import Workload


class MeasuredCall(Value):
    """Median seconds of one call in one strategy, with every process of the run at work."""

    role: str
    model: str
    kind: CallKind
    method: str
    strategy: RoleStrategy
    samples: PositiveInt
    prompt_tokens: float
    response_tokens: float
    """Mean lengths."""
    seconds: float
    reshard_seconds: float = 0.0
    """Of the seconds, those of the weight sync before generation."""
    repeats: PositiveInt


class Profile(Value):
    """What was measured on one machine, and with which versions."""

    device: DeviceSpec
    """The device with the rates that were measured."""
    processes: PositiveInt
    calls: tuple[MeasuredCall, ...]
    versions: dict[str, str]
    date: str

    def find(
        self, call: ModelCall, *, model: str, strategy: RoleStrategy, workload: Workload
    ) -> MeasuredCall | None:
        """The measurement of exactly this call in this strategy on this much work, if there is one."""
        work = (workload.samples, workload.prompt_tokens.mean, workload.response_tokens.mean)
        for measured in self.calls:
            same_call = (measured.role, measured.method, measured.model) == (call.role, call.method, model)
            same_work = (measured.samples, measured.prompt_tokens, measured.response_tokens) == work
            if (
                same_call
                and same_work
                and _decisive(measured.strategy, call.kind) == _decisive(strategy, call.kind)
            ):
                return measured
        return None


def _decisive(strategy: RoleStrategy, kind: CallKind) -> Hashable:
    """The part of a strategy that a call of that kind depends on."""
    if kind == "generate":
        return strategy.layout, strategy.generate
    recompute = strategy.recompute if kind == "train" else None
    return strategy.layout, strategy.micro_batch, recompute

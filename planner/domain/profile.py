"""Measurements of model calls on the devices at hand."""

from collections.abc import Hashable, Iterator

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
        wanted = _decisive(strategy, call.kind)
        measured = self.all_of(call, model=model, workload=workload)
        return next((each for each in measured if _decisive(each.strategy, call.kind) == wanted), None)

    def all_of(self, call: ModelCall, *, model: str, workload: Workload) -> Iterator[MeasuredCall]:
        """The measurements of this call on this much work, in any strategy."""
        work = (workload.samples, workload.prompt_tokens.mean, workload.response_tokens.mean)
        for measured in self.calls:
            same_call = (measured.role, measured.method, measured.model) == (call.role, call.method, model)
            if same_call and (measured.samples, measured.prompt_tokens, measured.response_tokens) == work:
                yield measured


def _decisive(strategy: RoleStrategy, kind: CallKind) -> Hashable:
    """The part of a strategy that a call of that kind depends on."""
    weights_come_back = strategy.offload == "all"
    if kind == "generate":
        return strategy.layout.model_copy(update={"virtual": 1}), strategy.generate, weights_come_back
    batch = strategy.micro_batch_tokens or -strategy.micro_batch
    if kind == "train":
        return strategy.layout, batch, strategy.recompute, strategy.offload
    return strategy.layout, batch, weights_come_back

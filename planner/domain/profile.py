"""Measurements of model calls on the devices at hand."""

from planner.domain.cluster import DeviceSpec
from planner.domain.dataflow import CallKind
from planner.domain.quantities import PositiveInt, Value


class MeasuredCall(Value):
    """Median seconds of one call in one layout, with every process of the run at work."""

    model: str
    kind: CallKind
    method: str
    strategy: str
    """Training or inference layout, in the short form ``p1t2d2``."""
    generation: str | None = None
    """Generation layout ``p1t1x4``, for calls of kind generate."""
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
        self,
        *,
        model: str,
        method: str,
        strategy: str,
        generation: str | None,
        samples: int,
        prompt_tokens: float,
        response_tokens: float,
    ) -> MeasuredCall | None:
        """The measurement of exactly this point, if there is one."""
        for call in self.calls:
            point = (call.model, call.method, call.strategy, call.generation, call.samples)
            lengths = (call.prompt_tokens, call.response_tokens)
            if point == (model, method, strategy, generation, samples) and lengths == (
                prompt_tokens,
                response_tokens,
            ):
                return call
        return None
